"""Bodies in JSON: read on the event loop, parsed on a thread, so that a large one does not hold up other requests."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.concurrency import run_in_threadpool

from stepwell.errors import FieldProblem, InvalidInput

Model = TypeVar("Model", bound=BaseModel)

MAX_ERRORS = 1000
"""More fields that do not fit are counted, not listed."""

PAYLOAD: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {},
                "examples": {
                    "approval": {"summary": "An approval", "value": {"approved": True, "comment": "Well done"}},
                    "event": {"summary": "An event", "value": {"order": 17, "paid": True}},
                },
            }
        },
    }
}


def body_of(model: type[Model]) -> Callable[[Request], Coroutine[Any, Any, Model]]:
    """A dependency that gives the body as this model; a missing body is an empty object."""

    async def parsed(request: Request) -> Model:
        content = await request.body()
        if content and not is_json(request):
            message = "must be JSON, with the header Content-Type: application/json"
            raise InvalidInput([FieldProblem("body", message)])
        return await run_in_threadpool(parse, model, content or b"{}")

    return parsed


async def any_json(request: Request) -> Any:
    """A dependency that gives the body, any JSON; an empty object if there is none."""
    content = await request.body()
    if content and not is_json(request):
        raise InvalidInput([FieldProblem("body", "must be JSON, with the header Content-Type: application/json")])
    return await run_in_threadpool(_from_json, content or b"{}")


def documented(model: type[BaseModel], required: bool) -> dict[str, Any]:
    """The OpenAPI of an operation that takes this body; `openapi.describe` adds the schema itself."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def is_json(request: Request) -> bool:
    """Whether the body is said to be JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def parse(model: type[Model], content: bytes) -> Model:
    """The model in a JSON text. Raises `InvalidInput`, also for what is nested too deeply, or `RequestValidationError`.

    In two steps, because `model_validate_json` holds all other threads up for twice as long.
    """
    given = _from_json(content)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        if error.error_count() > MAX_ERRORS:
            message = f"{error.error_count():,} fields do not fit"
            raise InvalidInput([FieldProblem("body", message)]) from error
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from error


def _from_json(content: bytes) -> Any:
    try:
        return from_json(content)
    except ValueError as error:
        raise InvalidInput([FieldProblem("body", f"is no JSON: {error}")]) from error
