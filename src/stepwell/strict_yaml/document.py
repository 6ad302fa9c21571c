"""A parsed text: its data, and the place of every value and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepwell.errors import Problem
from stepwell.strict_yaml.scalars import Scalar
from stepwell.strict_yaml.source import Place, Source

Value = Scalar | list["Node"] | dict[str, tuple["Node", "Node"]]


@dataclass(slots=True)
class Node:
    """A value where it stands (counted from 0); a mapping holds (key, value) nodes, an alias shares its anchor's value.

    `size` is what the value weighs with its aliases expanded, `height` its levels.
    """

    value: Value
    line: int
    column: int
    size: int = 1
    height: int = 1


@dataclass(frozen=True, slots=True)
class Document:
    """JSON-like `data` (dict, list, str, int, float, bool, None) and where its parts stand in the text."""

    data: object
    _source: Source
    _root: Node

    @property
    def file(self) -> str:
        return self._source.file

    @property
    def lines(self) -> list[str]:
        return self._source.lines

    def place(self, path: Sequence[str | int], *, key: bool = False) -> Place:
        """Where the value at `path` stands (or its key); of an unknown path, the nearest ancestor that is known."""
        keys = values = self._root
        for part in path:
            step = _child(values, part)
            if step is None:
                return _place(values)
            keys, values = step
        return _place(keys if key else values)

    def source(self, place: Place) -> str:
        """The line of a place."""
        return self._source.line(place.line - 1)

    def problem(
        self, path: Sequence[str | int], message: str, *, key: bool = False, corrected: str | None = None
    ) -> Problem:
        """A problem at the value at `path` (or at its key), with its line."""
        place = self.place(path, key=key)
        return self._source.problem(place.line - 1, place.column - 1, message, corrected)


def plain(node: Node) -> object:
    """The data of a node; every call, and every alias in it, gives an independent copy."""
    value = node.value
    if isinstance(value, dict):
        return {key: plain(child) for key, (_, child) in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value


def _child(node: Node, part: str | int) -> tuple[Node, Node] | None:
    """The key and value nodes of a part; an item of a list is its own key."""
    if isinstance(node.value, dict) and isinstance(part, str):
        return node.value.get(part)
    if isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _place(node: Node) -> Place:
    return Place(node.line + 1, node.column + 1)
