"""Which names and members an expression reads, found in its tree without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from jinja2 import nodes

from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.paths import Path, constant_key, first_offset, static_path
from stepwell.expressions.predicates import GUARDS


@dataclass(frozen=True)
class Reference:
    """One path that an expression reads: `("steps", "fetch", "output")`.

    It ends before the first index or computed key. `offset` is where it starts in the text. `guarded` means
    that a missing member is no error here: it stands under `default`, `is defined`, or behind such a test.
    """

    path: tuple[str, ...]
    offset: int
    guarded: bool


def references_of(node: nodes.Node, assured: frozenset[Path] = frozenset()) -> Iterator[Reference]:
    """The references of a tree; `assured` are the paths that a condition around it has found to exist."""
    if isinstance(node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
        yield from _of_members(node, assured, guarded=False)
    elif isinstance(node, nodes.Filter) and node.name == "default" and node.node is not None:
        yield from _of_guarded(node.node, assured)
        yield from _of_children(node, assured, without=node.node)
    elif isinstance(node, nodes.Test) and node.name in GUARDS:
        yield from _of_guarded(node.node, assured)
    elif isinstance(node, (nodes.And, nodes.Or)):
        yield from references_of(node.left, assured)
        yield from references_of(node.right, assured | _asserted(node.left, when=isinstance(node, nodes.And)))
    elif isinstance(node, nodes.CondExpr):
        yield from _of_choice(node, assured)
    elif isinstance(node, nodes.Call):
        yield from _of_call(node, assured)
    else:
        yield from _of_children(node, assured)


def _of_children(node: nodes.Node, assured: frozenset[Path], without: nodes.Node | None = None) -> Iterator[Reference]:
    for child in node.iter_child_nodes():
        if child is not without:
            yield from references_of(child, assured)


def _of_guarded(node: nodes.Node, assured: frozenset[Path]) -> Iterator[Reference]:
    if isinstance(node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
        yield from _of_members(node, assured, guarded=True)
    else:
        yield from references_of(node, assured)


def _of_choice(node: nodes.CondExpr, assured: frozenset[Path]) -> Iterator[Reference]:
    yield from references_of(node.test, assured)
    yield from references_of(node.expr1, assured | _asserted(node.test, when=True))
    if node.expr2 is not None:
        yield from references_of(node.expr2, assured | _asserted(node.test, when=False))


def _of_call(node: nodes.Call, assured: frozenset[Path]) -> Iterator[Reference]:
    target = node.node
    if isinstance(target, nodes.Getattr):  # the last member is a method
        yield from references_of(target.node, assured)
    elif not (isinstance(target, nodes.Name) and target.name in FUNCTIONS):
        yield from references_of(target, assured)
    yield from _of_children(node, assured, without=target)


def _of_members(node: nodes.Node, assured: frozenset[Path], *, guarded: bool) -> Iterator[Reference]:
    """The constant beginning of a chain of members as one reference, then those of its computed keys."""
    chain: list[nodes.Getattr | nodes.Getitem] = []
    start = node
    while isinstance(start, (nodes.Getattr, nodes.Getitem)):
        chain.append(start)
        start = start.node
    keys = [constant_key(link) for link in reversed(chain)]
    if isinstance(start, nodes.Name) and start.name != "null":
        path = (start.name, *takewhile(lambda key: isinstance(key, str), keys))
        known = any(path == one[: len(path)] or path[: len(one)] == one for one in assured)
        yield Reference(tuple(map(str, path)), first_offset(node), guarded or known)
    elif not isinstance(start, nodes.Name):
        yield from references_of(start, assured)
    for link in reversed(chain):
        if isinstance(link, nodes.Getitem) and constant_key(link) is None:
            yield from references_of(link.arg, assured)


def _asserted(node: nodes.Node, *, when: bool) -> frozenset[Path]:
    """The paths that exist if the condition is true (or false, by `when`)."""
    if isinstance(node, nodes.Not):
        return _asserted(node.node, when=not when)
    if isinstance(node, (nodes.And, nodes.Or)) and isinstance(node, nodes.And) is when:
        return _asserted(node.left, when=when) | _asserted(node.right, when=when)
    if isinstance(node, nodes.Test) and node.name == ("defined" if when else "undefined"):
        path = static_path(node.node)
        return frozenset() if path is None else frozenset({path})
    return frozenset()
