"""The text of a YAML file as checked lines: decoding, forbidden characters, places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from stepwell.errors import DefinitionError, Problem

MAX_BYTES = 32 * 1024 * 1024
MAX_PROBLEMS = 100
MAX_SHOWN = 2000

_LINE_END = re.compile(r"\r\n|\r|\n")
# Beyond YAML's own list: U+0085, U+2028 and U+2029 end a line in YAML 1.1 but not in 1.2, and readers disagree.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
# libyaml compares every %TAG directive with all those before it.
_TAG_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text; `line` and `column` count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A text and its lines (without their ends). Lines and columns count from 0 here, as YAML parsers count."""

    text: str
    file: str
    lines: list[str]

    def line(self, number: int) -> str:
        return self.lines[number] if 0 <= number < len(self.lines) else ""

    def problem(self, line: int, column: int, message: str, corrected: str | None = None) -> Problem:
        """A problem with its line; of a line longer than MAX_SHOWN only the beginning, and no correction."""
        shown = self.line(line)
        if len(shown) > MAX_SHOWN:
            shown, corrected = f"{shown[:MAX_SHOWN]} …", None
        return Problem(message, self.file, line + 1, column + 1, shown, corrected)

    def with_line(self, number: int, text: str) -> Source:
        lines = [*self.lines[:number], text, *self.lines[number + 1 :]]
        return replace(self, text="\n".join(lines), lines=lines)


def read(text: str | bytes, file: str) -> Source:
    """The checked source; raises DefinitionError for what no YAML text may hold."""
    if len(text) > MAX_BYTES:
        raise DefinitionError([Problem(f"the text is longer than {MAX_BYTES:,} bytes", file)])
    if isinstance(text, bytes):
        text = _decoded(text, file)
    text = text.removeprefix("\ufeff")
    source = Source(text, file, _LINE_END.split(text))
    if problems := list(islice(_forbidden(source), MAX_PROBLEMS)):
        raise DefinitionError(problems)
    return source


def _decoded(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = _LINE_END.split(data[: error.start].decode("utf-8"))
        message = f"byte 0x{data[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise DefinitionError([Problem(message, file, len(before), len(before[-1]) + 1)]) from error


def _forbidden(source: Source) -> Iterator[Problem]:
    for number, line in enumerate(source.lines):
        for match in _FORBIDDEN.finditer(line):
            yield source.problem(number, match.start(), _character_message(ord(match[0])))
        if _TAG_DIRECTIVE.match(line):
            yield source.problem(number, 0, "custom tags are not used here; remove the %TAG line")


def _character_message(code: int) -> str:
    if code == 0:
        return "a NUL character cannot stand in a text; remove it"
    if 0xD800 <= code <= 0xDFFF:
        return f"U+{code:04X} is half of a character; save the file as UTF-8"
    escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return f"the invisible character U+{code:04X} cannot stand here; remove it, or write {escape} in double quotes"
