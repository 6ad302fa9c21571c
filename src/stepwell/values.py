"""Values are JSON: how any Python value becomes JSON text, and durations become seconds."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from stepwell.errors import Fail

APART_SIZE = 64 * 1024
"""Values whose JSON is longer (in bytes) are stored apart from their record."""

MAX_SIZE = 16 * 1024 * 1024
"""Values whose JSON is longer (in bytes) are refused."""

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 100 * 366 * 86400.0
"""Durations beyond a hundred years are taken for mistakes."""

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*")


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
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        found = float(match[1]) * UNITS[match[2] or "s"]
        if found <= LONGEST:
            return found
    shown = repr(value)[:50]
    raise ValueError(f"{shown} is not a duration: write a number of seconds, or 500ms, 30s, 5m, 2h, 1d")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)
