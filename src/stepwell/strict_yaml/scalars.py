"""What an unquoted YAML scalar means: null, a boolean, a number, or text."""

from __future__ import annotations

import math
import re

Scalar = str | int | float | bool | None

MAX_DIGITS = 20

_CONSTANTS: dict[str, Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBER_STARTS = frozenset("+-.0123456789")


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar; raises ValueError, with what to write instead, for numbers JSON cannot hold."""
    if text[:1] in _NUMBER_STARTS:
        return _number_or_text(text)
    return _CONSTANTS.get(text, text)


def _number_or_text(text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a JSON number; put it in quotes if it is text")
    return text


def _integer(text: str) -> int:
    if len(text.lstrip("+-")) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits; put it in quotes if it is text")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number too large for JSON; put it in quotes if it is text")
    return value
