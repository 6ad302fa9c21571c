"""The scripts of the Redis store: which files make up each, and the tables that Python and Lua share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from stepwell.lifecycle import COUNTERS, CRASH_DELAY, MAX_CRASHES, TASK_MOVES
from stepwell.redis_client import Script
from stepwell.stores.redis.forms import FIELDS, NUMBERS
from stepwell.task import ENDED, FORMAT, Status

INLINE_STEPS = 4
INLINE_BYTES = 2000
"""Tasks with no more and no longer step records keep them in their own list, which saves the weight of a hash."""

STEPS_WITHOUT_INDEX = 100
"""Tasks with more step records have an index for their pages."""

PACE_MINUTES = 5
PACE_SECONDS = 600
"""Endings are counted by the minute; how many whole minutes are told of, and how long the numbers are kept."""

_TASKS = ("base", "tasks")
_STEPS = (*_TASKS, "records")
_MOVES = ("base", "lifecycle", "tasks", "moves", "topics", "listening", "mail", "crews", "save")
_NEW = (*_MOVES, "definitions", "creating")
_LOG = ("base", "topics", "log")
_CLAIMS = (*_MOVES, "records", "claims")
_PARTS: Mapping[str, tuple[str, ...]] = {
    "create": _NEW,
    "requests": ("base",),
    "spawn": (*_NEW, "revising"),
    "crew": _MOVES,
    "cancel_children": _MOVES,
    "send": _MOVES,
    "rouse": _MOVES,
    "claim": _CLAIMS,
    "take": _CLAIMS,
    "write": (*_STEPS, "commit"),
    "end_claim": (*_MOVES, "records", "commit"),
    "renew": _TASKS,
    "reap": _MOVES,
    "lose": _MOVES,
    "wake": _MOVES,
    "due_in": ("base",),
    "queued": _TASKS,
    "cancel": _MOVES,
    "retry": (*_MOVES, "records", "definitions", "revising"),
    "discard": _MOVES,
    "list": _TASKS,
    "children": _TASKS,
    "step": _STEPS,
    "steps": _STEPS,
    "publish": _LOG,
    "published": _LOG,
    "undelivered": _LOG,
    "delivered": ("base",),
    "purge": (*_MOVES, "definitions"),
    "forget": _LOG,
    "counts": _TASKS,
    "ages": ("base",),
    "pace": ("base",),
    "spend": ("base",),
    "note": ("base",),
}
"""The operations, and what stands before each: no more than it needs, as each call runs through it."""

SILENT = (resources.files(__package__) / "lua" / "silent.lua").read_text()
"""The bell of a store that rings for nobody."""


class Scripts:
    """The scripts of one store, by the name of their operation; each is put together when it is first asked for."""

    def __init__(self, namespace: str, lease_seconds: float, bell: str) -> None:
        self._before = "\n".join(_shared(namespace, lease_seconds))
        self._bell = bell
        self.script = cache(self._script)

    def _script(self, operation: str) -> Script:
        parts = _PARTS[operation]
        bell = [self._bell] if "moves" in parts else []
        return Script("\n".join([*bell, self._before, *map(_source, parts), _source(operation)]))


def _shared(namespace: str, lease_seconds: float) -> Iterable[str]:
    constants: Mapping[str, object] = {
        "NAMESPACE": f"{namespace}:",
        "LEASE_SECONDS": lease_seconds,
        "FORMAT": FORMAT,
        "FIELDS": FIELDS,
        "NUMBERS": NUMBERS,
        "STATUSES": tuple(Status),
        "ENDED": dict.fromkeys(sorted(ENDED), True),
        "TASK_MOVES": {status: dict.fromkeys(sorted(moves), True) for status, moves in TASK_MOVES.items()},
        "MAX_CRASHES": MAX_CRASHES,
        "CRASH_DELAY": CRASH_DELAY,
        "COUNTERS": COUNTERS,
        "INLINE_STEPS": INLINE_STEPS,
        "INLINE_BYTES": INLINE_BYTES,
        "STEPS_WITHOUT_INDEX": STEPS_WITHOUT_INDEX,
        "PACE_SECONDS": PACE_SECONDS,
    }
    return (f"local {name} = {_literal(value)}" for name, value in constants.items())


def _literal(value: object) -> str:
    """A value as Lua writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"[{_literal(key)}] = {_literal(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):
        return "{" + ", ".join(map(_literal, value)) + "}"
    if isinstance(value, str):
        return '"' + "".join(map(_letter, value.encode())) + '"'
    return str(value).lower()


def _letter(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03}"


@cache
def _source(name: str) -> str:
    return (resources.files(__package__) / "lua" / f"{name}.lua").read_text()
