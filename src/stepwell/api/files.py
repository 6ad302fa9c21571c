"""Uploads."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import NamedTemporaryFile

from fastapi import APIRouter, UploadFile

from stepwell.api import answers
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked

router = APIRouter(tags=["files"])


@router.post(
    "/files",
    summary="Upload a file",
    status_code=201,
    response_model=answers.Upload,
    response_description="It is kept; give the answer, or its `sha256`, as a variable of type `file`.",
    responses=refusals(413, 422, 503),
)
def upload(system: Asked, file: UploadFile) -> Json:
    """As `multipart/form-data`. Equal content is kept once."""
    with NamedTemporaryFile(prefix="stepwell-") as copy:
        shutil.copyfileobj(file.file, copy, 1024 * 1024)
        copy.flush()
        kept = system.files.put(Path(copy.name))
    return Json(answers.Upload(sha256=kept["sha256"], name=file.filename, size=kept["size"]), 201)
