"""Standard output and error in whatever encoding they have: what it lacks is written in ASCII, never an error."""

from __future__ import annotations

import codecs
import io
import sys

ASCII = {
    "✓": "+", "✗": "x", "▶": ">", "↻": "~", "◷": "~", "⊘": "-", "⊗": "!", "·": ".", "…": "~", "–": "-", "—": "-",
    "─": "-", "►": ">", "┬": "+", "├": "+", "└": "+", "│": "|", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip
"""Stands for the marks that this program draws; each is one column wide, as what it stands for."""

_HANDLER = "stepwell.ascii"


def tolerate() -> None:
    """From now on standard output and error take every text. Actions that print in this process profit, too."""
    codecs.register_error(_HANDLER, _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def is_unicode() -> bool:
    """Whether standard output takes every character."""
    return codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name.startswith("utf")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(character, "?") for character in lacking), error.end
