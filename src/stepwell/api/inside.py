"""Operations on what is inside a task: steps, log, events, files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from stepwell.api import answers, views
from stepwell.api.json_response import Json
from stepwell.api.openapi import Responses, refusals
from stepwell.api.requests import Asked, Cursor, Limit
from stepwell.errors import FieldProblem, InvalidInput, NotFound
from stepwell.service import Service
from stepwell.task import Apart, Event, Page, StepRecord

router = APIRouter(tags=["tasks"], prefix="/workflows/tasks/{task_id}")

MAX_PAGE = 32 * 1024 * 1024
"""Bytes of large outputs in one page of steps; a page ends before it would hold more."""

BATCH = 1000
MAX_BATCHES = 20
"""So many events are read at a time, and so many times, to fill a page of log lines."""

After = Annotated[int, Query(ge=0, lt=10**18, description="Only what came after the event with this id.")]
_FILE: Responses = {
    200: {
        "description": "The content.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get(
    "/steps", summary="List the steps", response_model=answers.Listing[answers.Step], responses=refusals(404, 422)
)
def list_steps(system: Asked, task_id: str, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """In order of the definition. A page may hold fewer than `limit` where outputs are large."""
    task, page = system.service.get(task_id), system.service.steps(task_id, limit, cursor)
    fitting = _fitting(page)
    if fitting < len(page.items):
        page = system.service.steps(task_id, fitting, cursor)
    items = [views.step(system.service, task, record) for record in page.items]
    return Json(answers.Listing(items=items, next_cursor=page.next_cursor))


@router.get(
    "/logs", summary="List the log lines", response_model=answers.Listing[answers.LogLine], responses=refusals(404, 422)
)
def list_logs(system: Asked, task_id: str, after: After = 0, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Oldest first. A page may hold fewer than `limit` although there are more."""
    lines, following = _log_lines(system.service, task_id, _after(after, cursor), limit)
    return Json(answers.Listing(items=[views.log_line(one) for one in lines], next_cursor=following))


@router.get(
    "/events", summary="List the events", response_model=answers.Listing[answers.Event], responses=refusals(404, 422)
)
def list_events(system: Asked, task_id: str, after: After = 0, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Oldest first."""
    events = system.service.events(task_id, _after(after, cursor), limit)
    following = str(events[-1].id) if len(events) == limit else None
    return Json(answers.Listing(items=[views.event(one) for one in events], next_cursor=following))


@router.get(
    "/files", summary="List the files", response_model=answers.Listing[answers.KeptFile], responses=refusals(404, 422)
)
def list_files(system: Asked, task_id: str, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """All that its steps kept, in order of the definition; `limit` counts steps. A page may hold none."""
    page = system.service.steps(task_id, limit, cursor)
    items = [kept for record in page.items for kept in _kept(task_id, record)]
    return Json(answers.Listing(items=items, next_cursor=page.next_cursor))


@router.get(
    "/files/{sha256}", summary="Download a file", response_class=FileResponse, responses={**_FILE, **refusals(404)}
)
def download(system: Asked, task_id: str, sha256: str) -> FileResponse:
    """One of the task's own files; the content is never shown as a page."""
    kept = next((one for one in _all_kept(system.service, task_id) if one.sha256 == sha256), None)
    if kept is None:
        raise NotFound("file", sha256)
    folder = tempfile.TemporaryDirectory(prefix="stepwell-")
    target = Path(folder.name) / "content"
    system.files.fetch(sha256, target)
    return FileResponse(
        target,
        filename=Path(kept.path).name,
        media_type="application/octet-stream",
        headers={"X-Content-Type-Options": "nosniff", "ETag": f'"{sha256}"'},
        background=BackgroundTask(folder.cleanup),
    )


def _fitting(page: Page[StepRecord]) -> int:
    """How many records of the page, at least one, have outputs that fit in an answer together."""
    size = 0
    for number, record in enumerate(page.items):
        size += record.output.size if isinstance(record.output, Apart) else 0
        if size > MAX_PAGE and number:
            return number
    return len(page.items)


def _log_lines(service: Service, task_id: str, after: int, limit: int) -> tuple[list[Event], str | None]:
    """Log lines after an event, and the cursor of the next page if there may be more."""
    lines: list[Event] = []
    for _ in range(MAX_BATCHES):
        events = service.events(task_id, after, BATCH)
        lines += [event for event in events if event.kind == "log"]
        if len(lines) >= limit:
            return lines[:limit], str(lines[limit - 1].id)
        if len(events) < BATCH:
            return lines, None
        after = events[-1].id
    return lines, str(after)


def _after(after: int, cursor: str | None) -> int:
    if cursor is None:
        return after
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
        raise InvalidInput([FieldProblem("cursor", f"{cursor!r} is none that a list answered: leave it out to begin")])
    return int(cursor)


def _all_kept(service: Service, task_id: str) -> Iterator[answers.KeptFile]:
    cursor: str | None = None
    while True:
        page = service.steps(task_id, BATCH, cursor)
        for record in page.items:
            yield from _kept(task_id, record)
        cursor = page.next_cursor
        if cursor is None:
            return


def _kept(task_id: str, record: StepRecord) -> Iterator[answers.KeptFile]:
    for path, about in record.files.items():
        url = f"/api/workflows/tasks/{quote(task_id)}/files/{about['sha256']}"
        yield answers.KeptFile(step=record.path, path=path, size=about["size"], sha256=about["sha256"], url=url)
