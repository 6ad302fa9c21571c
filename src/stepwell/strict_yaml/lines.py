"""Reads one line of YAML as its writer meant it, and finds the values that YAML reads otherwise unless they are quoted.

Nothing here decides whether a text is right: it is asked only about a line that YAML has refused or misread.
Columns count from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stepwell.strict_yaml.source import MAX_SHOWN

MAX_DEPTH = 8

EXPRESSION_KEYS = frozenset({"if", "until", "match"})

_INDICATORS = ("- ", "? ", ": ")

_KEY = re.compile(
    r"""(?:"(?P<double>[^"\\]*+)"\s*+:|'(?P<single>[^']*+)'\s*+:"""
    r"""|(?P<plain>[\w<~./-]++(?:\ ++[\w.~/-]++)*+)\ *+:(?=[\s,}\]]|$))[ \t]*+"""
)
_UNSPACED_KEY = re.compile(r"([A-Za-z_][\w-]*+):(?![\s/:])(?=.)")
_EXPRESSION = re.compile(r"(?<!\$)\{\{")
_BLOCK_HEADER = re.compile(r"[|>][-+0-9]*+$")
_ANCHORED = re.compile(r"&[\w-]++(?:\s+|$)")
_ALIAS = re.compile(r"\*[\w-]++$")
_BAD_ESCAPE = re.compile(r"(?:[^\\]|^)(?:\\\\)*+\\(?![0abt\tnvfre \"/\\N_LPxuU])")
_NEGATION = re.compile(r"(?:(?<=[\s(])|^)!\s*(?=[\w('\"])")
_CORE_TAG = re.compile(r"!!(\w+)\s+(?P<value>.+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """The part of a line from `start` to `end` that should be written as `replacement`, and why."""

    start: int
    end: int
    replacement: str
    message: str


@dataclass(slots=True)
class _Span:
    """A value in a line: from `start` to `end`, under `key` (empty: an item of a list)."""

    line: str
    start: int
    end: int
    key: str
    in_flow: bool

    @property
    def text(self) -> str:
        return self.line[self.start : self.end]

    def fault(self, replacement: str, message: str) -> Fault:
        return Fault(self.start, self.end, replacement, message)


def faults(line: str, *, in_flow: bool) -> list[Fault]:
    """What needs other words or quotes in a line; `in_flow` if it begins inside `{ }` or `[ ]`."""
    if len(line) > MAX_SHOWN:
        return []
    start = len(line) - len(line.lstrip())
    found = _of_items(line, start, len(line), 0) if in_flow else _of_block(line, start)
    return list(found)


def repaired(line: str, found: list[Fault]) -> str:
    """The line with every fault replaced."""
    for fault in sorted(found, key=lambda fault: fault.start, reverse=True):
        line = line[: fault.start] + fault.replacement + line[fault.end :]
    return line


def quoted(text: str) -> str:
    """The text in quotes: double ones, or single ones where that needs fewer escapes."""
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


def _of_block(line: str, start: int) -> Iterator[Fault]:
    while line.startswith("- ", start):
        start += 2
        start += len(line[start:]) - len(line[start:].lstrip())
    key, value_start = _key(line, start, len(line))
    if not key and (unspaced := _UNSPACED_KEY.match(line, start)):
        yield _missing_space(unspaced)
        return
    end = _end(line, value_start, len(line), stops="", closers="")
    yield from _of_value(_Span(line, value_start, end, key, in_flow=False), 0)


def _of_items(line: str, start: int, end: int, depth: int) -> Iterator[Fault]:
    """Faults in the items of `{ }` or `[ ]`, of which `line[start:end]` is the inside."""
    spans: list[_Span] = []
    while start < end:
        stop = _end(line, start, end, stops=",", closers="}]")
        start += len(line[start:stop]) - len(line[start:stop].lstrip())
        key, value_start = _key(line, start, stop)
        if not key and (unspaced := _UNSPACED_KEY.match(line, start, stop)):
            yield _missing_space(unspaced)
        elif not key and spans and _may_go_on(spans[-1]):
            spans[-1].end = _trimmed(line, start, stop)
        else:
            spans.append(_Span(line, value_start, _trimmed(line, value_start, stop), key, in_flow=True))
        start = stop + 1
        if line[stop : stop + 1] != ",":
            break
    for span in spans:
        yield from _of_value(span, depth)


def _may_go_on(span: _Span) -> bool:
    """Whether a keyless item after this value is rather the rest of it, which a comma cut off."""
    return bool(span.key) and span.text[:1] not in ("", '"', "'", "{", "[")


def _of_value(span: _Span, depth: int) -> Iterator[Fault]:
    if anchored := _ANCHORED.match(span.line, span.start, span.end):
        span.start = anchored.end()
    text = span.text
    if not text or text[:2] in _INDICATORS or depth > MAX_DEPTH:
        return
    if text[0] in "{[" and not text.startswith("{{"):
        yield from _of_collection(span, depth)
    elif complaint := _complaint(span):
        yield complaint


def _of_collection(span: _Span, depth: int) -> Iterator[Fault]:
    close = _end(span.line, span.start + 1, span.end, stops="", closers="}]")
    rest = span.line[close + 1 : span.end].strip()
    if rest and not rest.strip("]} "):
        yield Fault(close + 1, span.end, "", "this closing bracket is one too many")
    elif rest:
        yield span.fault(quoted(span.text), "text goes on after the closing bracket; put the whole value in quotes")
    else:
        yield from _of_items(span.line, span.start + 1, close, depth + 1)


def _complaint(span: _Span) -> Fault | None:
    """What is wrong with a scalar, by its first character, else by what it holds."""
    text = span.text
    if text[0] in "\"'":
        return _of_quoted(span)
    if text.startswith("{{"):
        corrected = quoted(_EXPRESSION.sub("${{", text))
        return span.fault(corrected, "'{{' begins a YAML mapping; an expression is written \"${{ … }}\", in quotes")
    if text[0] == "!":
        return _of_tag(span)
    if _needs_quotes_at_start(text):
        return span.fault(quoted(text), f"a value that begins with '{text[0]}' needs quotes")
    if reason := _reason_inside(text, span.in_flow):
        return span.fault(quoted(text), f"{reason}; put the value in quotes")
    return None


def _needs_quotes_at_start(text: str) -> bool:
    first = text[0]
    return (
        first in "@`%&"
        or (first == "*" and not _ALIAS.match(text))
        or (first in "|>" and not _BLOCK_HEADER.match(text))
    )


def _reason_inside(text: str, in_flow: bool) -> str | None:
    if ": " in text or text.endswith(":"):
        return "': ' inside a value begins another mapping"
    if " #" in text:
        return "' #' begins a comment, inside an expression too"
    if in_flow and "${{" in text:
        return "an expression inside { } or [ ] is cut at its braces"
    if in_flow and any(bracket in text for bracket in "{}[]"):
        return "a bracket inside { } or [ ] ends the value"
    if in_flow and "," in text:
        return "a comma inside { } or [ ] ends the value"
    return None


def _of_quoted(span: _Span) -> Fault | None:
    text, mark = span.text, span.text[0]
    close = _after_quoted(text, 0, len(text))
    if close is None:
        return span.fault(text + mark, "this quote is never closed")
    if text[close:].strip():
        # 'it's' means it's, but 'a' == 'b' means all of it.
        whole = text[close].isalnum() and text.endswith(mark)
        message = "text goes on after the closing quote; put the whole value in quotes"
        return span.fault(quoted(text[1:-1] if whole else text), message)
    if mark == '"' and (escape := _BAD_ESCAPE.search(text)):
        name = text[escape.end() - 1 : escape.end() + 1]
        message = f"{name} is no escape of YAML; in single quotes a backslash is only a backslash"
        return span.fault("'" + text[1:-1].replace("'", "''") + "'", message)
    return None


def _of_tag(span: _Span) -> Fault:
    if span.key in EXPRESSION_KEYS:
        negated = _NEGATION.sub("not ", span.text)
        safe = negated if _reason_inside(negated, span.in_flow) is None else quoted(negated)
        return span.fault(safe, "'!' begins a YAML tag; write 'not'")
    if core := _CORE_TAG.match(span.text):
        value = core["value"]
        safe = quoted(value) if core[1] == "str" and value[0] not in "\"'" else value
        return span.fault(safe, "tags are not used here: a value in quotes is text, others are what they look like")
    return span.fault(quoted(span.text), "'!' begins a YAML tag, and tags are not used here; put the text in quotes")


def _missing_space(unspaced: re.Match[str]) -> Fault:
    message = f"a space is missing after '{unspaced[1]}:'"
    return Fault(unspaced.start(), unspaced.end(), f"{unspaced[0]} ", message)


def _key(line: str, start: int, end: int) -> tuple[str, int]:
    """The key at `start` and where its value begins; an empty key if there is none."""
    match = _KEY.match(line, start, end)
    if match is None:
        return "", start
    return match["plain"] or match["double"] or match["single"] or '""', match.end()


def _end(line: str, start: int, end: int, *, stops: str, closers: str) -> int:
    """Where the value from `start` ends: at a stop or closer outside quotes and brackets, a comment, or `end`."""
    depth, position = 0, start
    while position < end:
        character = line[position]
        if depth == 0 and (character in stops or character in closers):
            return position
        if character == "#" and (position == 0 or line[position - 1] in " \t"):
            break
        depth = max(0, depth + (character in "([{") - (character in ")]}"))
        position = _after_unit(line, position, end)
    return _trimmed(line, start, position) if not stops and not closers else position


def _after_unit(line: str, position: int, end: int) -> int:
    """After the expression, the quoted text or the character that stands at `position`."""
    if line.startswith("${{", position):
        return _after_expression(line, position + 3, end)
    if line[position] in "\"'" and _may_open(line, position):
        return _after_quoted(line, position, end) or position + 1
    return position + 1


def _after_expression(line: str, position: int, end: int) -> int:
    depth = 0
    while position < end:
        if depth == 0 and line.startswith("}}", position):
            return position + 2
        depth += (line[position] == "{") - (line[position] == "}")
        quoted = _after_quoted(line, position, end) if line[position] in "\"'" else None
        position = quoted or position + 1
    return end


def _may_open(line: str, position: int) -> bool:
    """An apostrophe inside a word opens nothing."""
    before = line[position - 1 : position]
    return not (before.isalnum() or before in ("_", ")", "]"))


def _after_quoted(line: str, position: int, end: int) -> int | None:
    """After the closing quote of the quoted text that begins at `position`; None if it is not closed before `end`."""
    mark = line[position]
    position += 1
    while position < end:
        if line[position] == "\\" and mark == '"':
            position += 1
        elif line[position] == mark:
            if mark == '"' or line[position + 1 : position + 2] != mark:
                return position + 1
            position += 1
        position += 1
    return None


def _trimmed(line: str, start: int, end: int) -> int:
    return start + len(line[start:end].rstrip())
