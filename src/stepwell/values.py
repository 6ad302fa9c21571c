"""Values are JSON: how any Python value becomes JSON text, durations become seconds, and messages tell of values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from stepwell.errors import Fail, short

APART_SIZE = 64 * 1024
"""Values whose JSON is longer (in bytes) are stored apart from their record."""

MAX_SIZE = 16 * 1024 * 1024
"""Values whose JSON is longer (in bytes) are refused."""

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 100 * 366 * 86400.0
"""Durations beyond a hundred years are taken for mistakes."""

DURATION_PATTERN = r"^\s*([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)?\s*$"
"""How a duration is written, as a regular expression for JSON Schema too."""

MAX_DURATION_TEXT = 32
"""Characters of a duration, without the space around it."""

LARGEST = 10**308
"""Numbers beyond are not used: other programs read them as infinity."""

_DURATION = re.compile(DURATION_PATTERN)
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "a string"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
    (datetime, "a time"),
    (timedelta, "a duration"),
)


def encode(value: object, what: str = "the value") -> str:
    """The JSON text of a value; dataclasses, models, dates, paths and sets are turned into JSON's types.

    Raises `Fail` (code `invalid`, not retryable) that names `what` for NaN, infinities, cycles, too deep
    nesting, more than 16 MiB, and types that have no JSON form.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=to_jsonable_python)
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:  # lone surrogates have no UTF-8 form, but JSON can escape them
        text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=to_jsonable_python)
        size = len(text)
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
        raise Fail(f"{what} is not JSON: {_reason(error)}", code="invalid", retryable=False) from error
    if size > MAX_SIZE:
        message = f"{what} is {size:,} bytes of JSON, more than {MAX_SIZE:,}: use files for large data"
        raise Fail(message, code="too_large", retryable=False)
    return text


def decode(text: str) -> Any:
    """The value of JSON text; always a new one that the caller may change."""
    return json.loads(text)


def seconds(value: object) -> float:
    """A duration in seconds: a number, or text like `500ms`, `30s`, `5m`, `2h`, `1d`. Raises `ValueError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if 0 <= value <= LONGEST:
            return float(value)
    elif isinstance(value, str) and (match := _duration(value.strip())):
        found = float(match[1]) * UNITS[match[2] or "s"]
        if found <= LONGEST:
            return found
    told = repr(short(value, 40)) if isinstance(value, str) else shown(value)
    raise ValueError(f"{told} is not a duration: write a number of seconds, or 500ms, 30s, 5m, 2h, 1d")


def in_utc(moment: datetime) -> datetime:
    """The moment in UTC; one without an offset is taken as UTC. Raises `OverflowError` near the years 1 and 9999."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def iso(moment: datetime | float, timespec: str = "auto") -> str:
    """ISO 8601 in UTC with a `Z`, of a moment or of seconds since 1970; `timespec` as in `datetime.isoformat`."""
    known = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return in_utc(known).replace(tzinfo=None).isoformat(timespec=timespec) + "Z"


def kind(value: object) -> str:
    """What a value is, in a few words that tell nothing of it: `null`, `a number`, `a list`, …"""
    named = (name for types, name in _KINDS if isinstance(value, types))
    return next(named, "a function" if callable(value) else f"a Python {type(value).__name__}")


def shown(value: object) -> str:
    """A value that the reader gave himself, for a message: its kind, and itself if it is short."""
    if isinstance(value, str):
        return f"the string {short(json.dumps(value[:100], ensure_ascii=False), 60)}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return "a number of more than 308 digits"
    return short(str(value), 60) if isinstance(value, int | float) else kind(value)


def _duration(text: str) -> re.Match[str] | None:
    return _DURATION.match(text) if len(text) <= MAX_DURATION_TEXT else None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)
