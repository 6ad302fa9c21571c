"""What callers send, and the parameters that many operations share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from stepwell.errors import FieldProblem, InvalidInput, did_you_mean, short
from stepwell.values import seconds
from stepwell.wiring import System

MAX_WAIT = 60.0
"""Seconds that `?wait=` may hold a request; a longer wait is cut to this."""

MAX_BATCH = 1000
"""Items of one batch."""

MAX_DELAY = 3660 * 86400.0
"""Seconds: ten years."""

MAX_WORD = 32
"""Characters of a priority or a duration."""

MAX_LABELS = 50
"""Labels of a task, and in a query for tasks."""


def _refused(value: list[Any] | None) -> list[Any] | None:
    if value:
        raise ValueError("is not supported yet: ask the task's status, or wait for it")
    return value


def _word_or_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise ValueError("must be text or a number")
    if isinstance(value, str) and len(value) > MAX_WORD:
        raise ValueError(f"is longer than {MAX_WORD} characters")
    return value


def _in_utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Words = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Priority = Annotated[
    str | int | None,
    BeforeValidator(_word_or_number),
    Field(description="low, normal, high, urgent (or critical), or a number.", examples=["high"]),
]
Duration = Annotated[str | float | None, BeforeValidator(_word_or_number)]

Key = Annotated[
    Words | None,
    Header(alias="Idempotency-Key", description="Sent again with the same request it answers as the first did."),
]


class Execution(BaseModel):
    """What a caller may say about a task; what is left out is the workflow's word, or the setting's."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"variables": {"name": "Ada"}, "priority": "high", "labels": {"team": "shop"}}]
        },
    )

    variables: dict[str, Any] = Field(default_factory=dict, description="By name, as the workflow declares them.")
    max_retries: Annotated[int, Field(ge=0, le=1000)] | None = None
    timeout: Duration = Field(default=None, description="Running time, in seconds or as 5m.", examples=["30m"])
    priority: Priority = None
    queue: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] | None = None
    delay: Duration = Field(default=None, description="Start so much later, in seconds or as 5m.", examples=["10m"])
    run_at: Annotated[datetime, AfterValidator(_in_utc)] | None = Field(
        default=None, description="Start then; a time without an offset is in UTC.", examples=["2026-11-21T09:30:00Z"]
    )
    external_id: Words | None = Field(default=None, description="The caller's own id, to find the task by.")
    labels: dict[Words, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict, max_length=MAX_LABELS
    )
    notify: Annotated[list[Any] | None, AfterValidator(_refused)] = Field(
        default=None, description="Not supported yet."
    )


class BatchExecution(BaseModel):
    """Many tasks of one workflow: all are accepted, or none."""

    model_config = ConfigDict(extra="forbid")

    items: list[Execution] = Field(min_length=1, max_length=MAX_BATCH)


class Retry(BaseModel):
    """What is to be changed about a task that runs again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"variables": {"region": "eu"}}]})

    variables: dict[str, Any] = Field(default_factory=dict, description="These are replaced, the others kept.")
    definition: Literal["original", "latest"] = Field(
        default="original", description="The definition that the task started with, or the one that the file has now."
    )


class WorkflowText(BaseModel):
    """The text of a workflow, in JSON."""

    model_config = ConfigDict(extra="forbid")

    text: str


async def _system(request: Request) -> System:
    system: System = request.app.state.system
    return system


async def _wait(
    wait: Annotated[
        str | None,
        Query(
            max_length=MAX_WORD,
            description=f"Answer when the task has ended, or after this time (at most {MAX_WAIT:g} s).",
        ),
    ] = None,
) -> float:
    return 0.0 if wait is None else min(duration("wait", wait), MAX_WAIT)


async def _labels(request: Request) -> dict[str, str]:
    """`?label.team=shop&label.stage=live` as a mapping."""
    parameters = request.query_params.items()
    found = {name.removeprefix("label."): value for name, value in parameters if name.startswith("label.")}
    if "" in found:
        raise InvalidInput([FieldProblem("label.", "lacks the name of a label, as in label.team=shop")])
    if len(found) > MAX_LABELS:
        raise InvalidInput([FieldProblem("label.", f"more than {MAX_LABELS} labels are asked for")])
    return found


Asked = Annotated[System, Depends(_system)]
Wait = Annotated[float, Depends(_wait)]
Labels = Annotated[dict[str, str], Depends(_labels)]
Limit = Annotated[int, Query(ge=1, le=1000, description="How many items at most.")]
Cursor = Annotated[str | None, Query(description="The `next_cursor` of the page before.")]


def start_delay(given: str | float | None) -> float:
    """The seconds of a `delay`; raises `InvalidInput` if that is no duration, or more than ten years."""
    delay = 0.0 if given is None else duration("delay", given)
    if delay > MAX_DELAY:
        raise InvalidInput([FieldProblem("delay", "is more than ten years")])
    return delay


def start_time(given: datetime | None) -> float | None:
    """The seconds since 1970 of a `run_at`; raises `InvalidInput` if that is more than ten years away."""
    if given is not None and given.timestamp() > time.time() + MAX_DELAY:
        raise InvalidInput([FieldProblem("run_at", "is more than ten years away")])
    return None if given is None else given.timestamp()


def duration(field: str, value: str | float) -> float:
    """Seconds; raises `InvalidInput` that names the field."""
    try:
        return seconds(value)
    except ValueError as error:
        raise InvalidInput([FieldProblem(field, str(error))]) from error


async def known_query(request: Request) -> None:
    """Refuse a query parameter that the operation does not have: a misspelt one would silently be left out."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = set(_parameters(route.dependant))
    problems = [
        FieldProblem(short(name), f"is no parameter of this operation{did_you_mean(name, known)}")
        for name in request.query_params
        if name not in known and not name.startswith("label.")
    ]
    if problems:
        raise InvalidInput(problems)


def _parameters(dependant: Dependant) -> Iterator[str]:
    """The query parameters of an operation, and of what it depends on."""
    yield from (str(parameter.alias) for parameter in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _parameters(inner)
