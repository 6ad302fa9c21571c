"""Where a character of a text stands in the YAML source: texts are quoted, escaped, folded or indented there."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

from stepwell.strict_yaml import Document, Place, quoted

Path = tuple[str | int, ...]

MAX_WALKED = 5_000
"""Characters of one text that are walked through to find a place in it."""

_ANCHOR = re.compile(r"&\S+\s+")
_BRACES = re.compile(r"\$?\{\{.*?\}\}")
_UNITS = {
    '"': re.compile(r"\\x..|\\u.{4}|\\U.{8}|\\.|."),
    "'": re.compile("''|."),
    "": re.compile("."),
}
"""What spells one character: in double quotes, in single ones, in none."""


def value_at(data: Any, path: Path) -> tuple[Any, Path]:
    """The value at a path, or the last one on the way that is there, with its path."""
    for depth, part in enumerate(path):
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if not inside:
            return data, path[:depth]
        data = data[part]
    return data, path


def place_within(document: Document, path: Path, offset: int) -> Place:
    """The place of the character at `offset` of the text at a path; at least the text's own, where it is not known."""
    value, known = value_at(document.data, path)
    start = document.place(known)
    line, column = start.line - 1, _after_anchor(document, start)
    if not isinstance(value, str) or offset > MAX_WALKED:
        return start
    mark = document.lines[line][column : column + 1]
    if mark == "*":
        return start
    if mark in ("|", ">"):
        return _in_block(document.lines, line, value, offset)
    if mark in ('"', "'"):
        return _walk(document.lines, line, column + 1, offset, mark)
    return _walk(document.lines, line, column, offset, "")


def corrected_line(document: Document, path: Path, text: str) -> str | None:
    """The source line with this text, quoted, in place of the one at a path; None if that is not simply in one line."""
    value, known = value_at(document.data, path)
    start = document.place(known)
    line, column = document.source(start), _after_anchor(document, start)
    if not isinstance(value, str) or len(line) > 2000:
        return None
    for written in (f'"{value}"', f"'{value}'", value):
        if line.startswith(written, column):
            return line[:column] + quoted(text) + line[column + len(written) :]
    return None


def with_variable(line: str, column: int, variable: str) -> str | None:
    """The line of a script with `$NAME` in place of the expression at `column`; None if that goes on elsewhere."""
    braces = _BRACES.match(line, column)
    return line[:column] + variable + line[braces.end() :] if braces else None


def _after_anchor(document: Document, place: Place) -> int:
    anchored = _ANCHOR.match(document.source(place), place.column - 1)
    return anchored.end() if anchored else place.column - 1


def _in_block(lines: list[str], header: int, value: str, offset: int) -> Place:
    """In a text after `|` or `>`; its first line with content tells how deep it is indented."""
    content = next((n for n in range(header + 1, len(lines)) if lines[n].strip()), header)
    indent = len(lines[content]) - len(lines[content].lstrip())
    if ">" in lines[header].rpartition(":")[2]:
        return _walk(lines, content, indent, offset, "")
    before = value[:offset]
    line = min(header + 1 + before.count("\n"), len(lines) - 1)
    return Place(line + 1, indent + len(before) - (before.rfind("\n") + 1) + 1)


def _walk(lines: list[str], line: int, column: int, offset: int, mark: str) -> Place:
    """From the first character of a plain, quoted or folded text; a line break is a space there, n of them n - 1."""
    while True:
        units = islice(_UNITS[mark].finditer(lines[line].rstrip(), column), offset + 1)
        starts = [unit.start() for unit in units]
        if offset < len(starts):
            return Place(line + 1, starts[offset] + 1)
        following = next((n for n in range(line + 1, len(lines)) if lines[n].strip()), None)
        if offset == len(starts) or following is None:
            return Place(line + 1, len(lines[line].rstrip()) + 1)
        offset -= len(starts) + max(1, following - line - 1)
        line, column = following, len(lines[following]) - len(lines[following].lstrip())
