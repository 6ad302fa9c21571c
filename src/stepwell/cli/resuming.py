"""A task that is to run again: what is to be known of it before, a lease that a dead process left, and workers."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from stepwell.cli.output import moment, say
from stepwell.errors import Conflict, DefinitionError, NotFound, Unavailable
from stepwell.task import Status, Task

if TYPE_CHECKING:
    from stepwell.service import Amendment
    from stepwell.wiring import System

LOOK, MARGIN = 0.2, 1.0
"""Seconds between two looks at a task, and how much longer than a lease one is looked at for its end."""


def queued_again(system: System, task: Task, from_step: str | None, amendment: Amendment | None = None) -> Task:
    """An ended task queued again; or one that was left behind, handed back if its process died while it ran."""
    if task.status is Status.RUNNING:
        task = _left_behind(system, task)
    if task.status in (Status.QUEUED, Status.WAITING) and from_step is None and amendment is None:
        return task
    return system.service.retry(task.task_id, from_step, amendment)


def tell_of_changes(system: System, task: Task) -> None:
    """Say so if the workflow's file is another than the task runs on."""
    try:
        same = system.service.catalog.get(task.workflow_id).hash == task.definition
    except NotFound:  # its file was given by its path
        return
    except DefinitionError:
        same = False
    if not same:
        say("the workflow has changed since; this runs the definition the task started with, --latest the new one")


def tell_of_workers(system: System, task: Task) -> None:
    """Say that a task is for workers, and what keeps it from being run soon."""
    say(f"task {task.task_id} is {task.status}, for a worker to run; Ctrl-C ends the showing, and the task goes on")
    with suppress(Unavailable):
        if not any(task.queue in worker.queues for worker in system.operations.workers()):
            say(f"no worker serves the queue {task.queue!r} now: start one with `stepwell worker`")
    tell_of_pause(system, task)


def tell_of_pause(system: System, task: Task) -> None:
    """Say that a task is in a queue of which none starts, if that can be told."""
    with suppress(Unavailable):
        if task.status is Status.QUEUED and task.queue in system.store.paused():
            say(f"the queue {task.queue!r} is paused: it starts when that is resumed")


def tell_of_waiting(task: Task) -> None:
    """Say how a task goes on that was left waiting."""
    say(f"task {task.task_id} waits on: a server goes on with it, or `stepwell retry`; `stepwell cancel` ends it")


def until_ended(system: System, task_id: str) -> Task:
    """The task once it has ended, whoever runs it. A store that does not answer is asked again."""
    while True:
        with suppress(Unavailable):
            if (task := system.store.get(task_id)).ended:
                return task
        time.sleep(LOOK)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl-C raises `KeyboardInterrupt`, unless the process was started not to listen to it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _left_behind(system: System, task: Task) -> Task:
    """The task once its lease is over. Raises `Conflict` if its process lives: it goes on to write, or to renew it."""
    after = _reaped(system, task)
    if after.status is Status.RUNNING:
        _tell_of_lease(system, task)
    deadline = time.monotonic() + system.settings.lease_seconds + MARGIN
    while after.status is Status.RUNNING:
        if after.updated_at != task.updated_at or time.monotonic() > deadline:
            where = f"task {task.task_id} is running in a live process ({after.worker})"
            raise Conflict(f"{where}: wait for its end, or cancel it with --force", status=after.status)
        time.sleep(LOOK)
        after = _reaped(system, task)
    if after.status is Status.COMPLETED:
        raise Conflict(f"task {task.task_id} has completed meanwhile", status=after.status)
    return after


def _reaped(system: System, task: Task) -> Task:
    system.store.reap()
    return system.store.get(task.task_id)


def _tell_of_lease(system: System, task: Task) -> None:
    heard = f"its process ({task.worker}) last wrote at {moment(task.updated_at)}"
    say(f"{heard}; if it died, this goes on in at most {system.settings.lease_seconds:g}s (LEASE_SECONDS)")
