"""Who may do what: every operation of the API, with the role that it needs. What is not listed is served to nobody.

Viewers read. Operators run things and keep them running. What throws many things away at once, and the audit log, is
for admins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.routing import compile_path

from stepwell.api_keys import Role

PREFIX = "/api"


@dataclass(frozen=True)
class Rule:
    """What an operation needs: `role` None is no key at all; so are `statistics` where `PUBLIC_STATS` is true.

    `action` is what the audit log calls it; operations that change nothing have none.
    """

    method: str
    path: str
    role: Role | None
    action: str | None = None
    statistics: bool = False


@dataclass(frozen=True)
class Operation:
    """What a request asks for: a rule, and the parameters in its path."""

    rule: Rule
    parameters: Mapping[str, str]


_TASK: Final = "/workflows/tasks/{task_id}"
_QUEUE: Final = "/workflows/queue/{queue}"

RULES: Sequence[Rule] = (
    Rule("GET", "/", None),
    Rule("GET", "/docs", None),
    Rule("GET", "/docs/oauth2-redirect", None),
    Rule("GET", "/redoc", None),
    Rule("GET", "/openapi.json", None),
    Rule("GET", "/health", None),
    Rule("GET", "/ready", None),
    Rule("GET", "/queue/stats", Role.VIEWER, statistics=True),
    Rule("GET", "/workflows/queue/stats", Role.VIEWER, statistics=True),
    Rule("GET", "/metrics", Role.VIEWER, statistics=True),
    Rule("GET", "/workflows/workers", Role.VIEWER),
    Rule("GET", "/workflows/queue/dead-letters", Role.VIEWER),
    Rule("GET", "/workflows", Role.VIEWER),
    Rule("GET", "/workflows/tasks", Role.VIEWER),
    Rule("GET", _TASK, Role.VIEWER),
    Rule("GET", f"{_TASK}/status", Role.VIEWER),
    Rule("GET", f"{_TASK}/progress", Role.VIEWER),
    Rule("GET", f"{_TASK}/steps", Role.VIEWER),
    Rule("GET", f"{_TASK}/children", Role.VIEWER),
    Rule("GET", f"{_TASK}/logs", Role.VIEWER),
    Rule("GET", f"{_TASK}/events", Role.VIEWER),
    Rule("GET", f"{_TASK}/files", Role.VIEWER),
    Rule("GET", f"{_TASK}/files/{{sha256}}", Role.VIEWER),
    Rule("GET", "/workflows/{workflow_id}", Role.VIEWER),
    Rule("POST", "/workflows/validate", Role.VIEWER),
    Rule("POST", "/workflows/{workflow_id}/execute", Role.OPERATOR, "task.submit"),
    Rule("POST", "/workflows/{workflow_id}/execute/batch", Role.OPERATOR, "task.submit_batch"),
    Rule("POST", f"{_TASK}/cancel", Role.OPERATOR, "task.cancel"),
    Rule("POST", f"{_TASK}/retry", Role.OPERATOR, "task.retry"),
    Rule("POST", f"{_TASK}/signal/{{name:path}}", Role.OPERATOR, "task.signal"),
    Rule("POST", "/workflows/queue/dead-letters/requeue", Role.OPERATOR, "dead_letters.requeue"),
    Rule("POST", "/workflows/queue/dead-letters/discard", Role.ADMIN, "dead_letters.discard"),
    Rule("POST", f"{_QUEUE}/pause", Role.OPERATOR, "queue.pause"),
    Rule("POST", f"{_QUEUE}/resume", Role.OPERATOR, "queue.resume"),
    Rule("POST", f"{_QUEUE}/clear", Role.ADMIN, "queue.clear"),
    Rule("GET", "/events", Role.VIEWER),
    Rule("POST", "/events/{name}", Role.OPERATOR, "event.publish"),
    Rule("POST", "/files", Role.OPERATOR, "file.upload"),
    Rule("GET", "/audit", Role.ADMIN),
)
"""A literal path stands before one with a parameter in that place, as in the routers."""

_PATTERNS = [(rule, compile_path(rule.path)[0]) for rule in RULES]


def find(method: str, path: str) -> Operation | None:
    """What a request asks for; None if there is no such operation. HEAD asks for what GET does."""
    path, method = _without_prefix(path), "GET" if method == "HEAD" else method
    for rule, pattern in _PATTERNS:
        if rule.method == method and (found := pattern.fullmatch(path)):
            return Operation(rule, found.groupdict())
    return None


def methods(path: str) -> list[str]:
    """The methods that can be used on a path."""
    path = _without_prefix(path)
    return sorted({rule.method for rule, pattern in _PATTERNS if pattern.fullmatch(path)})


def _without_prefix(path: str) -> str:
    return path.removeprefix(PREFIX) if path.startswith(f"{PREFIX}/") else path
