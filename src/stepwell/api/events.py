"""Events by name: publish one, and what there is to listen to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from stepwell.api import answers, views
from stepwell.api.access import AskedBy
from stepwell.api.bodies import PAYLOAD, any_json
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked, Key
from stepwell.api_keys import ANONYMOUS

router = APIRouter(tags=["events"])

Name = Annotated[str, Path(max_length=200, description="The name that others wait for.", examples=["order.paid"])]


class Published(answers.Answer):
    """An event that is kept, and brought to all who wait for it."""

    id: str
    name: str = Field(examples=["order.paid"])
    published_at: answers.Time
    repeated: bool = Field(description="Whether this Idempotency-Key had published it before.")


class EventName(answers.Answer):
    """What is known of the events of one name."""

    name: str = Field(examples=["order.paid"])
    published: int = Field(description="How many there ever were.")
    received: int = Field(description="How many tasks they woke or started.")
    listening: int = Field(description="How many tasks wait for one now.")
    workflows: list[str] = Field(description="The workflows that one starts.")


@router.post(
    "/events/{name}",
    summary="Publish an event",
    response_model=Published,
    status_code=202,
    responses=refusals(409, 413, 422, 503),
    openapi_extra=PAYLOAD,
)
def publish(
    system: Asked,
    caller: AskedBy,
    name: Name,
    payload: Annotated[Any, Depends(any_json)],
    idempotency_key: Key = None,
) -> Json:
    """The body is the payload, any JSON (without one it is `{}`). It is kept, wakes every task that waits for it, and
    starts every workflow with a trigger for it, each once; the same Idempotency-Key publishes it once, and is a
    conflict with another event.
    """
    sender = None if caller.name == ANONYMOUS else caller.name
    publication, is_new = system.publish(name, payload, idempotency_key, sender)
    answer = Published(
        id=publication.id,
        name=publication.name,
        published_at=views.time(publication.published_at),
        repeated=not is_new,
    )
    return Json(answer, status_code=202)


@router.get("/events", summary="List the names of events", response_model=answers.Listing[EventName])
def list_events(system: Asked) -> Json:
    """With how often each was published, and who listens."""
    numbers, starts = system.store.publications(), system.triggers.subscribers()
    none = {"published": 0, "received": 0, "listening": 0}
    items = [
        EventName(name=name, workflows=starts.get(name, []), **{**none, **numbers.get(name, {})})
        for name in sorted({*numbers, *starts})
    ]
    return Json(answers.Listing(items=items, next_cursor=None))
