"""Moments and durations inside expressions: aware UTC datetimes and timedeltas."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from stepwell import values
from stepwell.errors import ExpressionError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The C library's widths (`%999999999Y`) and the locale's own forms (`%c`, `%x`) are left out.
FORMAT = re.compile(r"(?:[^%]|%-?[aAbBdFGHIjmMpSTuUVwWyYzZf%])*")
MAX_FORMAT = 200


def to_time(value: object) -> datetime:
    """A moment from ISO 8601 text (UTC unless it says otherwise), seconds since 1970 or a moment."""
    try:
        if isinstance(value, datetime):
            return values.in_utc(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return EPOCH + timedelta(seconds=value)
        if isinstance(value, str):
            return to_time(datetime.fromisoformat(value.strip()))
    except (ValueError, OverflowError) as error:
        raise _refusal("time", value, "'2024-05-31' or '2024-05-31T12:00:00Z'") from error
    raise ExpressionError("a time is ISO 8601 text or a number of seconds since 1970")


def to_duration(value: object) -> timedelta:
    """A timedelta from text like `500ms`, `30s`, `5m`, `2h`, `1d`, or from a number of seconds."""
    if isinstance(value, timedelta):
        return value
    try:
        return timedelta(seconds=values.seconds(value))
    except (ValueError, OverflowError) as error:
        raise _refusal("duration", value, "'500ms', '30s', '5m', '2h' or '1d'") from error


def formatted(moment: datetime, form: object) -> str:
    """The moment by a format of strftime's portable directives."""
    if not isinstance(form, str) or len(form) > MAX_FORMAT or not FORMAT.fullmatch(form):
        raise _refusal("format of a date", form, "something like '%Y-%m-%d %H:%M:%S'")
    return moment.strftime(form)


def seconds(duration: timedelta) -> int | float:
    """The duration in seconds, whole where it is."""
    total = duration.total_seconds()
    return int(total) if total.is_integer() else total


def _refusal(what: str, value: object, remedy: str) -> ExpressionError:
    """Tells the kind of the value and never the value, which may be a secret."""
    return ExpressionError(f"{values.kind(value)} that is no {what}", hint=f"write {remedy}")
