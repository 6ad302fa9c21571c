"""Jinja2's immutable sandbox, with bounds on the operations that make texts, lists and numbers long at once.

What grows step by step, in loops, is bounded by the step's time limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.filters import FILTERS
from jinja2.nodes import EvalContext
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from stepwell.errors import Fail
from stepwell.values import MAX_SIZE

MAX_WIDTH = 100_000
"""The greatest width, indent or count that a filter, method or format may be told."""

MAX_BITS = 4096
"""The greatest size of a product or power of whole numbers."""

PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "indent", "batch", "slice"})
"""Filters and methods of text that are told a width or a count."""

WIDTH = re.compile(r"%(?:\(\w*\))?([^a-zA-Z%]*)|\{[^{}:]*:([^}]*)\}")
"""What stands before the letter of a `%` format, or behind the colon of a `{}` format."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Plain Jinja2 in which a missing name is an error, and no text grows beyond 16 MiB."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=autoescape, optimized=False)
        self.concat = _concat  # type: ignore[method-assign]  # joins what blocks, macros and captures give
        self.filters["replace"] = _checked(self.filters["replace"], _check_replace, skip=1)
        self.filters["format"] = _checked(self.filters["format"], _check_format)
        self.filters["join"] = _join
        for name in PADDING & self.filters.keys():
            self.filters[name] = _checked(self.filters[name], _check_width)
        del self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute, unless the result would be too large."""
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        elif operator == "**" or (isinstance(left, int) and isinstance(right, int)):
            _check_number(operator, left, right)
        elif operator == "*":
            _check_repeat(left, right)
        elif operator == "+" and isinstance(left, str):
            check_size(len(left) + len(right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function, macro or method; methods of text are checked as their filters are."""
        text = getattr(__obj, "__self__", None) or getattr(getattr(__obj, "__wrapped__", None), "__self__", None)
        if isinstance(text, str):
            args = _checked_arguments(text, __obj.__name__, args, kwargs)
        return super().call(__context, __obj, *args, **kwargs)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _BoundedConcat().visit(super()._parse(source, name, filename))  # type: ignore[no-any-return]


def bounded(parts: Iterable[str]) -> Iterator[str]:
    """The same parts, until they are more than 16 MiB together: then raises `Fail`."""
    size = 0
    for part in parts:
        size += len(part)
        check_size(size)
        yield part


def check_size(size: int) -> None:
    """Refuse so many characters or items."""
    if size > MAX_SIZE:
        message = f"the template makes more than {MAX_SIZE:,} characters: write large data as files"
        raise Fail(message, code="too_large", retryable=False)


class _BoundedConcat(NodeTransformer):
    """Writes `a ~ b` as `[a, b] | join`: the operator itself cannot be intercepted."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        items = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(items, "join", [], [], None, None, lineno=node.lineno, environment=node.environment)


def _concat(parts: Iterable[str]) -> str:
    return "".join(bounded(parts))


def _checked(function: Callable[..., Any], check: Callable[..., None], skip: int = 0) -> Callable[..., Any]:
    """A filter whose arguments are checked first, but for `skip` ones that jinja2 puts before them."""

    @wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check(*args[skip:], **kwargs)
        return function(*args, **kwargs)

    return checked


@wraps(FILTERS["join"])
def _join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> Any:
    return FILTERS["join"](context, _joinable(d, value), d, attribute)


def _joinable(separator: str, values: Iterable[Any]) -> list[Any]:
    items = list(values)
    check_size(sum(len(item) for item in items if isinstance(item, str)) + len(separator) * len(items))
    return items


def _checked_arguments(text: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    if name == "join" and args:
        return (_joinable(text, args[0]), *args[1:])
    if name in ("format", "format_map"):
        _check_format(text)
    elif name == "replace":
        _check_replace(text, *args)
    elif name in PADDING:
        _check_width(text, *args, **kwargs)
    return args


def _check_width(_text: Any, *args: Any, **kwargs: Any) -> None:
    for number in (*args, *kwargs.values()):
        if isinstance(number, int) and number > MAX_WIDTH:
            raise OverflowError(f"{number:,} is more than {MAX_WIDTH:,}, the greatest width or count")


def _check_format(text: Any, *_values: Any, **_named: Any) -> None:
    for spec in map("".join, WIDTH.findall(str(text))):
        if "*" in spec or "{" in spec:
            raise OverflowError("a format may not take its width from a value")
        for number in re.findall(r"\d+", spec):
            _check_width(text, int(number[: MAX_BITS // 4]))


def _check_replace(text: Any, old: Any, new: Any, count: int | None = None) -> None:
    found = str(text).count(str(old))
    check_size(len(str(text)) + len(str(new)) * (found if count is None or count < 0 else min(found, count)))


def _check_repeat(left: Any, right: Any) -> None:
    number, repeated = (left, right) if isinstance(left, int) else (right, left)
    if isinstance(number, int) and hasattr(repeated, "__len__"):
        check_size(len(repeated) * number)


def _check_number(operator: str, left: Any, right: Any) -> None:
    bits = left.bit_length() if isinstance(left, int) else 64
    if operator == "**":
        bits *= abs(right) if isinstance(right, int) else 1
    elif operator == "*":
        bits += right.bit_length()
    if bits > MAX_BITS:
        raise OverflowError(f"the result of {operator} would be too large a number")
