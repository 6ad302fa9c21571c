"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CLOCK_SECONDS = 1.0
"""Clocks that differ by more make times in records and log lines hard to compare."""


class Level(StrEnum):
    """`warning`: it works, and something may be lost or be slow; `wrong`: it does not work, or will not."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` says what to do, and is empty where nothing need be done."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def ok(check: str, message: str) -> Finding:
    """As it should be."""
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, remedy: str) -> Finding:
    """It works, but."""
    return Finding(check, Level.WARNING, message, remedy)


def wrong(check: str, message: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.WRONG, message, remedy)


def clock(check: str, server: str, ahead: float, tolerance: float = 0.0) -> Finding:
    """What to say of a server's clock that is `ahead` of ours by so many seconds, measured to within `tolerance`."""
    if abs(ahead) <= CLOCK_SECONDS + tolerance:
        return ok(check, f"the clocks of {server} and of this host agree")
    order = "ahead of" if ahead > 0 else "behind"
    message = f"the clock of {server}, by which tasks go, is {abs(ahead):.1f} s {order} this host's"
    return warning(check, message, "let NTP set both clocks")
