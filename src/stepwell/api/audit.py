"""The audit log: who changed what. Written after each change was answered, read by admins."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from stepwell.api import answers, views
from stepwell.api.json_response import Json
from stepwell.api.openapi import refusals
from stepwell.api.requests import Asked, Cursor, Limit
from stepwell.api_keys import Allowance, Bucket
from stepwell.errors import StepwellError
from stepwell.ports import TaskStore
from stepwell.task import AuditEntry

router = APIRouter(tags=["operations"])

REFUSALS_LOGGED = Allowance(20, 60)
"""So many refused requests are logged; of more only how many there were."""

_log = logging.getLogger(__name__)


class Change(answers.Answer):
    """A change that was asked for, and what came of it."""

    at: answers.Time
    actor: str = Field(description="The name of an API key; `anonymous` on a server without keys.", examples=["ci"])
    role: str = Field(examples=["operator"])
    action: str = Field(examples=["task.cancel"])
    target: str = Field(description="A task, workflow or queue; empty if it is none.", examples=[answers.TASK_ID])
    outcome: int = Field(description="The HTTP status of the answer.", examples=[200])
    detail: dict[str, Any]


@router.get(
    "/audit",
    summary="List who changed what",
    response_model=answers.Listing[Change],
    responses=refusals(422),
)
def list_audit(system: Asked, limit: Limit = 50, cursor: Cursor = None) -> Json:
    """Newest first; the newest 100,000 are kept. Requests that were refused for their key are in the log only."""
    page = system.store.audit(limit, cursor)
    return Json(answers.Listing(items=[_change(one) for one in page.items], next_cursor=page.next_cursor))


def _change(entry: AuditEntry) -> Change:
    return Change(
        at=views.time(entry.at),
        actor=entry.actor,
        role=entry.role,
        action=entry.action,
        target=entry.target,
        outcome=entry.outcome,
        detail=dict(entry.detail),
    )


class AuditLog:
    """Writes to the audit log of a store, and to the process's log what strangers tried."""

    def __init__(self, store: TaskStore, now: Callable[[], float] = time.monotonic) -> None:
        self._store, self._now = store, now
        self._refusals = Bucket(REFUSALS_LOGGED)
        self._untold = 0

    def note(self, entry: AuditEntry) -> None:
        """Keep an entry. What was done is done: if the store is away, the entry goes to the process's log.

        So does what a quota refused, which changed nothing and may be tried on and on.
        """
        if entry.outcome == HTTPStatus.TOO_MANY_REQUESTS:
            self.refused(f"{entry.outcome} {entry.action} of {entry.actor}")
            return
        try:
            self._store.note(entry)
        except StepwellError as error:
            _log.warning("the audit log could not be written (%s), so here is its entry: %s", error, entry)

    def refused(self, what: str) -> None:
        """Tell of a request that was refused: in the process's log, and bounded, so that strangers cannot fill it."""
        if self._refusals.take(self._now()):
            self._untold += 1
            return
        untold, self._untold = self._untold, 0
        _log.warning("refused: %s%s", what, f" ({untold} more before it)" if untold else "")
