"""Parts of a text that were masked before they were cut: half a secret would not be found any more."""

from __future__ import annotations

from collections.abc import Callable

Mask = Callable[[str], str]
"""Gives a text without secrets."""

LONGEST_SECRET = 16 * 1024
"""Characters beside a cut that are left out, because they may be a part of a secret of at most this length."""


def beginning(text: str, length: int, mask: Mask) -> str:
    """At most the first `length` characters; of a longer text it looks at `LONGEST_SECRET` more."""
    seen = text[: length + LONGEST_SECRET]
    masked = mask(seen)
    return (masked if len(seen) == len(text) else masked[:-LONGEST_SECRET])[:length]
