"""Jinja2's immutable sandbox, in which no value becomes larger than a step's output may be.

All that a filter, a call, an operator or a display like `[a, b]` makes is measured, with what it holds several times
counted each time; where one of them could make much at once, it is asked before. Time is bounded by the step's limit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from itertools import chain
from typing import Any

from jinja2 import Environment, StrictUndefined, nodes, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Namespace
from jinja2.visitor import NodeTransformer

from stepwell.actions import template_size as sizes

UNBOUNDED = frozenset({"pprint", "urlize"})
"""Filters of Jinja2 that are left out."""

TEXT_METHODS = """
capitalize casefold center count endswith find format format_map index isalnum isalpha isascii isdecimal isdigit islower
isnumeric isspace istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind rindex rjust
rpartition rsplit rstrip split splitlines startswith strip striptags swapcase title unescape upper zfill
"""
METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = (
    (str, frozenset(TEXT_METHODS.split())),
    (dict, frozenset({"copy", "get", "items", "keys", "values"})),
    ((list, tuple), frozenset({"copy", "count", "index"})),
    (float, frozenset({"is_integer"})),
    (LoopContext, frozenset({"cycle", "changed"})),
    (Cycler, frozenset({"next", "reset"})),
)
"""The methods that a template can call, by the type of what has them."""

CHECKS: dict[str, Callable[..., None]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "batch", "slice"), sizes.check_width),
    "indent": sizes.check_indent,
    "replace": sizes.check_replace,
    "round": sizes.check_round,
}
"""What is asked before a filter or a method of this name does anything."""


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Plain Jinja2 in which a missing name is an error, and no value is longer than 16 MiB as text."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=autoescape, optimized=False)
        self.concat = _concat  # type: ignore[method-assign]  # joins what blocks, macros and captures give
        self._added_size = 0
        self.policies["json.dumps_function"] = _dumps
        filters = {**FILTERS, "format": _format, "join": _join, "sum": _sum, "wordwrap": _wordwrap}
        self.filters = {name: _measured(name, filters[name]) for name in filters.keys() - UNBOUNDED}
        self.filters[DISPLAY] = sizes.checked
        self.globals["namespace"] = _Namespace
        del self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute, unless the result would be too large."""
        if operator == "%" and isinstance(left, str):
            sizes.check_percent_format(left, right)
        elif operator == "**" or (isinstance(left, int) and isinstance(right, int)):
            sizes.check_number(operator, left, right)
        elif operator == "*":
            sizes.check_repeat(left, right)
        elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
            return self._added(left, right)
        return sizes.checked(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function, a macro, or one of `METHODS`."""
        owner = getattr(__obj, "__self__", None)
        if owner is None:  # the sandbox wraps the `format` of texts
            owner = getattr(getattr(__obj, "__wrapped__", None), "__self__", None)
        if owner is not None:
            args = _checked_arguments(owner, __obj.__name__, args, kwargs)
        return sizes.checked(super().call(__context, __obj, *args, **kwargs))

    def _added(self, left: Any, right: Any) -> Any:
        """The longer list was measured when it was made: a loop that adds to it does not measure it each time."""
        self._added_size += sizes.size(min(left, right, key=len))
        sizes.check_size(self._added_size)
        return left + right

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        return _BoundedDisplays().visit(super()._parse(source, name, filename))  # type: ignore[no-any-return]


DISPLAY = " display"
"""The name of the filter that measures a display; no template can write it."""


class _BoundedDisplays(NodeTransformer):
    """Puts a filter around `[a, b]`, `(a, b)` and `{a: b}`, and writes `a ~ b` as `[a, b] | join`."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "join")

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return _filtered(self.generic_visit(node), DISPLAY)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(node, DISPLAY) if node.ctx == "load" else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return _filtered(self.generic_visit(node), DISPLAY)


class _Namespace(Namespace):
    """Its text does not show what is in it: namespaces may hold each other."""

    def __repr__(self) -> str:
        return "<Namespace>"


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _concat(parts: Iterable[str]) -> str:
    return "".join(sizes.bounded(parts))


def _measured(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter whose arguments are checked, but for the one that jinja2 may put before them, and its result."""
    check = CHECKS.get(name)
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        if check is not None:
            check(*args[skip:], **kwargs)
        return sizes.checked(function(*args, **kwargs))

    return measured


def _checked_arguments(owner: object, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    if not any(isinstance(owner, types) and name in names for types, names in METHODS):
        raise SecurityError(f"a template cannot call the method {name!r} of a value of type {type(owner).__name__}")
    if name == "join" and args:
        items = sizes.checked(iter(args[0]))
        sizes.check_join(items, owner)
        return (items, *args[1:])
    if name in ("format", "format_map"):
        sizes.check_brace_format(owner, *args, **kwargs)
    elif name in CHECKS:
        CHECKS[name](owner, *args, **kwargs)
    return args


def _dumps(value: Any, **options: Any) -> str:
    indent = options.get("indent")
    sizes.check_width(value, len(indent) if isinstance(indent, str) else indent)
    return "".join(sizes.bounded(json.JSONEncoder(**options).iterencode(value)))


@wraps(FILTERS["format"])
def _format(value: str, *args: Any, **kwargs: Any) -> str:
    sizes.check_percent_format(value, kwargs or args)
    return FILTERS["format"](value, *args, **kwargs)  # type: ignore[no-any-return]


@wraps(FILTERS["join"])
def _join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> Any:
    items = sizes.checked(iter(value))
    sizes.check_join(items, d)
    return FILTERS["join"](context, items, d, attribute)


@pass_environment
def _sum(environment: Environment, iterable: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    """With a list as `start` it joins lists, and copies each once."""
    items = sizes.checked(map(make_attrgetter(environment, attribute), iterable))
    if not isinstance(start, list):
        return sum(items, 0 + start)  # a text or a tuple is no start
    if not all(isinstance(item, list) for item in items):
        raise TypeError("sum can add only lists to a list")
    return [*start, *chain.from_iterable(items)]


@pass_environment
def _wordwrap(
    environment: Environment,
    s: str,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    break_on_hyphens: bool = True,
) -> str:
    text: str = FILTERS["wordwrap"](environment, s, width, break_long_words, "\n", break_on_hyphens)
    if wrapstring is None:
        return text
    sizes.check_replace(text, "\n", wrapstring)
    return text.replace("\n", wrapstring)
