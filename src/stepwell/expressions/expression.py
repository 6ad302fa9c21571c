"""A compiled expression: what it reads, and its value for given names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from stepwell.errors import ExpressionError
from stepwell.expressions import list_filters, text_filters
from stepwell.expressions.bounds import Run
from stepwell.expressions.compiler import Evaluate, build
from stepwell.expressions.library import told
from stepwell.expressions.references import Reference, references_of
from stepwell.expressions.results import Exporter, spell
from stepwell.expressions.syntax import OPENING, parse, split

CACHED = 20_000
FILTER_FAMILIES = (list_filters, text_filters)
"""Importing them puts their filters into the library."""


class Code(NamedTuple):
    """The closures of an expression and what they read."""

    evaluate: Evaluate
    references: tuple[Reference, ...]


class Expression:
    """A compiled expression, immutable and safe to share between threads."""

    __slots__ = ("_evaluate", "_shift", "references", "text")

    def __init__(self, text: str, code: Code, shift: int) -> None:
        self.text = text
        self.references = tuple(replace(found, offset=found.offset + shift) for found in code.references)
        self._evaluate, self._shift = code.evaluate, shift

    def __call__(self, names: Mapping[str, object]) -> object:
        """Its value as fresh JSON, with these names; raises ExpressionError."""
        return self.value(Run(names), Exporter())

    def value(self, run: Run, exporter: Exporter) -> object:
        """Its value inside a run that several expressions share; raises ExpressionError."""
        try:
            return exporter.export(self._evaluate(run))
        except FAILURES as error:
            raise _moved(error, self._shift) from error

    def spelled(self, run: Run) -> str:
        """Its value as it stands in a text; raises ExpressionError."""
        try:
            return spell(run, self._evaluate(run))
        except FAILURES as error:
            raise _moved(error, self._shift) from error

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


@lru_cache(maxsize=CACHED)
def compile_expression(text: str, shift: int = 0) -> Expression:
    """Compile an expression, bare or wholly in `${{ }}`; raises ExpressionError with offset and hint.

    `shift` is added to all offsets: where the expression stands in a longer text.
    """
    start = shift
    try:
        inside, bare = unwrapped(text)
        start += inside
        return Expression(text, _compile(bare), start)
    except FAILURES as error:
        raise _moved(error, start) from error


@lru_cache(maxsize=CACHED)
def _compile(text: str) -> Code:
    tree = parse(text)
    return Code(build(tree), tuple(references_of(tree)))


def unwrapped(text: str) -> tuple[int, str]:
    """Where the expression begins in a text that is bare or wholly in `${{ }}`, and the expression alone."""
    lead = len(text) - len(text.lstrip())
    if not text.startswith(OPENING, lead):
        return 0, text
    parts = split(text.strip())
    if len(parts) != 1 or isinstance(parts[0], str):
        raise ExpressionError("a bare expression is expected, or one wholly in `${{ }}`", offset=lead)
    return parts[0][0] + lead, parts[0][1]


FAILURES = (ExpressionError, RecursionError, TypeError, ValueError, ArithmeticError)


def _moved(error: Exception, shift: int) -> ExpressionError:
    """The failure as ExpressionError, its offset counted in the text around the expression."""
    if isinstance(error, ExpressionError):
        return ExpressionError(error.message, offset=error.offset + shift, hint=error.hint)
    reason = "values are nested too deeply" if isinstance(error, RecursionError) else told(error)
    return ExpressionError(reason, offset=shift)
