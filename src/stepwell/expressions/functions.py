"""What can be called in an expression: a few functions, and the methods of texts, objects and times that are safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from stepwell.errors import ExpressionError, did_you_mean, short
from stepwell.expressions import arguments, text_filters
from stepwell.expressions.bounds import CHARACTERS_PER_WORK, MAX_RANGE, Run
from stepwell.expressions.missing import present
from stepwell.expressions.times import formatted, to_duration, to_time
from stepwell.values import iso, kind

Function = Callable[..., object]
MAX_BOUND = 2**62
INSTEAD = {
    "format": "write `a ~ b` to put strings together",
    "join": "write `list | join(', ')`",
    "append": "write `list + [item]`",
    "extend": "write `list + list`",
    "update": "objects do not change; shape a new one",
    "encode": "write `| b64` or `| sha256`",
    "count": "write `| length`",
}


def numbers(run: Run, /, start: object, stop: object = None, step: object = 1) -> list[int]:
    """`range(stop)`, `range(start, stop, step)`: at most 100,000 whole numbers."""
    first, end = (0, start) if stop is None else (start, stop)
    bounds = [arguments.whole(bound, "an argument of range", -MAX_BOUND, MAX_BOUND) for bound in (first, end, step)]
    if bounds[2] == 0:
        raise ExpressionError("the step of range must not be 0")
    result = range(*bounds)
    if result and (result[-1] - result[0]) // bounds[2] >= MAX_RANGE:  # len() of a huge range overflows
        raise ExpressionError(f"range yields at most {MAX_RANGE:,} numbers")
    run.items(len(result))
    return list(result)


def date(run: Run, /, value: object = None) -> datetime:
    """The moment that a text or number stands for; without an argument today at 00:00 UTC, by `now()`."""
    if value is not None:
        return to_time(present(value))
    now = run.names.get("now")
    if not callable(now):
        raise ExpressionError("date() without an argument needs now(), which is not known here")
    return to_time(now()).replace(hour=0, minute=0, second=0, microsecond=0)


def duration(_: Run, /, value: object) -> timedelta:
    """The duration that a text like '5m' or a number of seconds stands for."""
    return to_duration(present(value))


FUNCTIONS: dict[str, Function] = {"range": numbers, "date": date, "duration": duration}


def _begins(method: Callable[[str, str | tuple[str, ...]], bool]) -> Function:
    """`startswith` or `endswith`, of one text or any of a list."""

    def holds(_: Run, value: str, /, part: object) -> bool:
        parts = part if isinstance(part, (list, tuple)) else [part]
        return method(value, tuple(arguments.text(item, "what a text starts or ends with") for item in parts))

    return holds


def _cut(method: Callable[[str, str], str]) -> Function:
    def cut(run: Run, value: str, /, part: object) -> str:
        run.spend(len(value) // CHARACTERS_PER_WORK)
        return method(value, arguments.text(part, "what is removed"))

    return cut


def _strip(method: Callable[[str, str | None], str]) -> Function:
    def strip(run: Run, value: str, /, chars: object = None) -> str:
        return method(value, arguments.stripped(run, value, chars))

    return strip


def _get(_: Run, value: Mapping[object, object], /, key: object, default: object = None) -> object:
    return value.get(key, default)


TEXT_METHODS: dict[str, Function] = {
    "startswith": _begins(str.startswith),
    "endswith": _begins(str.endswith),
    "removeprefix": _cut(str.removeprefix),
    "removesuffix": _cut(str.removesuffix),
    "strip": _strip(str.strip),
    "lstrip": _strip(str.lstrip),
    "rstrip": _strip(str.rstrip),
    "lower": text_filters.lower,
    "upper": text_filters.upper,
    "title": text_filters.title,
    "split": text_filters.split,
    "replace": text_filters.replace,
}
OBJECT_METHODS: dict[str, Function] = {
    "get": _get,
    "items": lambda run, value, /: arguments.pairs(run, value),
    "keys": lambda run, value, /: [key for key, _ in arguments.pairs(run, value)],
    "values": lambda run, value, /: [item for _, item in arguments.pairs(run, value)],
}
TIME_METHODS: dict[str, Function] = {
    "isoformat": lambda _, value, /: iso(value),
    "timestamp": lambda _, value, /: value.timestamp(),
    "weekday": lambda _, value, /: value.weekday(),
    "strftime": lambda _, value, form, /: formatted(value, form),
}
DURATION_METHODS: dict[str, Function] = {"total_seconds": lambda _, value, /: value.total_seconds()}
METHODS: tuple[tuple[type | tuple[type, ...], dict[str, Function]], ...] = (
    (str, TEXT_METHODS),
    (Mapping, OBJECT_METHODS),
    (datetime, TIME_METHODS),
    (timedelta, DURATION_METHODS),
)


def check_method(name: str, offset: int) -> None:
    """Raise ExpressionError for a method that no value has."""
    known = [method for _, methods in METHODS for method in methods]
    if name not in known:
        meant = "" if name in INSTEAD else did_you_mean(name, known)
        hint = INSTEAD.get(name, f"methods are: {', '.join(known)}; for everything else there are filters")
        raise ExpressionError(f"unknown method '{short(name)}'{meant}", offset=offset, hint=None if meant else hint)


def call_method(run: Run, value: object, name: str, args: list[Any], keywords: dict[str, Any]) -> object:
    """Call one of the listed methods; a method that the kind of value does not have raises ExpressionError."""
    for types, methods in METHODS:
        if isinstance(present(value), types) and name in methods:
            return methods[name](run, value, *args, **keywords)
    raise ExpressionError(f"{kind(value)} has no method '{name}'")


def call_function(run: Run, name: str, args: list[Any], keywords: dict[str, Any]) -> object:
    """Call one of the listed functions."""
    return FUNCTIONS[name](run, *args, **keywords)


def call_name(name: str, value: object, args: list[Any], keywords: dict[str, Any]) -> object:
    """Call what the names hold; only functions that were put there can be called."""
    if not callable(present(value)):
        raise ExpressionError(f"'{short(name)}' is {kind(value)}, not a function")
    result: object = value(*args, **keywords)  # type: ignore[operator]
    return result
