"""`log`, `fail`, `sleep` and `stop`: what a workflow says and decides about itself."""

from __future__ import annotations

import logging
from typing import Any, Literal

from stepwell.actions.paths import invalid
from stepwell.errors import Fail, Stop, did_you_mean
from stepwell.ports import Context
from stepwell.registry import action
from stepwell.values import encode, seconds

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}

MAX_SLEEP = 3600.0
"""Seconds."""


@action("log")
def log(context: Context, message: Any, level: str = "info") -> None:
    """Write a line to the task's log.

    `message` is text, or a value that is shown as JSON; `level` is debug, info, warning, error or critical.
    """
    number = LEVELS.get(level.lower())
    if number is None:
        raise invalid(f"unknown level {level!r}{did_you_mean(level, LEVELS)}: it is one of {', '.join(LEVELS)}")
    context.logger.log(number, "%s", message if isinstance(message, str) else encode(message, "message"))


@action("fail")
def fail(message: str, code: str = "step_failed", retryable: bool = False) -> None:
    """Fail the step with this message and code.

    `retryable` tells whether the `retry` of the step or of a group around it should try again; by default not,
    because the same decision would be made again.
    """
    raise Fail(message, code=code, retryable=retryable)


@action("sleep")
async def sleep(seconds: str | float) -> None:
    """Pause for a number of seconds, or for `500ms`, `30s`, `5m`; at most for an hour."""
    import asyncio  # slow to import, and every file that logs imports this module

    await asyncio.sleep(_duration(seconds))


@action("stop")
def stop(status: Literal["completed", "cancelled"] = "completed", message: str = "") -> None:
    """End the whole task here, on purpose, as `completed` or `cancelled`."""
    raise Stop(message, status=status)


def _duration(value: str | float) -> float:
    try:
        duration = seconds(value)
    except ValueError as error:
        raise invalid(str(error)) from error
    if duration > MAX_SLEEP:
        raise invalid(f"{value!r} is longer than an hour, and a sleeping step holds its worker: write a step `wait`")
    return duration
