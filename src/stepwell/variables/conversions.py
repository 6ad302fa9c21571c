"""How one plain value of each type is normalised, bounded and compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from stepwell.values import LARGEST, iso, seconds

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
    return iso(moment)


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
