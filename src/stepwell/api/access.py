"""Who asks, whether they may, and what they did: the gate in front of every operation."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepwell.api import permissions
from stepwell.api.audit import AuditLog
from stepwell.api.permissions import Operation
from stepwell.api.problems import KEY_NEEDED, QUOTA_EXCEEDED, RATE_EXCEEDED, ROLE_NEEDED, Refused, http_problem
from stepwell.api_keys import ANONYMOUS, Allowance, ApiKey, Bucket, Keyring, Role
from stepwell.errors import Unavailable, short
from stepwell.ports import TaskStore
from stepwell.task import AuditEntry

NOTES = 4
"""Entries that are written at a time: while the store is slow, they shall not take the threads that answer."""

REALM = 'Bearer realm="stepwell"'

_log = logging.getLogger(__name__)
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


@dataclass
class Caller:
    """Who asks. What an operation puts into `detail` goes to the audit log."""

    name: str
    role: Role
    quota: Allowance | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def spend(self, store: TaskStore, tasks: int) -> None:
        """Count tasks towards the quota; raises `Refused` if it is used up, and counts none of them.

        While the store is away nothing is counted and nobody refused: tasks can still run in this process then, and
        the rate of the key bounds them.
        """
        if self.quota is None:
            return
        try:
            wait = store.spend(self.name, tasks, self.quota.count, self.quota.period)
        except Unavailable as error:
            _log.warning("the quota of %s could not be counted: %s", self.name, error)
            return
        if wait:
            detail = f"{tasks} more would exceed the quota of {self.name!r}, {self.quota} tasks"
            raise Refused(QUOTA_EXCEEDED, detail, _retry_after(wait))


class Gate:
    """Lets through who may do what they ask, and has the audit log tell who changed what.

    It stands before the routes and serves only what `permissions.RULES` lists, so that a new route is closed until
    someone decides who may use it; and nothing of a body is read before. Without keys everybody may do everything:
    then the server listens on this machine only.
    """

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring,
        store: TaskStore,
        public_stats: bool = False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._keyring, self._public_stats, self._now = app, keyring, public_stats, now
        self._audit, self._notes = AuditLog(store, now), CapacityLimiter(NOTES)
        self._buckets = {key.name: Bucket(key.rate) for key in keyring.keys if key.rate is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with its `Caller` in `request.state.caller`, or answer why not."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        method, path = scope.get("method", "WEBSOCKET"), HTTPConnection(scope).url.path
        operation = permissions.find(method, scope["path"])
        try:
            caller = self._admitted(scope, operation)
        except HTTPException as refusal:
            if isinstance(refusal, Refused):
                self._audit.refused(
                    f"{refusal.status_code} {method} {short(path)!r} of {_peer(scope)}: {refusal.detail}"
                )
            await http_problem(path, method, refusal)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._answered(scope, receive, self._with_limits(caller, send), operation, caller)

    def _admitted(self, scope: Scope, operation: Operation | None) -> Caller:
        """Who may do this; raises `HTTPException`."""
        if not self._keyring.keys:
            return Caller(ANONYMOUS, Role.ADMIN)
        needed = Role.VIEWER if operation is None else self._needed(operation)
        if needed is None:
            return Caller(ANONYMOUS, Role.VIEWER)
        key = self._identified(Headers(scope=scope).getlist("authorization"))
        self._bounded(key)
        if operation is None:
            raise _not_served(scope["path"])
        if not key.role.includes(needed):
            detail = f"this needs a key of role {needed}; {key.name!r} is {key.role}"
            raise Refused(ROLE_NEEDED, detail, _challenge(f'error="insufficient_scope", scope="{needed}"'))
        return Caller(key.name, key.role, key.quota)

    def _needed(self, operation: Operation) -> Role | None:
        """The role for an operation, None if it needs no key."""
        return None if operation.rule.statistics and self._public_stats else operation.rule.role

    def _identified(self, authorizations: Sequence[str]) -> ApiKey:
        if not authorizations:
            raise Refused(KEY_NEEDED, "send an API key, as Authorization: Bearer <key>", _challenge())
        sent = _BEARER.fullmatch(authorizations[0]) if len(authorizations) == 1 else None
        if sent is None:
            detail = "the request needs one Authorization header, of the form Bearer <key>"
            raise Refused(KEY_NEEDED, detail, _challenge('error="invalid_request"'))
        key = self._keyring.find(sent[1])
        if key is None:
            raise Refused(KEY_NEEDED, "this API key is not known here", _challenge('error="invalid_token"'))
        return key

    def _bounded(self, key: ApiKey) -> None:
        bucket = self._buckets.get(key.name)
        if bucket is not None and (wait := bucket.take(self._now())):
            raise Refused(RATE_EXCEEDED, f"{key.name!r} may send {key.rate} requests", _retry_after(wait))

    def _with_limits(self, caller: Caller, send: Send) -> Send:
        """Sends answers with what is left of the caller's rate: `RateLimit` of draft-ietf-httpapi-ratelimit-headers."""
        bucket = self._buckets.get(caller.name)
        if bucket is None:
            return send

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = f'"rate";q={bucket.allowance.count};w={bucket.allowance.period}'
                headers["RateLimit"] = f'"rate";r={bucket.left};t={math.ceil(bucket.until_full)}'
            await send(message)

        return sending

    async def _answered(
        self, scope: Scope, receive: Receive, send: Send, operation: Operation | None, caller: Caller
    ) -> None:
        """Have the request answered; if it changes something, note afterwards what came of it."""
        if operation is None or operation.rule.action is None:
            await self._app(scope, receive, send)
            return
        outcome = 500

        async def sending(message: Message) -> None:
            nonlocal outcome
            outcome = message.get("status", outcome)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            target = "/".join(short(value) for value in operation.parameters.values())
            entry = AuditEntry(caller.name, caller.role.value, operation.rule.action, target, outcome, caller.detail)
            await to_thread.run_sync(self._audit.note, entry, limiter=self._notes)


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


AskedBy = Annotated[Caller, Depends(_caller)]


def _not_served(path: str) -> HTTPException:
    """404, or 405 if another method would do."""
    possible = permissions.methods(path)
    return HTTPException(405, headers={"Allow": ", ".join(possible)}) if possible else HTTPException(404)


def _challenge(reason: str = "") -> dict[str, str]:
    """The `WWW-Authenticate` of RFC 6750."""
    return {"WWW-Authenticate": f"{REALM}, {reason}" if reason else REALM}


def _retry_after(wait: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(wait)))}


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "an unknown address"
