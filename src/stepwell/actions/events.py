"""`event.emit`: publish an event by name."""

from __future__ import annotations

from typing import Any

from stepwell.ports import Context
from stepwell.registry import action


@action("event.emit")
def emit(context: Context, name: str, payload: Any = None) -> dict[str, str]:
    """Publish an event for every task that waits for this name and every workflow that it starts.

    However often the step is attempted, each is told once. The output is the event's `id`.
    """
    return {"id": context.emit(name, payload)}
