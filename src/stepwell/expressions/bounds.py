"""What one evaluation may cost: work, nodes and text are counted before they are spent."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.errors import ExpressionError

MAX_EXPRESSION = 10_000
"""Characters of one expression."""
MAX_BRACKETS = 40
"""Brackets inside brackets; the parser spends a dozen Python frames on each."""
MAX_DEPTH = 100
"""Levels of the parsed tree, and of a value that an expression yields."""
MAX_NODES = 1_000_000
"""Items, keys and scalars of one value, counted wherever they occur."""
MAX_TEXT = 16 * 1024 * 1024
"""Characters of all text in one value."""
MAX_BITS = 4096
"""Bits of a whole number that an operator yields."""
MAX_RANGE = 100_000
"""Items that `range` yields."""
MAX_WORK = 20_000_000
"""Units of work of one evaluation; a unit takes about 0.1 µs."""

WORK_PER_CALL = 8
WORK_PER_ITEM = 4
WORK_PER_NODE = 2
WORK_PER_ENCODING = 40
CHARACTERS_PER_WORK = 32


class Run:
    """One evaluation: the names that it reads, and the work that it may still do."""

    __slots__ = ("left", "names")

    def __init__(self, names: Mapping[str, object]) -> None:
        self.names = names
        self.left = MAX_WORK

    def spend(self, work: int) -> None:
        """Take `work` units; raises ExpressionError when there are none left."""
        self.left -= work
        if self.left < 0:
            raise ExpressionError("the expression takes too much work; do this in a `call:` or `run:` step")

    def text(self, length: int) -> None:
        """Take the work of making a text of `length` characters; raises ExpressionError when it is too long."""
        if length > MAX_TEXT:
            raise ExpressionError(f"the text would have {length:,} characters, more than {MAX_TEXT:,}")
        self.spend(length // CHARACTERS_PER_WORK)

    def items(self, count: int) -> None:
        """Take the work of a list of `count` items; raises ExpressionError when it is too long."""
        if count > MAX_NODES:
            raise ExpressionError(f"the list would have {count:,} items, more than {MAX_NODES:,}")
        self.spend(count * WORK_PER_ITEM)

    def weigh(self, value: object, times: int = 1) -> None:
        """Take the work of walking `value`, repeated `times`; raises ExpressionError when that is too large."""
        nodes, characters = _weight(value)
        _refuse_excess(nodes * times, characters * times)
        self.spend(nodes * times * WORK_PER_NODE + characters * times // CHARACTERS_PER_WORK)


def _weight(value: object) -> tuple[int, int]:
    """Nodes and characters of a value; what it holds several times counts each time."""
    nodes, characters = 1, 0
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, (list, tuple)):
            nodes += len(item)
            pending.extend(item)
        elif isinstance(item, dict):
            nodes += len(item)
            pending.extend(item)
            pending.extend(item.values())
        _refuse_excess(nodes, characters)
    return nodes, characters


def _refuse_excess(nodes: int, characters: int) -> None:
    if nodes > MAX_NODES:
        raise ExpressionError(f"the value has more than {MAX_NODES:,} nodes; use files for large data")
    if characters > MAX_TEXT:
        raise ExpressionError(f"the value holds more than {MAX_TEXT:,} characters; use files for large data")
