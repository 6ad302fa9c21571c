"""The gate in front of the API: who is let through, what is noted, and that a new route is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from stepwell.api import permissions
from stepwell.api.access import Caller, Gate
from stepwell.api.audit import REFUSALS_LOGGED
from stepwell.api.problems import Refused
from stepwell.api_keys import Allowance, ApiKey, Keyring, Role, digest, new_secret
from stepwell.errors import Unavailable
from stepwell.stores.memory import MemoryStore
from stepwell.task import AuditEntry

SECRETS = {role: new_secret() for role in Role}
ENTRIES = [str(ApiKey(role.value, role, digest(secret))) for role, secret in SECRETS.items()]
EXECUTE = "/api/workflows/hello/execute"


class Away(MemoryStore):
    """A store that does not answer."""

    def note(self, entry: AuditEntry) -> None:
        raise Unavailable("the store does not answer")

    def spend(self, account: str, amount: int, limit: int, period: float) -> float:
        raise Unavailable("the store does not answer")


class Inner:
    """The application behind the gate: answers 200 to everything, and remembers what reached it."""

    def __init__(self, answer: Callable[[Caller], int] = lambda _: 200) -> None:
        self.answer = answer
        self.callers: list[Caller] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = scope["state"]["caller"]
        self.callers.append(caller)
        await send({"type": "http.response.start", "status": self.answer(caller), "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Front:
    """A gate with keys of every role, and what is behind it."""

    def __init__(
        self, entries: list[str] = ENTRIES, store: MemoryStore | None = None, inner: Inner | None = None, **more: Any
    ) -> None:
        self.store, self.inner, self.time = store or MemoryStore(), inner or Inner(), 1000.0
        self.gate = Gate(self.inner, Keyring(entries), self.store, now=lambda: self.time, **more)

    def ask(
        self, method: str, path: str, secret: str | None = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The answer to a request with this key."""
        sent = list((headers or {}).items())
        sent += [] if secret is None else [("Authorization", f"Bearer {secret}")]
        return self.ask_with(method, path, sent)

    def ask_with(self, method: str, path: str, headers: list[tuple[str, str]]) -> httpx.Response:
        """The answer to a request with these header lines."""

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.gate, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(asked())

    def noted(self) -> list[AuditEntry]:
        """The audit log, oldest first."""
        return list(reversed(self.store.audit().items))


def test_a_route_that_is_not_listed_is_closed_to_everybody() -> None:
    front = Front()
    for secret in SECRETS.values():
        assert front.ask("GET", "/api/new", secret).status_code == 404
        assert front.ask("DELETE", "/api/workflows/hello", secret).status_code == 405
        assert front.ask("DELETE", "/api/workflows/hello", secret).headers["Allow"] == "GET"
    assert front.ask("GET", "/api/new").status_code == 401
    assert front.inner.callers == []


@pytest.mark.parametrize("rule", permissions.RULES, ids=lambda rule: f"{rule.method}{rule.path}")
def test_every_operation_is_open_to_its_role_only(rule: permissions.Rule) -> None:
    front = Front()
    path = rule.path.replace("{", "").replace("}", "")
    allowed = {role for role in Role if front.ask(rule.method, path, SECRETS[role]).status_code == 200}
    assert allowed == {role for role in Role if rule.role is None or role.includes(rule.role)}
    without = 200 if rule.role is None else 401
    assert [front.ask(rule.method, path, secret).status_code for secret in (None, new_secret())] == [without] * 2


