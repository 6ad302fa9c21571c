"""JSON values whose strings hold `${{ … }}`: compiled once, filled in for each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepwell.errors import ExpressionError, short
from stepwell.expressions.bounds import MAX_DEPTH, Run
from stepwell.expressions.expression import Expression, compile_expression
from stepwell.expressions.references import Reference
from stepwell.expressions.results import Exporter, joined
from stepwell.expressions.syntax import OPENING, split

Fill = Callable[[Run, Exporter], Any]


class Template:
    """A compiled template, immutable and safe to share between threads.

    `references` are those of all its strings, each with the offset in its own string.
    """

    __slots__ = ("_fill", "is_constant", "references")

    def __init__(self, fill: Fill, references: tuple[Reference, ...], *, is_constant: bool) -> None:
        self._fill, self.references, self.is_constant = fill, references, is_constant

    def __call__(self, names: Mapping[str, object]) -> object:
        """A fresh value with every expression filled in; raises ExpressionError that names the place."""
        filled: object = self._fill(Run(names), Exporter())
        return filled


def compile_template(value: object) -> Template:
    """Compile a JSON value; keys of objects are literal. Raises ExpressionError that names the place."""
    found: list[Expression] = []
    fill = _compile(value, "", found, 0)
    references = tuple(reference for expression in found for reference in expression.references)
    if not found:
        constant = _copy(value)
        return Template(lambda _, __: _copy(constant), (), is_constant=True)
    return Template(fill, references, is_constant=False)


def _compile(value: object, place: str, found: list[Expression], depth: int) -> Fill:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the value is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return _compile_text(value, place, found) if OPENING in value else lambda _, __: value
    if isinstance(value, Mapping):
        members = {key: _compile(item, _below(place, key), found, depth + 1) for key, item in value.items()}
        return lambda run, exporter: {key: fill(run, exporter) for key, fill in members.items()}
    if isinstance(value, list):
        items = [_compile(item, f"{place}[{index}]", found, depth + 1) for index, item in enumerate(value)]
        return lambda run, exporter: [fill(run, exporter) for fill in items]
    return lambda _, __: value


def _below(place: str, key: object) -> str:
    return f"{place}.{short(str(key))}" if place else short(str(key))


def _compile_text(text: str, place: str, found: list[Expression]) -> Fill:
    try:
        parts = [part if isinstance(part, str) else compile_expression(part[1], part[0]) for part in split(text)]
    except ExpressionError as error:
        raise (_placed(error, place) if place else error) from error.__cause__
    expressions = [part for part in parts if isinstance(part, Expression)]
    found.extend(expressions)
    if len(expressions) == 1 and not any(part.strip() for part in parts if isinstance(part, str)):
        return _filled(expressions[0].value, place)
    return _filled(_interpolation(parts), place)


def _interpolation(parts: list[str | Expression]) -> Fill:
    """Texts as they are, values by JSON's spelling."""

    def interpolate(run: Run, exporter: Exporter) -> object:
        texts = (part if isinstance(part, str) else part.spelled(run) for part in parts)
        return exporter.export(joined(run, texts))

    return interpolate


def _filled(fill: Fill, place: str) -> Fill:
    """The same, with errors that name the place."""

    def fill_in_place(run: Run, exporter: Exporter) -> object:
        try:
            return fill(run, exporter)
        except ExpressionError as error:
            raise _placed(error, place) from error

    return fill_in_place if place else fill


def _placed(error: ExpressionError, place: str) -> ExpressionError:
    return ExpressionError(f"{place}: {error.message}", offset=error.offset, hint=error.hint)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
