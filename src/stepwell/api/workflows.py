"""Operations on the catalog: list, show, validate."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from stepwell.api import answers, workflow_views
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked, Cursor, Limit, WorkflowText
from stepwell.errors import DefinitionError, FieldProblem, InvalidInput, NotFound

router = APIRouter(tags=["workflows"])

_TEXT = "name: Hello\nsteps:\n  - {id: greet, output: Hello}\n"
_VALIDATED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "text/yaml": {"schema": {"type": "string"}, "example": _TEXT},
            "application/json": {"schema": WorkflowText.model_json_schema(), "example": {"text": _TEXT}},
        },
    }
}


@router.get(
    "/workflows",
    summary="List the workflows",
    response_model=answers.Listing[answers.WorkflowSummary],
    responses=refusals(422),
)
def list_workflows(system: Asked, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """By id; files that do not load are among them, with their problems."""
    found = [one for one in system.service.catalog.all() if cursor is None or one.workflow_id > cursor]
    page = [workflow_views.summary(one) for one in found[:limit]]
    return Json(answers.Listing(items=page, next_cursor=page[-1].id if len(found) > limit else None))


@router.post(
    "/workflows/validate",
    summary="Check the text of a workflow",
    response_model=answers.Validation,
    responses=refusals(413, 422),
    openapi_extra=_VALIDATED,
)
async def validate(system: Asked, request: Request) -> Json:
    """Send YAML as it is, or JSON with a `text`. Nothing is kept."""
    text = await request.body()
    if "json" in request.headers.get("content-type", ""):
        text = _text_of(text)
    return await run_in_threadpool(_validation, system, text)


@router.get(
    "/workflows/{workflow_id}",
    summary="Show a workflow",
    response_model=answers.Workflow,
    responses=refusals(404),
)
def show_workflow(system: Asked, workflow_id: str) -> Json:
    """Its definition, source, graph, the JSON Schema of its variables; of a broken file its problems."""
    catalog = {one.workflow_id: one for one in system.service.catalog.all()}
    if workflow_id not in catalog:
        raise NotFound("workflow", workflow_id, catalog)
    return Json(workflow_views.workflow(catalog[workflow_id]))


def _text_of(body: bytes) -> bytes:
    try:
        return WorkflowText.model_validate(json.loads(body)).text.encode("utf-8", "surrogatepass")
    except (ValidationError, ValueError, RecursionError) as error:
        message = 'must be {"text": "…"}, the text of a workflow in JSON'
        raise InvalidInput([FieldProblem("text", message)]) from error


def _validation(system: Asked, text: bytes) -> Json:
    try:
        system.service.catalog.from_text(text)
    except DefinitionError as error:
        return Json(answers.Validation(valid=False, problems=workflow_views.definition_problems(error)))
    return Json(answers.Validation(valid=True, problems=[]))
