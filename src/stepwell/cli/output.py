"""What the program writes: JSON for programs, text for people, and nothing that could steer a terminal."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 1000
"""Columns of a table that goes into a file or pipe, so that nothing is cut off."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def print_json(document: object) -> None:
    """One JSON document on standard output."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
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
    """A JSON value, pretty printed for people."""
    return harmless(json.dumps(value, ensure_ascii=False, indent=2))
