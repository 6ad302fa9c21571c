"""Answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from starlette.responses import Response


class Json(Response):
    """A model as JSON, made in the thread that answers; fields that were not set are left out."""

    def __init__(
        self,
        content: BaseModel,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> None:
        super().__init__(_text(content), status_code, headers, media_type)


def _text(content: BaseModel) -> str:
    try:
        return content.model_dump_json(exclude_unset=True)
    except PydanticSerializationError:  # half of a surrogate pair has no UTF-8 form, but JSON can escape it
        return json.dumps(content.model_dump(mode="json", exclude_unset=True))
