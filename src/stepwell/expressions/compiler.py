"""Turns Jinja2's tree of an expression into closures that know nothing but the operations listed here.

No Python code is generated, and no attribute of a Python object is read except from the tables in `paths` and
`functions`: what is not listed cannot be reached, so nothing needs to be forbidden. Nothing is computed before
the expression is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import nodes

from stepwell.errors import ExpressionError
from stepwell.expressions import operators
from stepwell.expressions.arguments import whole
from stepwell.expressions.bounds import MAX_NODES, Run
from stepwell.expressions.functions import FUNCTIONS, call_function, call_method, call_name, check_method
from stepwell.expressions.library import apply_filter, apply_test, check_arguments, find_filter, find_test
from stepwell.expressions.missing import Missing
from stepwell.expressions.paths import Path, constant_key, follow, member, place_of, static_path
from stepwell.expressions.results import joined
from stepwell.values import kind

Evaluate = Callable[[Run], Any]
Arguments = Callable[[Run], tuple[list[Any], dict[str, Any]]]

NULL = "null"
APPLYING = frozenset({"map", "select", "reject", "any", "all"})
BINARY: dict[type[nodes.BinExpr], operators.Operator] = {
    nodes.Add: operators.add,
    nodes.Sub: operators.subtract,
    nodes.Mul: operators.multiply,
    nodes.Div: operators.divide,
    nodes.FloorDiv: operators.floor_divide,
    nodes.Mod: operators.remainder,
    nodes.Pow: operators.power,
}
COMPARISONS: dict[str, operators.Operator] = {
    "eq": operators.equal,
    "ne": operators.unequal,
    "lt": operators.less,
    "lteq": operators.less_or_equal,
    "gt": operators.greater,
    "gteq": operators.greater_or_equal,
    "in": operators.contained,
    "notin": operators.not_contained,
}


def build(node: nodes.Node) -> Evaluate:
    """The closure that evaluates a node; raises ExpressionError for unknown filters, tests and methods."""
    if isinstance(node, nodes.BinExpr) and type(node) in BINARY:
        return _binary(BINARY[type(node)], build(node.left), build(node.right), node.lineno - 1)
    builder = BUILDERS.get(type(node))
    if builder is None:
        raise ExpressionError(f"{type(node).__name__} is not supported", offset=node.lineno - 1)
    return builder(node)


def _binary(operate: operators.Operator, left: Evaluate, right: Evaluate, offset: int) -> Evaluate:
    return lambda run: _attempt(offset, operate, run, left(run), right(run))


def _attempt(offset: int, compute: Callable[..., Any], *args: Any) -> Any:
    """Compute with values that are known already; a failure gets the offset of the operation."""
    try:
        return compute(*args)
    except ExpressionError as error:
        error.offset = error.offset or offset
        raise


def _constant(node: nodes.Const) -> Evaluate:
    value = node.value
    return lambda _: value


def _name(node: nodes.Name) -> Evaluate:
    if node.name == NULL:
        return lambda _: None
    return _path((node.name,), node.lineno - 1)


def _path(path: Path, offset: int) -> Evaluate:
    root, *keys = path

    def read(run: Run) -> Any:
        try:
            value: Any = run.names[root]  # type: ignore[index]
            for key in keys:
                value = value[key]
        except (LookupError, TypeError):
            return follow(run.names, path, offset)
        return value

    return read


def _member(node: nodes.Getattr | nodes.Getitem) -> Evaluate:
    path = static_path(node)
    place = place_of(node.node)
    if path is not None:
        return _path(path, place.offset)
    base = build(node.node)
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _slice(base, node.arg)
    key = constant_key(node)
    if key is not None or isinstance(node, nodes.Getattr):
        return lambda run: member(run.names, base(run), key, place)
    computed = build(node.arg)
    return lambda run: member(run.names, base(run), computed(run), place)


def _slice(base: Evaluate, node: nodes.Slice) -> Evaluate:
    bounds = [build(bound) if bound is not None else (lambda _: None) for bound in (node.start, node.stop, node.step)]

    def cut(run: Run) -> Any:
        value = base(run)
        if not isinstance(value, (list, tuple, str)):
            raise ExpressionError(f"only a list or a string has slices, not {kind(value)}")
        limits = [bound(run) for bound in bounds]
        part = value[slice(*(None if x is None else whole(x, "a slice", -MAX_NODES, MAX_NODES) for x in limits))]
        run.spend(len(part))
        return part

    return cut


def _and(node: nodes.And) -> Evaluate:
    left, right = build(node.left), build(node.right)
    return lambda run: left(run) and right(run)


def _or(node: nodes.Or) -> Evaluate:
    left, right = build(node.left), build(node.right)
    return lambda run: left(run) or right(run)


def _not(node: nodes.Not) -> Evaluate:
    value = build(node.node)
    return lambda run: not value(run)


def _negative(node: nodes.Neg) -> Evaluate:
    value = build(node.node)
    return lambda run: operators.negate(value(run))


def _positive(node: nodes.Pos) -> Evaluate:
    value = build(node.node)
    return lambda run: operators.plus(value(run))


def _compare(node: nodes.Compare) -> Evaluate:
    first = build(node.expr)
    links = [(COMPARISONS[operand.op], build(operand.expr)) for operand in node.ops]
    if len(links) == 1:
        return _binary(links[0][0], first, links[0][1], node.lineno - 1)

    def chain(run: Run) -> bool:
        left = first(run)
        for compare, follower in links:
            right = follower(run)
            if not compare(run, left, right):
                return False
            left = right
        return True

    return chain


def _choice(node: nodes.CondExpr) -> Evaluate:
    test, then = build(node.test), build(node.expr1)
    if node.expr2 is None:
        nothing = Missing(lambda: "the condition is false and there is no `else`", node.lineno - 1)
        return lambda run: then(run) if test(run) else nothing
    other = build(node.expr2)
    return lambda run: then(run) if test(run) else other(run)


def _concatenation(node: nodes.Concat) -> Evaluate:
    parts = [build(part) for part in node.nodes]
    return lambda run: joined(run, (part(run) for part in parts))


def _list(node: nodes.List | nodes.Tuple) -> Evaluate:
    items = [build(item) for item in node.items]

    def make(run: Run) -> list[Any]:
        values = [item(run) for item in items]
        run.weigh(values)
        return values

    return make


def _dict(node: nodes.Dict) -> Evaluate:
    pairs = [(build(pair.key), build(pair.value)) for pair in node.items]

    def make(run: Run) -> dict[Any, Any]:
        values = {key(run): value(run) for key, value in pairs}
        run.weigh(values)
        return values

    return make


def _filter(node: nodes.Filter) -> Evaluate:
    offset = node.lineno - 1
    if node.node is None:
        raise ExpressionError(f"filter '{node.name}' has no value to work on", offset=offset)
    _check(find_filter(node.name, offset), f"filter '{node.name}'", node, 2, offset)
    _check_applied(node)
    name, value, arguments = node.name, build(node.node), _arguments(node)
    return lambda run: _attempt(offset, apply_filter, run, name, value(run), *arguments(run))


def _test(node: nodes.Test) -> Evaluate:
    offset = node.lineno - 1
    _check(find_test(node.name, offset), f"test 'is {node.name}'", node, 2, offset)
    name, value, arguments = node.name, build(node.node), _arguments(node)
    return lambda run: _attempt(offset, apply_test, run, name, value(run), *arguments(run))


def _check_applied(node: nodes.Filter) -> None:
    """Check the name of the filter or test that `map('upper')` or `selectattr('n', 'gt', 3)` applies."""
    position = 0 if node.name in APPLYING else 1 if node.name in ("selectattr", "rejectattr") else None
    if position is None or len(node.args) <= position:
        return
    applied = node.args[position]
    if isinstance(applied, nodes.Const) and isinstance(applied.value, str):
        find = find_filter if node.name == "map" else find_test
        find(applied.value, applied.lineno - 1)


def _call(node: nodes.Call) -> Evaluate:
    target, offset = node.node, node.lineno - 1
    if isinstance(target, nodes.Name):
        return _function(node, target.name)
    if isinstance(target, nodes.Getattr):
        name, value, arguments = target.attr, build(target.node), _arguments(node)
        check_method(name, offset)
        return lambda run: _attempt(offset, call_method, run, value(run), name, *arguments(run))
    raise ExpressionError("only functions and methods can be called", offset=offset)


def _function(node: nodes.Call, name: str) -> Evaluate:
    arguments, offset = _arguments(node), node.node.lineno - 1
    if name in FUNCTIONS:
        _check(FUNCTIONS[name], f"{name}()", node, 1, offset)
        return lambda run: _attempt(offset, call_function, run, name, *arguments(run))
    value = _path((name,), offset)
    return lambda run: _attempt(offset, call_name, name, value(run), *arguments(run))


def _check(function: Callable[..., Any], what: str, node: Any, given: int, offset: int) -> None:
    check_arguments(function, what, given + len(node.args), [keyword.key for keyword in node.kwargs], offset)


def _arguments(node: nodes.Call | nodes.Filter | nodes.Test) -> Arguments:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise ExpressionError("`*` and `**` arguments are not supported", offset=node.lineno - 1)
    args = [build(arg) for arg in node.args]
    keywords = {str(keyword.key): build(keyword.value) for keyword in node.kwargs}
    return lambda run: ([arg(run) for arg in args], {key: value(run) for key, value in keywords.items()})


BUILDERS: dict[type[nodes.Node], Callable[[Any], Evaluate]] = {
    nodes.Const: _constant,
    nodes.Name: _name,
    nodes.Getattr: _member,
    nodes.Getitem: _member,
    nodes.And: _and,
    nodes.Or: _or,
    nodes.Not: _not,
    nodes.Neg: _negative,
    nodes.Pos: _positive,
    nodes.Compare: _compare,
    nodes.CondExpr: _choice,
    nodes.Concat: _concatenation,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _dict,
    nodes.Filter: _filter,
    nodes.Test: _test,
    nodes.Call: _call,
}
