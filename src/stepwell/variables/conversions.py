"""How one plain value of each type is normalised, bounded, compared and shown in messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from pydantic_core import SchemaValidator, core_schema

from stepwell.values import seconds

LARGEST = 10**308
"""Numbers beyond are refused: other programs read them as infinity."""

SHA256 = r"^[0-9a-fA-F]{64}$"
LENGTHS = {"string": "characters", "secret": "characters", "list": "items"}
"""The types whose `min` and `max` bound a length, and what is counted."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def number(value: object) -> int | float:
    """A JSON number; raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise ValueError
    return value


def _integer(value: object) -> int:
    if int(number(value)) != value:
        raise ValueError
    return int(number(value))


def _date(value: object) -> str:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    text = _text(value)
    if date.fromisoformat(text).isoformat() != text:  # `20261121` is a date of ISO 8601, but none of JSON Schema
        raise ValueError
    return text


def _datetime(value: object) -> str:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    if isinstance(value, str) and len(value) <= len("2026-11-21"):
        raise ValueError
    in_utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return in_utc.replace(tzinfo=None).isoformat() + "Z"


def _duration(value: object) -> int | float:
    return whole(number(seconds(value)))


def _file(value: object) -> dict[str, Any]:
    """An upload by its hash, or as `POST /files` answered it; what else that says is left out."""
    given = value if isinstance(value, Mapping) else {"sha256": value}
    sha256, name, size = _text(given.get("sha256")), given.get("name"), given.get("size")
    if not re.fullmatch(SHA256, sha256):
        raise ValueError
    if name is not None and (name in ("", ".", "..") or re.search(r"[/\\\0]", _text(name))):
        raise ValueError  # it becomes a file's name in a work folder
    if size is not None and _integer(size) < 0:
        raise ValueError
    return {"sha256": sha256.lower(), "name": name, "size": size if size is None else _integer(size)}


SCALARS: Mapping[str, tuple[str, Callable[[object], Any]]] = {
    "string": ("a string", _text),
    "secret": ("a string", _text),
    "integer": ("a whole number", _integer),
    "number": ("a number", number),
    "boolean": ("true or false", _boolean),
    "date": ("a date like 2026-11-21", _date),
    "datetime": ("a time like 2026-11-21T09:30:00Z", _datetime),
    "duration": ("a duration like 30s, 5m, 2h or a number of seconds", _duration),
    "file": ("the sha256 of an upload, or its {sha256, name, size}", _file),
}


def measure(kind: str, value: Any) -> Any:
    """What `min` and `max` bound: a length, a moment, or the value itself."""
    if kind in LENGTHS:
        return len(value)
    return datetime.fromisoformat(value) if kind == "datetime" else value


def as_bound(kind: str, bound: float | str) -> Any:
    """`min` or `max` as something to compare with a measure. Raises `ValueError` or `OverflowError`."""
    if kind in LENGTHS:
        return _integer(bound)
    _, convert = SCALARS["number" if kind == "integer" else kind]
    return measure(kind, convert(bound))


def wanted(how: str, kind: str, bound: float | str) -> str:
    """`must have at least 3 items`, `must be at least 3`."""
    limit = bound if isinstance(bound, str) else whole(bound)
    return f"must have {how} {limit} {LENGTHS[kind]}" if kind in LENGTHS else f"must be {how} {limit}"


@lru_cache(maxsize=500)
def matcher(pattern: str) -> SchemaValidator:
    """Tells whether a text holds a match, in linear time (Rust's engine). Raises pydantic's `SchemaError`."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike in Python, `true` is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(item, other[key]) for key, item in one.items())
    return bool(one == other)


def whole(number: int | float) -> int | float:
    """5 for 5.0, as people write it."""
    return int(number) if number == int(number) else number


def kind_of(value: object) -> str:
    """What a value is, in a few words that tell nothing of it."""
    if value is None:
        return "null"
    kinds = ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (list | tuple, "a list"))
    named = (name for types, name in kinds if isinstance(value, types))
    return next(named, "an object" if isinstance(value, Mapping) else f"a Python {type(value).__name__}")


def shown(value: object) -> str:
    """A value for a message: its kind, and itself if it is short."""
    if isinstance(value, str):
        return f"the string {short(json.dumps(value[:100], ensure_ascii=False))}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        return "a number of more than 308 digits"
    return short(str(value)) if isinstance(value, int | float) else kind_of(value)


def short(text: str, length: int = 60) -> str:
    """The beginning of a text, without lone surrogates, so that it can be sent."""
    text = text[: length + 1].encode(errors="replace").decode()
    return text if len(text) <= length else f"{text[: length - 1]}…"
