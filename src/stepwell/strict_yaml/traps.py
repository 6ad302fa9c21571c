"""What a syntax error of YAML most likely comes from: candidates with the corrected line, and the plain message."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from stepwell.errors import Problem
from stepwell.strict_yaml.composer import Composer
from stepwell.strict_yaml.lines import faults, repaired
from stepwell.strict_yaml.source import Source

_TABS = "indentation is made of spaces, not tabs"
_TAB_INDENT = re.compile(r"[ ]*\t[ \t]*")
_CLOSERS = {"{": "}", "[": "]"}

# What the parsers say (libyaml, then PyYAML's own words where they differ), and what to tell people.
_MESSAGES = (
    ("unexpected end of stream", "this quote is never closed"),
    (
        "mapping values are not allowed",
        "a ':' cannot stand here: quote a value that holds ': ', or check the indentation",
    ),
    ("could not find expected ':'", "this is no 'key: value': a ':' and a space are missing"),
    ("sequence entries are not allowed", "a list cannot begin here; begin it on the next line"),
    ("did not find expected key", "this does not go on from the lines above: check the indentation and the quotes"),
    ("expected <block end>", "this does not go on from the lines above: check the indentation and the quotes"),
    ("did not find expected '-' indicator", "this is no item of the list above: check the indentation"),
    ("expected <document start>", "this does not go on from the lines above: check the indentation"),
    ("expected ',' or", "a ',' or the closing bracket is missing before this"),
    ("cannot start any token", "this character cannot begin a value; put the value in quotes"),
    ("unknown escape character", "this is no escape of YAML; in single quotes a backslash is only a backslash"),
    (
        "invalid Unicode character escape",
        "half of a character is escaped; write the character itself, or \\U and 8 digits",
    ),
    ("node content", "a key or a value is missing before this"),
    ("undefined tag handle", "tags are not used here; put a text that begins with '!' in quotes"),
)


def suspects(error: yaml.MarkedYAMLError, composer: Composer) -> Iterator[Problem]:
    """What may have caused the error, likeliest first, each with the whole corrected line."""
    source = composer.source
    line, column = error_place(error)
    for number in _suspect_lines(error, composer):
        text = source.line(number)
        if found := faults(text, in_flow=composer.in_flow(number)):
            at = column if number == line else 0
            fault = min(found, key=lambda fault: max(fault.start - at, at - fault.end, 0))
            yield source.problem(number, fault.start, fault.message, repaired(text, found))
    yield from _of_layout(error, source)


def plain_problem(error: yaml.MarkedYAMLError, source: Source) -> Problem:
    """The error in plain words, where its cause was not found."""
    line, column = error_place(error)
    context = error.context_mark
    said = error.problem or str(error)
    message = next((ours for theirs, ours in _MESSAGES if theirs in said), said)
    opened = source.line(context.line)[context.column : context.column + 1] if context else ""
    if source.line(line)[column : column + 1] == "\t":
        message = _TABS
    if context and "expected ',' or" in said and opened in _CLOSERS and context.line < line:
        return source.problem(context.line, context.column, f"this '{opened}' is not closed before line {line + 1}")
    return source.problem(line, column, message)


def error_place(error: yaml.MarkedYAMLError) -> tuple[int, int]:
    """Where the error shows, from 0; an unclosed quote shows where it was opened."""
    unclosed = "unexpected end of stream" in (error.problem or "") and error.context_mark is not None
    mark = error.context_mark if unclosed else error.problem_mark or error.context_mark
    return (mark.line, mark.column) if mark else (0, 0)


def _suspect_lines(error: yaml.MarkedYAMLError, composer: Composer) -> list[int]:
    """The lines to look at, each once: of the error, of what it was part of, of the last value, and the one above."""
    line, _ = error_place(error)
    numbers = [line]
    scalar = composer.last_scalar
    if scalar and scalar.start_mark:
        numbers.append(scalar.start_mark.line)
    if error.context_mark:
        numbers.append(error.context_mark.line)
    numbers.append(_line_above(composer.source, line))
    return list(dict.fromkeys(number for number in numbers if number >= 0))


def _of_layout(error: yaml.MarkedYAMLError, source: Source) -> Iterator[Problem]:
    line, column = error_place(error)
    text = source.line(line)
    above = source.line(_line_above(source, line))
    indent = above[: _indent(above)]
    if tabs := _TAB_INDENT.match(text):
        for spaces in (tabs[0].replace("\t", "  "), indent):
            yield source.problem(line, 0, _TABS, spaces + text[tabs.end() :])
    if text.startswith(indent + " "):
        message = "this line is indented deeper than the one above, which has a value already"
        yield source.problem(line, column, message, indent + text.lstrip())
    yield from _unclosed(error, source)


def _unclosed(error: yaml.MarkedYAMLError, source: Source) -> Iterator[Problem]:
    """A bracket to close at the end of its line, unless the next line may belong inside it."""
    if error.context_mark is None:
        return
    line, column = error.context_mark.line, error.context_mark.column
    text = source.line(line)
    opened = text[column : column + 1]
    if opened in _CLOSERS and _indent(source.line(line + 1)) <= _indent(text):
        yield source.problem(line, column, f"this '{opened}' is not closed", text.rstrip() + _CLOSERS[opened])


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


def _line_above(source: Source, line: int) -> int:
    """The nearest line above that is neither empty nor a comment; -1 if there is none."""
    return next(
        (n for n in range(line - 1, -1, -1) if source.line(n).strip() and source.line(n).lstrip()[0] != "#"), -1
    )
