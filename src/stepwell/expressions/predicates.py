"""What may follow `is`: Jinja2's tests, as far as they make sense on JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepwell.expressions import operators
from stepwell.expressions.bounds import Run
from stepwell.expressions.missing import Missing

Predicate = Callable[..., object]


def _of_type(*types: type) -> Predicate:
    return lambda _, value, /: isinstance(value, types)


def _is_integer(_: Run, value: object, /) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _divisible(run: Run, value: Any, num: Any, /) -> bool:
    return operators.remainder(run, value, num) == 0


def _is_text_that(holds: Callable[[str], bool]) -> Predicate:
    return lambda _, value, /: isinstance(value, str) and holds(value)


def _same(run: Run, value: object, other: object, /) -> bool:
    return value is other or (type(value) is type(other) and bool(operators.equal(run, value, other)))


GUARDS: frozenset[str] = frozenset({"defined", "undefined"})
"""The tests that may be asked of a member that is not there."""

PREDICATES: dict[str, Predicate] = {
    "defined": lambda _, value, /: not isinstance(value, Missing),
    "undefined": _of_type(Missing),
    "none": _of_type(type(None)),
    "null": _of_type(type(None)),
    "boolean": _of_type(bool),
    "true": lambda _, value, /: value is True,
    "false": lambda _, value, /: value is False,
    "integer": _is_integer,
    "float": _of_type(float),
    "number": _of_type(int, float),
    "string": _of_type(str),
    "mapping": _of_type(Mapping),
    "sequence": _of_type(str, list, tuple, Mapping),
    "iterable": _of_type(str, list, tuple, Mapping),
    "lower": _is_text_that(str.islower),
    "upper": _is_text_that(str.isupper),
    "odd": lambda run, value, /: operators.remainder(run, value, 2) == 1,
    "even": lambda run, value, /: operators.remainder(run, value, 2) == 0,
    "divisibleby": _divisible,
    "sameas": _same,
    "in": lambda run, value, seq, /: operators.contained(run, value, seq),
    **dict.fromkeys(("==", "eq", "equalto"), operators.equal),
    **dict.fromkeys(("!=", "ne"), operators.unequal),
    **dict.fromkeys((">", "gt", "greaterthan"), operators.greater),
    **dict.fromkeys((">=", "ge"), operators.greater_or_equal),
    **dict.fromkeys(("<", "lt", "lessthan"), operators.less),
    **dict.fromkeys(("<=", "le"), operators.less_or_equal),
}