@pytest.mark.parametrize(("public", "status"), [(False, 401), (True, 200)])
def test_statistics_can_be_public(public: bool, status: int) -> None:
    front = Front(public_stats=public)
    paths = [rule.path for rule in permissions.RULES if rule.statistics]
    assert {"/queue/stats", "/workflows/queue/stats", "/metrics"} == set(paths)
    assert {front.ask("GET", path).status_code for path in paths} == {status}
    assert front.ask("GET", "/workflows/workers").status_code == 401


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Bearer"],
        ["Bearer "],
        ["Basic {}"],
        ["Bearer {} x"],
        ["{}"],
        ["Bearer\t{}"],
        ["Bearer {}, Bearer {}"],
        ["Bearer {}", "Bearer {}"],
        ["Bearer {}", "Basic x"],
        ["Bearer {}x"],
        ["Bearer {}="],
        ["Token {}"],
    ],
)
def test_what_is_no_key_is_refused(lines: list[str]) -> None:
    front = Front()
    headers = [("Authorization", line.replace("{}", SECRETS[Role.ADMIN])) for line in lines]
    answer = front.ask_with("GET", "/api/workflows", headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="stepwell"')
    assert ("error=" in answer.headers["WWW-Authenticate"]) == bool(lines)
    assert answer.json()["type"] == "urn:stepwell:problem:key-needed"
    assert SECRETS[Role.ADMIN] not in answer.text
    assert front.inner.callers == []


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_may_be_written_in_any_way(scheme: str) -> None:
    header = {"Authorization": f"{scheme} {SECRETS[Role.VIEWER]}"}
    assert Front().ask("GET", "/workflows", headers=header).status_code == 200


def test_a_role_that_is_not_enough_is_named() -> None:
    answer = Front().ask("POST", "/workflows/queue/mail/clear", SECRETS[Role.OPERATOR])
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"].endswith('error="insufficient_scope", scope="admin"')
    assert answer.json()["type"] == "urn:stepwell:problem:role-needed"
    assert answer.json()["detail"] == "this needs a key of role admin; 'operator' is operator"


def test_a_websocket_needs_a_key_as_well() -> None:
    front, sent = Front(), []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    headers = [(b"host", b"localhost")]
    scope = {"type": "websocket", "path": "/workflows/tasks/x/ws", "query_string": b"", "headers": headers}
    asyncio.run(front.gate(scope, receive, send))
    assert [message.get("status") for message in sent] == [401, None]
    assert front.inner.callers == []


def test_without_keys_everybody_is_an_admin_without_a_name() -> None:
    front = Front(entries=[])
    assert front.ask("GET", "/audit").status_code == 200
    assert front.ask("GET", "/new").status_code == 200
    assert {(caller.name, caller.role) for caller in front.inner.callers} == {("anonymous", Role.ADMIN)}


# -- how often -----------------------------------------------------------------------------------------------------


def limited(rate: str) -> Front:
    """A gate with the key of an operator that may ask only so often, and that of an admin who may ask always."""
    key = ApiKey("slow", Role.OPERATOR, digest(SECRETS[Role.OPERATOR]), rate=Allowance.parse(rate))
    return Front([str(key), ENTRIES[2]])


def test_a_rate_bounds_all_requests_of_a_key_and_of_no_other() -> None:
    front = limited("2/m")

    def ask() -> httpx.Response:
        return front.ask("GET", "/workflows", SECRETS[Role.OPERATOR])

    first, second, third = ask(), ask(), ask()
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert third.json()["type"] == "urn:stepwell:problem:rate-exceeded"
    assert (third.headers["Retry-After"], third.json()["detail"]) == ("30", "'slow' may send 2/m requests")
    assert [one.headers["RateLimit"] for one in (first, second)] == ['"rate";r=1;t=30', '"rate";r=0;t=60']
    assert first.headers["RateLimit-Policy"] == '"rate";q=2;w=60'
    assert front.ask("GET", "/workflows", SECRETS[Role.ADMIN]).status_code == 200
    assert "RateLimit" not in front.ask("GET", "/workflows", SECRETS[Role.ADMIN]).headers
    assert front.ask("GET", "/health", SECRETS[Role.OPERATOR]).status_code == 200
    front.time += 30
    assert ask().status_code == 200


def test_what_is_refused_for_its_role_counts_too() -> None:
    front = limited("1/m")
    assert front.ask("GET", "/audit", SECRETS[Role.OPERATOR]).status_code == 403
    assert front.ask("GET", "/workflows", SECRETS[Role.OPERATOR]).status_code == 429


def caller(quota: str | None) -> Caller:
    """Who may submit so many tasks."""
    return Caller("ci", Role.OPERATOR, None if quota is None else Allowance.parse(quota))


def test_a_quota_counts_tasks_all_or_none() -> None:
    store = MemoryStore(now=lambda: 86400.0 * 3 + 3600 * 23 + 0.5)
    caller("5/d").spend(store, 3)
    with pytest.raises(Refused) as caught:
        caller("5/d").spend(store, 3)
    assert caught.value.headers == {"Retry-After": "3600"}
    assert caught.value.detail == "3 more would exceed the quota of 'ci', 5/d tasks"
    caller("5/d").spend(store, 2)
    caller(None).spend(store, 1000)


def test_a_store_that_is_away_refuses_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caller("1/d").spend(Away(), 1000)
    assert "the quota of ci could not be counted" in caplog.text


# -- what is noted -------------------------------------------------------------------------------------------------


def test_changes_are_noted_with_what_came_of_them() -> None:
    def answer(caller: Caller) -> int:
        caller.detail["task_id"] = "t-1"
        return 202

    front = Front(inner=Inner(answer))
    front.ask("POST", EXECUTE, SECRETS[Role.OPERATOR])
    front.ask("POST", "/workflows/queue/mail/clear", SECRETS[Role.ADMIN])
    front.ask("GET", "/workflows", SECRETS[Role.ADMIN])
    front.ask("POST", "/workflows/validate", SECRETS[Role.ADMIN])
    front.ask("POST", EXECUTE, SECRETS[Role.VIEWER])
    front.ask("POST", EXECUTE)
    noted = [(one.actor, one.role, one.action, one.target, one.outcome, one.detail) for one in front.noted()]
    detail = {"task_id": "t-1"}
    assert noted == [
        ("operator", "operator", "task.submit", "hello", 202, detail),
        ("admin", "admin", "queue.clear", "mail", 202, detail),
    ]


def test_a_bug_is_noted_too_and_stays_one() -> None:
    def answer(_: Caller) -> int:
        raise RuntimeError("a bug")

    front = Front(inner=Inner(answer))
    assert front.ask("POST", EXECUTE, SECRETS[Role.ADMIN]).status_code == 500
    assert [(one.action, one.outcome) for one in front.noted()] == [("task.submit", 500)]


def test_a_target_is_noted_up_to_a_length() -> None:
    front = Front()
    front.ask("POST", f"/workflows/{'y' * 5000}/execute", SECRETS[Role.ADMIN])
    assert len(front.noted()[0].target) == 100


def test_what_a_quota_refused_is_logged_and_not_noted(caplog: pytest.LogCaptureFixture) -> None:
    front = Front(inner=Inner(lambda _: 429))
    assert front.ask("POST", EXECUTE, SECRETS[Role.ADMIN]).status_code == 429
    assert front.noted() == []
    assert "refused: 429 task.submit of admin" in caplog.text


def test_an_entry_that_cannot_be_kept_is_logged_and_the_answer_is_given(caplog: pytest.LogCaptureFixture) -> None:
    front = Front(store=Away())
    assert front.ask("POST", EXECUTE, SECRETS[Role.ADMIN]).status_code == 200
    assert "the audit log could not be written" in caplog.text
    assert "action='task.submit'" in caplog.text
    assert SECRETS[Role.ADMIN] not in caplog.text


def test_strangers_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    front = Front()
    caplog.set_level(logging.WARNING)
    for _ in range(REFUSALS_LOGGED.count + 30):
        front.ask("POST", f"/api/workflows/{'y' * 3000}/execute", "guess")
    assert len(caplog.records) == REFUSALS_LOGGED.count
    assert len(caplog.text) < 400 * REFUSALS_LOGGED.count
    assert "guess" not in caplog.text
    front.time += REFUSALS_LOGGED.period
    front.ask("GET", "/workflows%1b[31m%0a2026%20forged", "guess")
    assert "(30 more before it)" in caplog.records[-1].message
    assert "\x1b" not in caplog.records[-1].message
    assert "\n" not in caplog.records[-1].message
    assert front.noted() == []
