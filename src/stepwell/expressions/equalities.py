"""Which members of a name a condition requires to equal something, found in its tree without running it."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes

from stepwell.expressions.compiler import build
from stepwell.expressions.expression import Code, Expression, unwrapped
from stepwell.expressions.paths import constant_key
from stepwell.expressions.references import references_of
from stepwell.expressions.syntax import parse


def equalities(text: str, name: str) -> tuple[tuple[str, Expression], ...]:
    """`name.member == value` (either side) among what a condition requires: each member with its value.

    Values that read the name themselves, or call a function, are left out. The condition has compiled before.
    """
    return tuple(_found(parse(unwrapped(text)[1]), name))


def _found(node: nodes.Node, name: str) -> Iterator[tuple[str, Expression]]:
    if isinstance(node, nodes.And):
        yield from _found(node.left, name)
        yield from _found(node.right, name)
    elif isinstance(node, nodes.Compare) and [operand.op for operand in node.ops] == ["eq"]:
        sides = (node.expr, node.ops[0].expr)
        for one, other in (sides, sides[::-1]):
            member = _member(one, name)
            if member is not None and _stands_apart(other, name):
                yield member, Expression(member, Code(build(other), tuple(references_of(other))), 0)
                return


def _member(node: nodes.Node, name: str) -> str | None:
    """The member of the name that this is, None if it is something else."""
    if isinstance(node, nodes.Getattr | nodes.Getitem) and isinstance(node.node, nodes.Name):
        key = constant_key(node)
        return key if node.node.name == name and isinstance(key, str) else None
    return None


def _stands_apart(node: nodes.Expr, name: str) -> bool:
    if isinstance(node, nodes.Call) or node.find(nodes.Call) is not None:
        return False
    return all(reference.path[0] != name for reference in references_of(node))
