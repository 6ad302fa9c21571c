"""Values as they leave an expression: fresh, bounded JSON; and how each kind of value is spelled."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from stepwell.errors import ExpressionError
from stepwell.expressions.bounds import MAX_DEPTH, MAX_NODES, MAX_TEXT, WORK_PER_ENCODING, Run
from stepwell.expressions.missing import present
from stepwell.expressions.times import seconds
from stepwell.values import iso

ENCODER = json.JSONEncoder(ensure_ascii=False)

UNCHANGED = frozenset({int, bool, type(None)})


def spell(run: Run, value: object) -> str:
    """A value as text: a text as it is, everything else as JSON."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    run.weigh(value)
    exported = Exporter().export(value)
    return exported if isinstance(exported, str) else encode(run, exported)


def encode(run: Run, exported: object) -> str:
    """The JSON text of an exported value."""
    run.spend(WORK_PER_ENCODING)
    return ENCODER.encode(exported)


def joined(run: Run, values: Iterable[object], separator: str = "") -> str:
    """The values spelled and put together; raises ExpressionError before the text would be too long."""
    texts: list[str] = []
    length = 0
    for value in values:
        texts.append(spell(run, value))
        length += len(texts[-1]) + len(separator)
        if length > MAX_TEXT + len(separator):
            break
    run.text(max(length - len(separator), 0))
    return separator.join(texts)


class Exporter:
    """Copies values into plain JSON and counts them; one is shared by all the strings of a template."""

    __slots__ = ("_nodes", "_text")

    def __init__(self) -> None:
        self._nodes = 0
        self._text = 0

    def export(self, value: object) -> object:
        """A fresh JSON value: times become ISO 8601 text, durations seconds; raises ExpressionError."""
        try:
            return self._export(value, 0)
        except RecursionError as error:
            raise ExpressionError("the result is nested too deeply") from error

    def _export(self, value: object, depth: int) -> object:
        if isinstance(value, str):
            self._count(0, len(value))
            return value
        if type(value) in UNCHANGED:
            return value
        if isinstance(value, float):
            return _finite(value)
        if isinstance(value, (dict, list, tuple, Mapping)):  # `dict` first: asking for Mapping is slow
            return self._export_container(value, depth + 1)
        return _export_scalar(value)

    def _export_container(
        self, value: list[object] | tuple[object, ...] | Mapping[object, object], depth: int
    ) -> object:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"the result is nested more than {MAX_DEPTH} levels deep")
        self._count(len(value), 0)
        if isinstance(value, (dict, Mapping)):
            return self._export_mapping(value, depth)
        return [item if type(item) in UNCHANGED else self._export(item, depth) for item in value]

    def _export_mapping(self, value: Mapping[object, object], depth: int) -> object:
        exported: dict[str, object] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else ENCODER.encode(self._export(key, depth))
            self._text += len(name)
            exported[name] = item if type(item) in UNCHANGED else self._export(item, depth)
        self._count(0, 0)
        return exported

    def _count(self, nodes: int, characters: int) -> None:
        self._nodes += nodes
        self._text += characters
        if self._nodes > MAX_NODES:
            raise ExpressionError(f"the result has more than {MAX_NODES:,} nodes; use files for large data")
        if self._text > MAX_TEXT:
            raise ExpressionError(f"the result holds more than {MAX_TEXT:,} characters; use files for large data")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ExpressionError(f"the result {value} is no JSON number")
    return value


def _export_scalar(value: object) -> object:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return seconds(value)
    if isinstance(value, int):
        return int(value)
    if callable(present(value)):
        raise ExpressionError("a function is no value; call it with ()")
    raise ExpressionError(f"a value of type {type(value).__name__} is no JSON")
