"""Member access: `steps.fetch.output[0]` looked up in JSON, and explained where something is not there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import NamedTuple

from jinja2 import nodes

from stepwell.errors import did_you_mean, short
from stepwell.expressions.missing import Missing
from stepwell.values import kind

MAX_LISTED = 10
TIME_MEMBERS = frozenset({"year", "month", "day", "hour", "minute", "second"})

Key = str | int
Path = tuple[Key, ...]


class Group(NamedTuple):
    """One group of the filter `groupby`; a pair that also knows its two members by name."""

    grouper: object
    list: list[object]


@dataclass(frozen=True)
class Place:
    """Where an expression reads: how that is written, the path as far as it is constant, and its offset."""

    spelling: str
    path: Path
    offset: int


def static_path(node: nodes.Node) -> Path | None:
    """`("steps", "fetch", "output", 0)` for `steps.fetch['output'][0]`; None for anything that is computed."""
    if isinstance(node, nodes.Name):
        return (node.name,)
    if isinstance(node, (nodes.Getattr, nodes.Getitem)):
        key = constant_key(node)
        base = static_path(node.node)
        return None if key is None or base is None else (*base, key)
    return None


def constant_key(node: nodes.Getattr | nodes.Getitem) -> Key | None:
    """The member that is read, where it is written down: `a.b`, `a['b']`, `a[0]`."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    key = node.arg.value if isinstance(node.arg, nodes.Const) else None
    return key if isinstance(key, (str, int)) and not isinstance(key, bool) else None


def place_of(node: nodes.Node) -> Place:
    """The place of a node that is read from."""
    path = static_path(node)
    if path is not None:
        return Place(spelling(path), path, first_offset(node))
    if isinstance(node, (nodes.Getattr, nodes.Getitem)):
        base = place_of(node.node)
        key = constant_key(node)
        return Place(base.spelling + ("[…]" if key is None else _suffix(key)), base.path, base.offset)
    return Place("(…)", (), first_offset(node))


def first_offset(node: nodes.Node) -> int:
    """Where the leftmost part of a chain of members stands."""
    while isinstance(node, (nodes.Getattr, nodes.Getitem)):
        node = node.node
    return node.lineno - 1


def spelling(path: Path) -> str:
    """A path as people write it."""
    return short(str(path[0])) + "".join(_suffix(key) for key in path[1:])


def _suffix(key: object) -> str:
    return f".{short(key)}" if isinstance(key, str) and key.isidentifier() else f"[{_named(key)}]"


def _named(key: object) -> str:
    """A key for a message: what people wrote, cut; of anything but strings and whole numbers only the kind."""
    if isinstance(key, str):
        return repr(short(key))
    return short(str(key)) if isinstance(key, int) else kind(key)


def follow(names: Mapping[str, object], path: Path, offset: int) -> object:
    """The value at a path, or a Missing that explains where the path ends."""
    root = path[0]
    if root not in names:
        return Missing(partial(_explain_name, names, str(root)), offset)
    value = names[str(root)]
    for index, key in enumerate(path[1:], 1):
        value = member(names, value, key, Place(spelling(path[:index]), path[:index], offset))
    return value


def member(names: Mapping[str, object], value: object, key: object, place: Place) -> object:
    """`value[key]`, or a Missing. Keys of objects, indexes of lists and texts; of Python's attributes only a time's."""
    if isinstance(value, Missing):
        return value
    try:
        if isinstance(value, Mapping):
            return value[key]
        if isinstance(value, (list, tuple, str)) and isinstance(key, int):
            return value[key]
    except LookupError:
        pass
    if isinstance(key, str) and _has_attribute(value, key):
        return getattr(value, key)
    return Missing(partial(_explain_member, names, value, key, place), place.offset)


def _has_attribute(value: object, name: str) -> bool:
    if isinstance(value, datetime):
        return name in TIME_MEMBERS
    return isinstance(value, Group) and name in Group._fields


def _explain_name(names: Mapping[str, object], name: str) -> str:
    return f"'{short(name)}' is not known here{did_you_mean(name, names)}; there are: {_listed(names)}"


def _explain_member(names: Mapping[str, object], value: object, key: object, place: Place) -> str:
    whole = place.spelling + _suffix(key)
    return f"{whole}: {_reason(value, key, place.spelling)}{_skipped(names, place.path)}"


def _reason(value: object, key: object, base: str) -> str:
    if value is None:
        return f"{base} is null"
    if isinstance(value, Mapping):
        near = did_you_mean(key, [name for name in value if isinstance(name, str)]) if isinstance(key, str) else ""
        return f"{_named(key)} is missing{near}; there are: {_listed(value)}"
    if isinstance(value, (list, tuple)) and isinstance(key, int):
        return f"there is no item {_named(key)}, the list has {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"{base} is a list; take an item like [0], or `| map(attribute={_named(key)})`"
    return f"{base} is {kind(value)} and has no {_named(key)}"


def _skipped(names: Mapping[str, object], path: Path) -> str:
    """` because step 'x' was skipped`, where the path runs through the view of such a step."""
    if len(path) < 2 or path[0] != "steps":
        return ""
    steps = names.get("steps")
    step = steps.get(path[1]) if isinstance(steps, Mapping) else None
    skipped = isinstance(step, Mapping) and step.get("status") == "skipped"
    return f" because step {_named(path[1])} was skipped" if skipped else ""


def _listed(names: Iterable[object]) -> str:
    shown = [f"{name!s:.40}" for name in islice(names, MAX_LISTED + 1)]
    return ", ".join([*shown[:MAX_LISTED], "…"] if len(shown) > MAX_LISTED else shown) or "none"
