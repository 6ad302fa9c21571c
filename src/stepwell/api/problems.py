"""Everything that goes wrong, as problem documents (RFC 9457)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from stepwell import errors
from stepwell.api import answers
from stepwell.api.json_response import Json
from stepwell.api.workflow_views import definition_problems

MEDIA_TYPE = "application/problem+json"

MAX_TEXT = 400
"""Characters of a text in a problem that may repeat what was sent; the middle of a longer one is left out."""


STORE_AWAY = "the store does not answer; the server's log tells more"


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its HTTP status, the end of its `type`, its title."""

    status: int
    name: str
    title: str


INVALID_INPUT = Kind(422, "invalid-input", "Invalid input")
BROKEN = Kind(422, "broken-workflow", "Broken workflow")
HOST_INVALID = Kind(400, "invalid-host", "Invalid Host header")
HOST_UNKNOWN = Kind(421, "unknown-host", "Unknown host")
FOREIGN_ORIGIN = Kind(403, "foreign-origin", "Request from another site")
KEY_NEEDED = Kind(401, "key-needed", "API key needed")
ROLE_NEEDED = Kind(403, "role-needed", "Another role needed")
RATE_EXCEEDED = Kind(429, "rate-exceeded", "Too many requests")
QUOTA_EXCEEDED = Kind(429, "quota-exceeded", "Quota used up")
TOO_LARGE = Kind(413, "too-large", "Request too large")
INTERNAL = Kind(500, "internal", "Internal error")

KINDS: Mapping[type[Exception], Kind] = {
    errors.NotFound: Kind(404, "not-found", "Not found"),
    errors.InvalidInput: INVALID_INPUT,
    errors.ExpressionError: INVALID_INPUT,
    errors.DefinitionError: BROKEN,
    errors.Conflict: Kind(409, "conflict", "Conflict"),
    errors.Forbidden: Kind(403, "forbidden", "Forbidden"),
    errors.QueueFull: Kind(503, "queue-full", "Queue full"),
    errors.Unavailable: Kind(503, "unavailable", "Unavailable"),
    errors.StepwellError: INTERNAL,
}
"""The kind of an error is that of the first of its classes, by its MRO, that stands here."""


class TooLarge(HTTPException):
    """The body is larger than is allowed; an `HTTPException`, because FastAPI lets only those out of a body."""

    def __init__(self, limit: int, setting: str) -> None:
        super().__init__(TOO_LARGE.status, f"the body is larger than {limit:,} bytes ({setting})")


class Refused(HTTPException):
    """This caller may not do this, or not now."""

    def __init__(self, kind: Kind, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(kind.status, detail, headers)
        self.kind = kind


def problem(path: str, kind: Kind, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> Json:
    """The answer for a problem; `members` are further fields of `answers.Problem`."""
    document = answers.Problem(
        type=f"urn:stepwell:problem:{kind.name}" if kind.name else "about:blank",
        title=kind.title,
        status=kind.status,
        detail=detail if kind is BROKEN else shortened(detail),
        instance=shortened(path),
        **members,
    )
    return Json(document, kind.status, headers, MEDIA_TYPE)


def http_problem(path: str, method: str, error: HTTPException) -> Json:
    """The answer for what is wrong with the request itself, whatever it asks for."""
    if isinstance(error, Refused):
        return problem(path, error.kind, error.detail, error.headers)
    if error.status_code == TOO_LARGE.status:
        return problem(path, TOO_LARGE, error.detail, error.headers)
    title, detail = HTTPStatus(error.status_code).phrase, error.detail
    if detail == title:
        detail = {404: f"nothing is served at {path}", 405: f"{method} is not possible here"}.get(
            error.status_code, detail
        )
    return problem(path, Kind(error.status_code, "", title), detail, error.headers)


def shortened(text: str) -> str:
    """A text without its middle, if it is long: its ends tell what it is about and what to do."""
    half = MAX_TEXT // 2
    return text if len(text) <= MAX_TEXT else f"{text[:half]} … {text[-half:]}"


@contextmanager
def without_address() -> Iterator[None]:
    """For what is answered without a key: of a store that does not answer only that is told, not where it is."""
    try:
        yield
    except errors.Unavailable as error:
        raise errors.Unavailable(STORE_AWAY, retry_after=error.retry_after) from error


def answer_problems(app: FastAPI) -> None:
    """Have the application answer every exception with a problem document."""
    app.add_exception_handler(errors.StepwellError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(Exception, _of_a_bug)


async def _of_ours(request: Request, error: Exception) -> Json:
    kind = next(KINDS[base] for base in type(error).__mro__ if base in KINDS)
    members: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, errors.InvalidInput):
        members["errors"] = [_field_error(one.field, one.message) for one in error.problems]
    elif isinstance(error, errors.DefinitionError):
        members["problems"] = definition_problems(error)
    elif isinstance(error, errors.Conflict) and error.status is not None:
        members["task_status"] = error.status
    elif isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        members.update({"task_id": error.task_id} if error.task_id else {})
    return problem(request.url.path, kind, str(error), headers, **members)


async def _of_validation(request: Request, error: Exception) -> Json:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    fields = [_field_error(_field(one["loc"]), _message(one)) for one in found]
    detail = "; ".join(f"{one.field}: {one.message}" for one in fields)
    return problem(request.url.path, INVALID_INPUT, detail, errors=fields)


async def _of_http(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)
    return http_problem(request.url.path, request.method, error)


async def _of_a_bug(request: Request, _: Exception) -> Json:
    return problem(request.url.path, INTERNAL, "this should not have happened; the server's log tells more")


def _field_error(field: str, message: str) -> answers.FieldError:
    return answers.FieldError(field=shortened(field), message=shortened(message))


def _field(place: Sequence[str | int]) -> str:
    """`("body", "items", 3, "queue")` as `items[3].queue`."""
    parts = place[1:] if len(place) > 1 else place
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")


def _message(found: Mapping[str, Any]) -> str:
    if found["type"] == "extra_forbidden":
        return "is no field of this request"
    return str(found["msg"]).removeprefix("Value error, ")
