"""Collects the problems of one file, each with its place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from stepwell.errors import DefinitionError, ExpressionError, Problem, did_you_mean
from stepwell.loader.scalars import corrected_line, place_within, with_variable
from stepwell.strict_yaml import Document
from stepwell.workflow import is_normal, normal

Path = tuple[str | int, ...]

MAX_PROBLEMS = 100
"""So many problems of one file are told."""

MAX_COLLECTED = 200
"""After so many no further ones are collected, among which the first in the file are told."""

MAX_SHOWN = 2000
"""Of a longer line only the beginning is shown."""

MAX_MESSAGE = 2000
"""Of a longer message only the beginning is shown: names in it may be of any length."""

MAX_COMPARED = 20_000
"""So many known words are compared to find what was meant; beyond, problems are told without a guess."""


class Report:
    """The problems found so far in a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._left = MAX_COLLECTED
        self._problems: dict[tuple[int, int, str], Problem] = {}
        self._compared = 0

    def __bool__(self) -> bool:
        return bool(self._problems)

    def add(self, path: Path, message: str, *, key: bool = False) -> None:
        """A problem of the value at a path, or of its key; of a path that is not there, at what is around it."""
        if self._goes_on():
            self._keep(self.document.problem(path, message, key=key))

    def add_inside(self, path: Path, offset: int, message: str, *, variable: str = "") -> None:
        """A problem at an offset in the text at a path; `variable` should stand there for the expression."""
        if not self._goes_on():
            return
        place = place_within(self.document, path, offset)
        source = self.document.source(place)[:MAX_SHOWN]
        corrected = with_variable(source, place.column - 1, variable) if variable else None
        self._keep(Problem(message, self.document.file, place.line, place.column, source, corrected))

    def add_expression(self, path: Path, error: ExpressionError) -> None:
        """An expression that does not compile, at its offset in the text at a path."""
        self.add_inside(path, error.offset, str(error))

    def add_replaced(self, path: Path, message: str, text: str) -> None:
        """A problem of the text at a path, with its line as it is with another text in its place."""
        if not self._goes_on():
            return
        found = self.document.problem(path, message)
        self._keep(replace(found, corrected=corrected_line(self.document, path, text)))

    def meant(self, word: str, known: Collection[str]) -> str:
        """` (did you mean 'fetch'?)`, or nothing; nothing too when that has taken long already."""
        if not is_normal(word) and normal(word) in known:
            return f" (did you mean {normal(word)!r}?)"
        if self._compared > MAX_COMPARED:
            return ""
        self._compared += len(known)
        return did_you_mean(word, known)

    def error(self) -> DefinitionError:
        """All of them, in order of place."""
        found = sorted(self._problems.values(), key=lambda problem: (problem.line, problem.column))
        if more := found[MAX_PROBLEMS:]:
            found[MAX_PROBLEMS:] = [replace(more[0], message="more problems, from here on, are not shown")]
        return DefinitionError(found)

    def _goes_on(self) -> bool:
        """Whether there is any use in one more."""
        self._left -= 1
        return self._left >= 0

    def _keep(self, problem: Problem) -> None:
        if len(problem.message) > MAX_MESSAGE:
            problem = replace(problem, message=f"{problem.message[:MAX_MESSAGE]} …")
        self._problems.setdefault((problem.line, problem.column, problem.message), problem)
