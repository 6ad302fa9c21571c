"""What filters and functions expect of their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepwell.errors import ExpressionError
from stepwell.expressions.bounds import CHARACTERS_PER_WORK, Run
from stepwell.expressions.missing import present
from stepwell.values import kind

MAX_STRIPPED = 1_000
MAX_ATTRIBUTE = 1_000


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
    raise ExpressionError(f"{what} is a string, not {kind(value)}")


def attribute_text(attribute: object) -> str:
    """An attribute as it is written, `a.b.0`; raises ExpressionError."""
    spelled = str(attribute) if isinstance(attribute, int) else text(attribute, "an attribute")
    if len(spelled) > MAX_ATTRIBUTE:
        raise ExpressionError(f"an attribute has at most {MAX_ATTRIBUTE:,} characters, not {len(spelled):,}")
    return spelled


def stripped(run: Run, source: str, chars: object) -> str | None:
    """The characters to take off both ends of a text (None: space), the work of looking for them taken."""
    sought = None if chars is None else text(chars, "what is stripped")
    if sought is not None and len(sought) > MAX_STRIPPED:
        raise ExpressionError(f"what is stripped has at most {MAX_STRIPPED:,} characters, not {len(sought):,}")
    run.spend(len(source) * (1 + len(sought or "") // CHARACTERS_PER_WORK) // CHARACTERS_PER_WORK)
    return sought


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
