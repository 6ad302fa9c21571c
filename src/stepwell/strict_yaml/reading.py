"""From text to a document: compose, and after a syntax error go on with the line corrected, to find every problem."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import yaml

from stepwell.errors import DefinitionError, Problem
from stepwell.strict_yaml import traps
from stepwell.strict_yaml.composer import Composer, Stop
from stepwell.strict_yaml.document import Document, Node, plain
from stepwell.strict_yaml.source import MAX_PROBLEMS, Source, read

# Characters to read again while corrections are tried: many for a common file, one try for a huge one.
RETRY_CHARACTERS = 512 * 1024


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one pass over a text gave: a root, or the error at which YAML ended."""

    composer: Composer
    root: Node | None
    error: yaml.MarkedYAMLError | None = None


def parse(text: str | bytes, file: str = "<text>") -> Document:
    """The document of one strict YAML text; raises DefinitionError with every problem that can be found."""
    source = read(text, file)
    reading = _read(source)
    if reading.root is None or reading.composer.problems:
        raise DefinitionError(_all_problems(reading))
    return Document(plain(reading.root), source, reading.root)


def _read(source: Source) -> _Reading:
    composer = Composer(source)
    try:
        return _Reading(composer, composer.compose())
    except Stop as stop:
        composer.problems.append(stop.problem)
        return _Reading(composer, None)
    except yaml.MarkedYAMLError as error:
        return _Reading(composer, None, error)
    except (ValueError, yaml.YAMLError) as error:
        # PyYAML lets some bad escapes (in tags, beyond the last character) out as what chr() and decode() raise.
        composer.problems.append(source.problem(0, 0, f"a character is escaped that does not exist ({error})"))
        return _Reading(composer, None)


def _all_problems(reading: _Reading) -> list[Problem]:
    """Of the first pass, and of passes over the text as corrected so far; at most one of each corrected line."""
    found: dict[int, Problem] = {}
    budget = RETRY_CHARACTERS
    while reading.error is not None:
        corrected, budget = _corrected(reading, reading.error, budget, found)
        if corrected is None:
            problem = traps.plain_problem(reading.error, reading.composer.source)
            found.setdefault(problem.line, problem)
            break
        problem, reading = corrected
        found[problem.line] = problem
    others = [problem for problem in reading.composer.problems if problem.line not in found]
    unique = dict.fromkeys([*found.values(), *others])
    return sorted(unique, key=lambda problem: (problem.line, problem.column))[:MAX_PROBLEMS]


def _corrected(
    reading: _Reading, error: yaml.MarkedYAMLError, budget: int, found: Container[int]
) -> tuple[tuple[Problem, _Reading] | None, int]:
    """The first suspect whose corrected line lets YAML get further, with that pass; and what is left to spend.

    A line in `found` is not corrected again: that might go on for ever.
    """
    source = reading.composer.source
    for suspect in traps.suspects(error, reading.composer):
        if suspect.corrected is None or suspect.line in found:
            continue
        if budget <= 0:
            break
        budget -= len(source.text)
        again = _read(source.with_line(suspect.line - 1, suspect.corrected))
        if _gets_further(again.error, error, suspect.line - 1):
            return (suspect, again), budget
    return None, budget


def _gets_further(now: yaml.MarkedYAMLError | None, before: yaml.MarkedYAMLError, corrected_line: int) -> bool:
    if now is None:
        return True
    line, _ = traps.error_place(now)
    same = (line, now.problem) == (traps.error_place(before)[0], before.problem)
    return line > corrected_line and not same
