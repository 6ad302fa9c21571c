"""What the program writes: JSON for programs, text for people, and nothing that could steer a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from stepwell.cli.streams import is_unicode

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 1000
"""Columns of a table that goes into a file or pipe, so that nothing is cut off."""

LONGEST_VALUE, LONGEST_VALUES = 2_000, 20_000
"""Characters that are shown of a value, and of all values under one title."""

LONGEST_PRETTY = 1_000_000
"""Characters of a JSON document up to which it is written on many lines; that takes its time."""

_EXIT = re.compile(r"exit code \d+|ended by signal \S+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    escape = not is_unicode()
    text = json.dumps(document, ensure_ascii=escape)
    if len(text) <= LONGEST_PRETTY:
        text = json.dumps(document, ensure_ascii=escape, indent=2)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def say(text: str) -> None:
    """A line for people, on standard error, where it is in nobody's way."""
    print(f"stepwell: {harmless(text)}", file=sys.stderr, flush=True)  # noqa: T201 - this is the program's output


def harmless(text: str) -> str:
    """The text without control characters, which could steer the terminal; line feeds and tabs stay."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text).encode("utf-8", "replace").decode("utf-8")


def first_line(text: str, length: int = 200) -> str:
    """The first line of a text, cut to a length."""
    line = harmless(text.strip()).partition("\n")[0]
    return line if len(line) <= length else f"{line[: length - 1]}…"


def reason(message: str, length: int = 200) -> str:
    """A failure in one line: the first of its message, and of a process that failed also the last that it wrote."""
    first, _, rest = message.strip().partition("\n")
    if _EXIT.fullmatch(first) and (last := rest.strip().rpartition("\n")[2]):
        return first_line(f"{first}: {last.strip()}", length)
    return first_line(first, length)


def console(stderr: bool = False) -> Console:
    """A console that takes text as it is: no markup, so that `each[3]` stays `each[3]`. `NO_COLOR` is respected."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ISO 8601 in UTC."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float | None) -> str:
    """`0.12s`, `4.2s`, `3m 07s`, `2h 05m`; nothing for None."""
    if seconds is None:
        return ""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    return f"{hours}h {minutes % 60:02}m" if hours else f"{minutes}m {int(seconds) % 60:02}s"


def as_lines(value: Any) -> str:
    """A JSON value, pretty printed for people: of each long value in it only the beginning, and how long it is."""
    if not isinstance(value, Mapping):
        return _cut(_pretty(value), LONGEST_VALUE)
    inner = ",\n".join(f"{_pretty(name)}: {_cut(_pretty(one), LONGEST_VALUE)}" for name, one in value.items())
    return _cut("{\n  " + inner.replace("\n", "\n  ") + "\n}" if value else "{}", LONGEST_VALUES)


def _pretty(value: Any) -> str:
    return harmless(json.dumps(value, ensure_ascii=False, indent=2))


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… {len(text):,} characters; --json shows all"
