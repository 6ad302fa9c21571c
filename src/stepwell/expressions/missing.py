"""Members that are not there: harmless until they are used, so that `default` and `is defined` can ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

from stepwell.errors import ExpressionError


class Missing:
    """Stands for a member that is not there; using it in any way raises ExpressionError that says why."""

    __slots__ = ("_explain", "_offset")

    def __init__(self, explain: Callable[[], str], offset: int = 0) -> None:
        self._explain, self._offset = explain, offset

    def fail(self, *_: object) -> NoReturn:
        raise ExpressionError(self._explain(), offset=self._offset)

    __bool__ = __iter__ = __len__ = __contains__ = __str__ = __hash__ = fail
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = fail
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = __pos__ = __abs__ = fail
    __int__ = __float__ = __round__ = fail


def present(value: object) -> object:
    """The value, if it is there; raises ExpressionError for a missing one."""
    if isinstance(value, Missing):
        value.fail()
    return value
