"""The OpenAPI document: what every operation says about refusals, and the application's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from stepwell.api import answers, permissions
from stepwell.api.problems import MEDIA_TYPE
from stepwell.api.requests import BatchExecution, Execution, Retry

DESCRIPTION = """
Durable workflows: run them, watch them, act on them.

Every path can also be used without the prefix `/api`. Whatever goes wrong is a problem document (RFC 9457).
A request that names a host which is not this server's is answered 421 (400 without a valid `Host`), a change that a
page of another site asks for 403, a body that is too large 413.

A server with `API_KEYS` wants one of them, as `Authorization: Bearer <key>`: without it the answer is 401, if the key
has not the role that stands at the operation 403, if it asks more often than it may 429 with `Retry-After`.
"""

TAGS = [
    {"name": "workflows", "description": "The catalog, and running what is in it."},
    {"name": "tasks", "description": "Executions: their records, their insides, and acting on them."},
    {"name": "queues", "description": "Statistics, workers, dead letters; pause, resume, clear."},
    {"name": "files", "description": "Uploads for variables of type `file`."},
    {"name": "operations", "description": "Whether it lives, whether it is ready, how busy it is."},
]

Responses = dict[int | str, dict[str, Any]]

_REFUSALS: Mapping[int | str, tuple[str, dict[str, Any]]] = {
    403: (
        "This caller is none of those who may.",
        {
            "type": "urn:stepwell:problem:forbidden",
            "title": "Forbidden",
            "status": 403,
            "detail": "'ci' may not answer 'release': its approvers are ada, eve",
            "instance": f"/api/workflows/tasks/{answers.TASK_ID}/signal/release",
        },
    ),
    404: (
        "There is no such thing.",
        {
            "type": "urn:stepwell:problem:not-found",
            "title": "Not found",
            "status": 404,
            "detail": "unknown workflow 'my_workflw' (did you mean 'my_workflow'?)",
            "instance": "/api/workflows/my_workflw",
        },
    ),
    409: (
        "The task is not in a state that allows this, or the idempotency key belongs to another request.",
        {
            "type": "urn:stepwell:problem:conflict",
            "title": "Conflict",
            "status": 409,
            "detail": "the task is running: cancel it with force to interrupt its steps",
            "instance": f"/api/workflows/tasks/{answers.TASK_ID}/cancel",
            "task_status": "running",
        },
    ),
    413: (
        "The body is too large.",
        {
            "type": "urn:stepwell:problem:too-large",
            "title": "Request too large",
            "status": 413,
            "detail": "the body is larger than 33,554,432 bytes (MAX_REQUEST_BYTES)",
            "instance": "/api/workflows/my_workflow/execute",
        },
    ),
    422: (
        "What was sent does not fit (`errors`), or the workflow's file is broken (`problems`).",
        {
            "type": "urn:stepwell:problem:invalid-input",
            "title": "Invalid input",
            "status": 422,
            "detail": "variables.day: is required",
            "instance": "/api/workflows/my_workflow/execute",
            "errors": [{"field": "variables.day", "message": "is required"}],
        },
    ),
    503: (
        "It cannot be taken now; `Retry-After` says when to try again.",
        {
            "type": "urn:stepwell:problem:queue-full",
            "title": "Queue full",
            "status": 503,
            "detail": "3 tasks run and 100 wait, which is all that is allowed (INLINE_MAX_CONCURRENCY, …)",
            "instance": "/api/workflows/my_workflow/execute",
        },
    ),
    "default": (
        "Any other problem.",
        {
            "type": "urn:stepwell:problem:internal",
            "title": "Internal error",
            "status": 500,
            "detail": "this should not have happened; the server's log tells more",
            "instance": "/api/workflows",
        },
    ),
}
_SCHEMAS = "#/components/schemas/"
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def refusals(*statuses: int | str) -> Responses:
    """The answers of an operation that are problems, for its `responses`."""
    return {status: _refusal(status) for status in statuses}


def describe(app: FastAPI) -> None:
    """Have the application describe itself: with the shape of problems, without FastAPI's own errors."""

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=TAGS
    )
    schemas = document["components"]["schemas"]
    for model in (answers.Problem, Execution, BatchExecution, Retry):
        schema = model.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _tell_role(operation, permissions.find(method.upper(), path))
    return document


def _tell_role(operation: dict[str, Any], asked: permissions.Operation | None) -> None:
    """Say which role an operation needs, in the way of OpenAPI and for people."""
    role = None if asked is None else asked.rule.role
    operation["security"] = [] if role is None else [{"key": []}]
    if role is not None:
        operation["description"] = f"{operation.get('description', '')}\n\nRole: {role}.".lstrip()


def _refusal(status: int | str) -> dict[str, Any]:
    description, example = _REFUSALS[status]
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}, "example": example}}
    return {"description": description, "content": content, **({"headers": _RETRY_AFTER} if status == 503 else {})}
