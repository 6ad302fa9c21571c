"""The callers' side of the store: submit, cancel, retry, signal, get, list."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_exponential

from stepwell import variables
from stepwell.errors import NotDelivered, NotFound, QueueFull, Unavailable
from stepwell.loader import Catalog, Definition
from stepwell.plan import Plan, compile_definition
from stepwell.ports import Queue, Revision, TaskFilter, TaskStore
from stepwell.secrets import Cipher
from stepwell.service.retrying import check_retry, steps_to_reset
from stepwell.service.signals import Form, Signalled, Signals
from stepwell.service.submission import Amendment, Defaults, Intake, Submission
from stepwell.task import Apart, Crew, Event, NewTask, Page, Status, StepRecord, Stored, Task
from stepwell.values import decode

HIDDEN = "***"
"""What is shown in place of a secret."""


MAX_WAITS = 20
"""So many of the steps that wait are told of a task."""


class Service:
    """The callers' side of the store; it never runs a step itself."""

    def __init__(
        self,
        store: TaskStore,
        queue: Queue,
        pool: Queue,
        catalog: Catalog,
        cipher: Cipher,
        defaults: Defaults,
        tell_run: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`queue` is rung for tasks that anybody may run, `pool` for those that this process is to run. `tell_run` is
        called with the id of a task whose cancel was requested, in case it runs in this process."""
        self.catalog = catalog
        self._store, self._queue, self._pool = store, queue, pool
        self._intake, self._max_queued = Intake(cipher, defaults), defaults.max_queued
        self._signals = Signals(store)
        self._tell_run, self._sleep = tell_run, sleep

    # -- to act ------------------------------------------------------------------------------------------------------

    def submit(self, definition: Definition, submission: Submission, here: bool = False) -> Task:
        """Create a task and ring for it (`here`: for this process); with an idempotency key used before, the first
        task.

        Raises `InvalidInput` for what does not fit, `QueueFull`, `Conflict` for a key of another request, and
        `Unavailable` with the task's id where nothing tells whether it was created.
        """
        return self._create([self._intake.new_task(definition, submission, here)], here)[0]

    def submit_many(self, definition: Definition, submissions: Sequence[Submission], here: bool = False) -> list[Task]:
        """Create many tasks of one workflow: all of them, or none if one does not fit or there is no room for all.

        Raises `InvalidInput` with the problems of every submission, named like `items[3].variables.day`.
        """
        return self._create(self._intake.new_tasks(definition, submissions, here), here)

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """Cancel a task; one that runs only with `force`. Raises `Conflict` with its status."""
        before = self._store.get(task_id)
        task = self._store.cancel(task_id, force)
        if task.status is Status.QUEUED and before.status is not Status.QUEUED:
            self._queue.ring(task)
        elif task.status is Status.CANCELLED:
            self._queue.remove(task_id)
        self._tell_run(task_id)
        return task

    def retry(self, task_id: str, from_step: str | None = None, amendment: Amendment | None = None) -> Task:
        """Run an ended task again, from what failed, or from a step (its id or path) and all that comes after it. What
        was undone by `compensate` runs again too.

        Raises `InvalidInput` for changed variables that do not fit, and for a step that the latest definition does not
        have, `NotFound` for an unknown step or a workflow that is gone, and `Conflict` for a task that has not ended,
        has completed (without `from_step`), or is a child.
        """
        return self._run_again(self._store.get(task_id), from_step, amendment or Amendment())

    def requeue(self, dead: Task) -> Task:
        """Run a dead letter again, from what failed. Raises `Conflict` if somebody did since this record was read,
        whatever came of that."""
        return self._run_again(dead, None, Amendment())

    def signal(
        self, task_id: str, name: str, payload: Any, sender: str | None = None, key: str | None = None
    ) -> Signalled:
        """Tell a task what it waits for, or will: answer an approval, named by the path or the id of its step, or send
        it an event, by its name. `sender` is the name of an API key; a repeat (for an event: the same `key`) changes
        nothing.

        Raises `InvalidInput` if the payload does not fit, `Forbidden` for a sender who is no approver, `NotFound` if
        the definition waits for no such thing, and `Conflict` if it is answered already, too late, or not clear.
        """
        task = self._store.get(task_id)
        mail, accepted = self._signals.send(task, self.plan(task), name, payload, sender, key)
        return Signalled(self._store.get(task_id), mail, accepted)

    # -- to read -----------------------------------------------------------------------------------------------------

    def get(self, task_id: str) -> Task:
        """A task's record. Raises `NotFound`."""
        return self._store.get(task_id)

    def wait(self, task_id: str, timeout: float, until: Callable[[Task], bool] = lambda task: task.ended) -> Task:
        """The record once the task has ended, or as it is after `timeout` seconds."""
        deadline, pause = time.monotonic() + timeout, 0.005
        while not until(task := self._store.get(task_id)) and time.monotonic() < deadline:
            self._sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(pause * 1.5, 0.25)
        return task

    def tasks(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """A page of tasks, newest first; children of one task in order of their steps and indices."""
        return self._store.list(only, limit, cursor)

    def waits(self, task: Task) -> Sequence[StepRecord]:
        """The steps that wait now, at most 20, in order of the definition."""
        return () if task.ended else list(islice(self._signals.waiting(task.task_id), MAX_WAITS))

    def crew(self, task_id: str, path: str) -> Crew | None:
        """How the children of a step are, as a whole; None if it has none (yet)."""
        try:
            return self._store.crew(task_id, path)
        except NotFound:
            return None

    def form(self, task: Task, name: str) -> Form | None:
        """What a signal of this name is to hold; None for an event, which may hold anything. Raises as `signal`."""
        return self._signals.addressee(task, self.plan(task), name).form

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """A page of a task's steps, in order of the definition."""
        return self._store.steps(task_id, limit, cursor)

    def events(self, task_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """A task's events after the one with this id."""
        return self._store.events(task_id, after, limit)

    def plan(self, task: Task) -> Plan:
        """The compiled definition that a task runs on."""
        return compile_definition(self._store.definition(task.definition))

    def variables(self, task: Task) -> Mapping[str, Any]:
        """A task's variables, secrets hidden; of a part those of the loops around it (`item`, `index`)."""
        values = self._value(task.task_id, task.variables, "variables") or {}
        if task.part:
            return dict(values)
        return variables.replace_secrets(self.plan(task).workflow.variables, values, lambda _: HIDDEN)

    def outputs(self, task: Task) -> Any:
        """A task's outputs; null before it has completed."""
        return self._value(task.task_id, task.outputs, "outputs")

    def output(self, task_id: str, record: StepRecord) -> Any:
        """A step's output."""
        return self._value(task_id, record.output, f"output:{record.path}")

    def ahead(self, task: Task) -> int:
        """How many tasks start before this one; 0 if nobody tells now: the task is accepted all the same."""
        try:
            return self._queue.ahead(task)
        except Unavailable:
            return 0

    def ping(self) -> None:
        """Raises `Unavailable` if the store does not answer."""
        self._store.ping()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _run_again(self, task: Task, from_step: str | None, amendment: Amendment) -> Task:
        check_retry(task, from_step)
        latest = self.catalog.get(task.workflow_id) if amendment.latest else None
        plan = self.plan(task) if latest is None else compile_definition(latest.text)
        reset = steps_to_reset(self._store.steps(task.task_id).items, from_step, plan, task.workflow_id)
        revision = self._revision(task, amendment, latest)
        with self._queue.room() as room:
            again = self._store.retry(task.task_id, reset, task.attempt, revision)
            room.ring(again)
        return again

    def _revision(self, task: Task, amendment: Amendment, latest: Definition | None) -> Revision | None:
        if latest is None and not amendment.variables:
            return None
        values = self._value(task.task_id, task.variables, "variables") or {}
        return self._intake.revision(self.plan(task), values, amendment.variables, latest)

    def _create(self, new: Sequence[NewTask], here: bool) -> list[Task]:
        queue = self._pool if here else self._queue
        with queue.room(len(new)) as room:
            tasks = self._created(new, here)
            for asked, task in zip(new, tasks, strict=True):
                if task.task_id == asked.task_id and task.status is Status.QUEUED:
                    room.ring(task)
        return tasks

    def _created(self, new: Sequence[NewTask], here: bool) -> list[Task]:
        """The tasks in the store. A reply that is lost tells nothing, and the same ids again make no second tasks: so
        it is asked again, for some two seconds."""
        again = Retrying(
            retry=retry_if_exception(_may_be_repeated),
            stop=stop_after_attempt(6) | (stop_after_attempt(2) & stop_after_delay(2)),
            wait=wait_exponential(multiplier=0.05, max=1),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            found = again(self._store.create_many, new, None if here else self._max_queued)
        except (QueueFull, NotDelivered):
            raise
        except Unavailable as error:
            first = new[0].task_id
            message = f"it is not known whether task {first} was created: {error}"
            raise Unavailable(message, retry_after=error.retry_after, task_id=first) from error
        return [task for task, _ in found]

    def _value(self, task_id: str, stored: Stored | None, key: str) -> Any:
        if stored is None:
            return None
        return decode(self._store.value(task_id, key) if isinstance(stored, Apart) else stored)


def _may_be_repeated(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, QueueFull | NotDelivered)
