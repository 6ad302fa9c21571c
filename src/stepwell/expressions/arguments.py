"""What filters and functions expect of their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.errors import ExpressionError
from stepwell.expressions.bounds import Run
from stepwell.expressions.missing import present
from stepwell.expressions.results import kind


def whole(value: object, what: str, low: int, high: int) -> int:
    """A whole number within bounds; raises ExpressionError."""
    value = present(value)
    if isinstance(value, int) and low <= value <= high:
        return value
    raise ExpressionError(f"{what} is a whole number from {low:,} to {high:,}")


def text(value: object, what: str) -> str:
    """A text; raises ExpressionError."""
    value = present(value)
    if isinstance(value, str):
        return value
    raise ExpressionError(f"{what} is a text, not {kind(value)}")


def items(run: Run, value: object) -> list[Any]:
    """The items of a list, the keys of an object, the characters of a text; raises ExpressionError."""
    value = present(value)
    if isinstance(value, (list, tuple, str, Mapping)):
        run.items(len(value))
        return list(value)
    raise ExpressionError(f"expected a list, not {kind(value)}")


def pairs(run: Run, value: object) -> list[tuple[Any, Any]]:
    """The keys and values of an object; raises ExpressionError."""
    value = present(value)
    if isinstance(value, Mapping):
        run.items(len(value))
        return list(value.items())
    raise ExpressionError(f"expected an object, not {kind(value)}")
