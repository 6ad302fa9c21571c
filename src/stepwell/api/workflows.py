"""Operations on the catalog: list, show, validate."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from stepwell.api import answers, bodies, workflow_views
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked, Cursor, Limit, WorkflowText
from stepwell.errors import DefinitionError, NotFound
from stepwell.loader import load
from stepwell.registry import actions
from stepwell.stores.records import decode_cursor, encode_cursor
from stepwell.wiring import System

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
    after = [] if cursor is None else decode_cursor(cursor, 2)
    found = [one for one in system.service.catalog.all() if [one.workflow_id, one.file] > after]
    page = [workflow_views.summary(one) for one in found[:limit]]
    following = encode_cursor(page[-1].id, page[-1].file) if len(found) > limit else None
    return Json(answers.Listing(items=page, next_cursor=following))


@router.post(
    "/workflows/validate",
    summary="Check the text of a workflow",
    response_model=answers.Validation,
    responses=refusals(413, 422),
    openapi_extra=_VALIDATED,
)
async def validate(system: Asked, request: Request) -> Json:
    """Send YAML as it is, or JSON with a `text`. Nothing is kept, and nothing that the text names is imported.

    So the function of a `call` is not looked for: only a file in the server's folder is checked for that.
    """
    return await run_in_threadpool(_validation, system, await request.body(), bodies.is_json(request))


@router.get(
    "/workflows/{workflow_id}",
    summary="Show a workflow",
    response_model=answers.Workflow,
    responses=refusals(404),
)
def show_workflow(system: Asked, workflow_id: str) -> Json:
    """Its definition, source, graph, the JSON Schema of its variables; of a broken file its problems."""
    catalog = system.service.catalog.all()
    found = [one for one in catalog if one.workflow_id == workflow_id]
    if not found:
        raise NotFound("workflow", workflow_id, (one.workflow_id for one in catalog))
    return Json(workflow_views.workflow(*found))


def _validation(system: System, body: bytes, is_json: bool) -> Json:
    text = bodies.parse(WorkflowText, body).text if is_json else body
    try:
        load(text, "<text>", registry=actions, expression_env=system.settings.expression_env)
    except DefinitionError as error:
        return Json(answers.Validation(valid=False, problems=workflow_views.definition_problems(error)))
    return Json(answers.Validation(valid=True, problems=[]))
