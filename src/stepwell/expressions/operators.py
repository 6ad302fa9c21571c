"""The operators, each bounded before it computes: arithmetic, comparison, `in` and `~`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from stepwell.errors import ExpressionError
from stepwell.expressions.bounds import CHARACTERS_PER_WORK, MAX_BITS, Run
from stepwell.expressions.missing import present
from stepwell.values import kind

Operator = Callable[[Run, Any, Any], object]
SCALARS = frozenset({int, float, bool, str, type(None)})


def add(run: Run, left: Any, right: Any) -> object:
    if isinstance(left, str) and isinstance(right, str):
        run.text(len(left) + len(right))
        return left + right
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        total = [*left, *right]
        run.weigh(total)
        return total
    return _plain("+", operator.add, left, right)


def subtract(_: Run, left: Any, right: Any) -> object:
    return _plain("-", operator.sub, left, right)


def multiply(run: Run, left: Any, right: Any) -> object:
    if isinstance(right, (str, list, tuple)):
        left, right = right, left
    if isinstance(left, str) and isinstance(right, int):
        run.text(len(left) * max(right, 0))
        return left * right
    if isinstance(left, (list, tuple)) and isinstance(right, int):
        run.weigh(left, max(right, 0))
        return [*left] * right
    return _plain("*", operator.mul, left, right)


def divide(_: Run, left: Any, right: Any) -> object:
    return _plain("/", operator.truediv, left, right)


def floor_divide(_: Run, left: Any, right: Any) -> object:
    return _plain("//", operator.floordiv, left, right)


def remainder(_: Run, left: Any, right: Any) -> object:
    return _plain("%", operator.mod, left, right)


def power(_: Run, left: Any, right: Any) -> object:
    if isinstance(left, int) and isinstance(right, int) and (left.bit_length() - 1) * right > MAX_BITS:
        raise _too_large()
    return _plain("**", operator.pow, left, right)


def negate(value: Any) -> object:
    return _signed("-", operator.neg, value)


def plus(value: Any) -> object:
    return _signed("+", operator.pos, value)


def _plain(symbol: str, compute: Callable[[Any, Any], Any], left: Any, right: Any) -> object:
    """Python's own arithmetic of numbers, times and durations."""
    if not (_is_plain(left) and _is_plain(right)):
        raise _mismatch(symbol, left, right)
    try:
        result = compute(left, right)
    except TypeError as error:
        raise _mismatch(symbol, left, right) from error
    except ZeroDivisionError as error:
        raise ExpressionError(f"division by zero ({symbol})") from error
    except OverflowError as error:
        raise _too_large() from error
    return bounded(result)


def bounded(number: object) -> object:
    """The number, unless it has too many bits or is complex; raises ExpressionError."""
    if isinstance(number, complex) or (isinstance(number, int) and number.bit_length() > MAX_BITS):
        raise _too_large()
    return number


def _is_plain(value: object) -> bool:
    return isinstance(value, (int, float, datetime, timedelta))


def _signed(symbol: str, compute: Callable[[Any], Any], value: Any) -> object:
    if isinstance(present(value), (int, float, timedelta)):
        result: object = compute(value)
        return result
    raise ExpressionError(f"cannot use '{symbol}' on {kind(value)}")


def _mismatch(symbol: str, left: object, right: object) -> ExpressionError:
    present(left), present(right)
    hint = "write `~` to put strings together" if symbol in "+%" and str in (type(left), type(right)) else None
    return ExpressionError(f"cannot use '{symbol}' on {kind(left)} and {kind(right)}", hint=hint)


def _too_large() -> ExpressionError:
    return ExpressionError(f"the number is too large (more than {MAX_BITS} bits) or not real")


def compare(symbol: str, compute: Callable[[Any, Any], bool]) -> Operator:
    """The operator that compares two values; those that Python cannot order raise ExpressionError."""

    def compared(run: Run, left: Any, right: Any) -> object:
        if type(left) not in SCALARS or type(right) not in SCALARS:
            run.weigh(present(left))
            run.weigh(present(right))
        elif type(left) is str and type(right) is str:
            run.spend(len(left) // CHARACTERS_PER_WORK)
        try:
            return compute(left, right)
        except TypeError as error:
            raise ExpressionError(f"cannot compare {kind(left)} with {kind(right)} ('{symbol}')") from error

    return compared


equal = compare("==", operator.eq)
unequal = compare("!=", operator.ne)
less = compare("<", operator.lt)
less_or_equal = compare("<=", operator.le)
greater = compare(">", operator.gt)
greater_or_equal = compare(">=", operator.ge)


def contained(run: Run, value: Any, container: Any) -> bool:
    """`value in container`: an item of a list, a key of an object, a part of a text."""
    present(value)
    if isinstance(container, Mapping):
        return value in container
    if isinstance(container, str) and isinstance(value, str):
        run.spend(len(container) // CHARACTERS_PER_WORK)
        return value in container
    if isinstance(container, (list, tuple)):
        run.weigh(container)
        return value in container
    if isinstance(present(container), str):
        raise ExpressionError(f"only a string can be in a string, not {kind(value)}")
    raise ExpressionError(f"nothing can be in {kind(container)}; 'in' takes a list, an object or a string")


def not_contained(run: Run, value: Any, container: Any) -> bool:
    return not contained(run, value, container)
