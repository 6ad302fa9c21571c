"""The filters and tests by name: how they are registered, found, checked and called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from stepwell.errors import ExpressionError, did_you_mean, short
from stepwell.expressions.bounds import WORK_PER_CALL, Run
from stepwell.expressions.missing import present
from stepwell.expressions.predicates import GUARDS, PREDICATES

Filter = Callable[..., object]
F = TypeVar("F", bound=Filter)

FILTERS: dict[str, Filter] = {}
ELSEWHERE = {
    "count": "length",
    "d": "default",
    "tojson": "json",
    "from_json": "fromjson",
    "b64encode": "b64",
    "to_json": "json",
    "strftime": "date",
    "lowercase": "lower",
    "uppercase": "upper",
    "strip": "trim",
    "size": "length",
    "format": "round",
}


def register(name: str) -> Callable[[F], F]:
    """Make a function `(run, value, /, …)` the filter of this name."""

    def decorate(function: F) -> F:
        FILTERS[name] = function
        return function

    return decorate


def find_filter(name: str, offset: int = 0) -> Filter:
    """The filter of this name; raises ExpressionError that suggests the one that was meant."""
    if name not in FILTERS:
        meant = f" (did you mean '{ELSEWHERE[name]}'?)" if name in ELSEWHERE else did_you_mean(name, FILTERS)
        hint = None if meant else f"there are: {', '.join(sorted(FILTERS))}"
        raise ExpressionError(f"unknown filter '{short(name)}'{meant}", offset=offset, hint=hint)
    return FILTERS[name]


def find_test(name: str, offset: int = 0) -> Filter:
    """The test of this name; raises ExpressionError that suggests the one that was meant."""
    if name not in PREDICATES:
        meant = did_you_mean(name, PREDICATES)
        hint = None if meant else f"there are: {', '.join(sorted(PREDICATES))}"
        raise ExpressionError(f"unknown test 'is {short(name)}'{meant}", offset=offset, hint=hint)
    return PREDICATES[name]


def check_arguments(function: Filter, what: str, count: int, keywords: Sequence[str], offset: int) -> None:
    """Raise ExpressionError where a filter, test or function does not take these arguments."""
    try:
        inspect.signature(function).bind(*(None,) * count, **dict.fromkeys(keywords))
    except TypeError as error:
        raise ExpressionError(f"{what}: {error}", offset=offset) from error


def apply_filter(run: Run, name: str, value: object, args: Sequence[object], keywords: Mapping[str, object]) -> object:
    """What the filter makes of the value; only `default` may be asked of a member that is not there."""
    function = find_filter(name)
    run.spend(WORK_PER_CALL)
    if name != "default":
        present(value)
    return _call(function, f"filter '{name}'", run, value, args, keywords)


def apply_test(run: Run, name: str, value: object, args: Sequence[object], keywords: Mapping[str, object]) -> bool:
    """Whether the test holds; only `defined` and `undefined` may be asked of a member that is not there."""
    function = find_test(name)
    run.spend(WORK_PER_CALL)
    if name not in GUARDS:
        present(value)
    return bool(_call(function, f"test 'is {name}'", run, value, args, keywords))


def _call(
    function: Filter, what: str, run: Run, value: object, args: Sequence[object], keywords: Mapping[str, object]
) -> object:
    try:
        return function(run, value, *args, **keywords)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise ExpressionError(f"{what}: {told(error)}") from error


def told(error: Exception) -> str:
    """Why an operation of Python failed, without the value, which those that raise `ValueError` like to quote."""
    return "a value that does not fit" if isinstance(error, ValueError) else str(error)
