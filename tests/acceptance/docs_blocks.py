"""Reads what the tests of the documents need out of Markdown: fenced blocks and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; `comment` is the HTML comment right above it, or empty."""

    page: Path
    line: int
    language: str
    text: str
    comment: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """The fenced blocks of a page in these languages, in order."""
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        if found[1] in languages:
            before = text[: found.start()].rstrip("\n").rpartition("\n")[2]
            comment = before.removeprefix("<!--").removesuffix("-->").strip() if before.startswith("<!--") else ""
            yield Block(page, text.count("\n", 0, found.start()) + 1, found[1], found[2], comment)


def section(page: Path, heading: str) -> str:
    """The text under a heading, up to the next one."""
    text = page.read_text(encoding="utf-8")
    places = [(found[1], found.start(), found.end()) for found in _HEADING.finditer(_without_code(text))]
    ends = [start for _, start, _ in places[1:]] + [len(text)]
    return next(text[start:end] for (name, _, start), end in zip(places, ends, strict=True) if name == heading)


def headings(page: Path) -> list[str]:
    """The headings of a page, in order."""
    return _HEADING.findall(_without_code(page.read_text(encoding="utf-8")))


def table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    lines = dropwhile(lambda line: not _is_row(line), text.splitlines())
    rows = list(takewhile(_is_row, lines))[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def names(text: str) -> list[str]:
    """Everything in a text that stands `in code`."""
    return _CODE.findall(text)


def _is_row(line: str) -> bool:
    return line.startswith("|")


def _without_code(text: str) -> str:
    """The text with blanks in place of its fenced blocks: comments in them look like headings."""
    return _FENCE.sub(lambda found: " " * len(found[0]), text)
