"""What the keys of the language hold: identifiers, durations, counts, priorities; with the short forms of some."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from stepwell.errors import did_you_mean, short
from stepwell.values import in_utc, seconds, shown
from stepwell.workflow.identifiers import LETTER, LETTER_OR_DIGIT, is_identifier, is_workflow_id

VariableType = Literal[
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "datetime",
    "duration",
    "list",
    "object",
    "file",
    "secret",
    "any",
]

QUEUE = r"[A-Za-z0-9_.-]{1,100}"
EVENT = r"[^\x00-\x20/\\\x7f]{1,200}"
"""How queues and events are named, as regular expressions of the whole name."""

LATEST = 253_402_300_799.0
"""The last second of the year 9999: later times cannot be written."""

PRIORITIES = {"low": 0, "normal": 1, "high": 2, "urgent": 3}
"""The four levels, by name; `critical` is another word for `urgent`."""

PriorityName = Literal["low", "normal", "high", "urgent", "critical"]


def priority_level(value: str | int, scale: int = 4) -> int:
    """The level 0 to 3 of a priority: a name, or a number up to 3, or to 10 with scale 10. Raises `ValueError`.

    Of 0 to 10, three each are low, normal and high, and 9 and 10 are urgent.
    """
    greatest = 10 if scale == 10 else 3
    names = {**PRIORITIES, "critical": PRIORITIES["urgent"]}
    if isinstance(value, str) and value in names:
        return names[value]
    numbers: dict[str | int, int] = {text: n for n in range(greatest + 1) for text in (n, str(n))}
    if isinstance(value, str | int) and not isinstance(value, bool) and value in numbers:
        return numbers[value] * 4 // (greatest + 1)
    told, hint = (repr(short(value)), did_you_mean(value, names)) if isinstance(value, str) else (shown(value), "")
    raise ValueError(f"{told} is no priority{hint}: write {', '.join(names)} or a number from 0 to {greatest}")


def has_expression(value: object) -> bool:
    """Whether a text holds `${{ … }}`, so that it is known only when the step runs."""
    return isinstance(value, str) and "${{" in value


def moment(value: object) -> float:
    """A time in seconds since 1970: such a number, or ISO 8601 text, in UTC unless it says otherwise.

    Raises `ValueError`.
    """
    try:
        if isinstance(value, str):
            return in_utc(datetime.fromisoformat(value.strip())).timestamp()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LATEST:
            return float(value)
    except (ValueError, OverflowError):
        pass
    told = repr(short(value, 40)) if isinstance(value, str) else shown(value)
    raise ValueError(f"{told} is not a time: write it like 2026-12-01T09:00:00Z, or seconds since 1970")


def queue_name(value: object) -> str:
    """The name of a queue. Raises `ValueError`."""
    if isinstance(value, str) and re.fullmatch(QUEUE, value):
        return value
    raise ValueError(f"{shown(value)} is no queue: its name has letters, digits, _, - and dots, at most 100")


def event_name(value: object) -> str:
    """The name of an event. Raises `ValueError`."""
    if isinstance(value, str) and re.fullmatch(EVENT, value):
        return value
    raise ValueError(f"{shown(value)} is no name of an event: write order.paid")


def _checked_identifier(value: str) -> str:
    if not is_identifier(value):
        raise ValueError(f"{short(value)!r} is no identifier")
    return value


def _checked_workflow_id(value: str) -> str:
    if not is_workflow_id(value):
        raise ValueError(f"{short(value)!r} is no id of a workflow")
    return value


def _checked_duration(value: str | float) -> str | float:
    if not has_expression(value):
        seconds(value)
    return value


def _checked_moment(value: str | float) -> str | float:
    if not has_expression(value):
        moment(value)
    return value


def _checked_queue(value: str) -> str:
    return value if has_expression(value) else queue_name(value)


def _checked_event(value: str) -> str:
    return value if has_expression(value) else event_name(value)


def _checked_percentage(value: str | int) -> str | int:
    if isinstance(value, str) and not has_expression(value):
        number = float(value.removesuffix("%")) if value.endswith("%") else -1.0
        if not 0 <= number <= 100:
            raise ValueError(f"{short(value)!r} is neither a number nor a percentage like 5%")
    return value


Identifier = Annotated[
    str,
    StringConstraints(pattern=rf"^{LETTER}{LETTER_OR_DIGIT}*$", max_length=100),
    AfterValidator(_checked_identifier),
]
WorkflowId = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+$", max_length=100),
    AfterValidator(_checked_workflow_id),
]
Condition = Annotated[str | bool, Field(description="An expression; the ${{ }} around it may be left out.")]
Duration = Annotated[
    str | float,
    AfterValidator(_checked_duration),
    Field(description="Seconds, or 500ms, 30s, 5m, 2h, 1d.", examples=["30s", "5m"]),
]
Share = Annotated[int | str, AfterValidator(_checked_percentage)]
Moment = Annotated[
    str | float,
    AfterValidator(_checked_moment),
    Field(description="A time: seconds since 1970, or ISO 8601.", examples=["2026-12-01T09:00:00Z"]),
]
QueueName = Annotated[str, StringConstraints(pattern=rf"^{QUEUE}$|\$\{{\{{"), AfterValidator(_checked_queue)]
EventName = Annotated[str, StringConstraints(pattern=rf"^{EVENT}$|\$\{{\{{"), AfterValidator(_checked_event)]
Filled = Annotated[str, StringConstraints(pattern=r"^\s*\$\{\{.*\}\}\s*$")]
"""A text that is one expression."""

Count = Annotated[
    int | Filled,
    Field(description="A whole number, or an expression that gives one."),
]
