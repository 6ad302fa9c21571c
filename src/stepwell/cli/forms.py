"""The JSON documents of the program: what the HTTP API answers, word for word."""

from __future__ import annotations

from typing import Any

from stepwell.api import views
from stepwell.task import Event, StepRecord, Task
from stepwell.wiring import System


def task_form(system: System, task: Task) -> dict[str, Any]:
    """A task with its result."""
    return views.task(system.service, task, system.store.now()).model_dump(mode="json", exclude_unset=True)


def summary(task: Task, now: float) -> dict[str, Any]:
    """A task without its result, at the store's time `now`."""
    return views.summary(task, now).model_dump(mode="json", exclude_unset=True)


def step_form(system: System, task: Task, record: StepRecord) -> dict[str, Any]:
    """A step, an item or a round, with its output."""
    return views.step(system.service, task, record).model_dump(mode="json", exclude_unset=True)


def log_form(event: Event) -> dict[str, Any]:
    """A log line of a step."""
    return views.log_line(event).model_dump(mode="json", exclude_unset=True)
