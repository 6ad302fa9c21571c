"""The callers' side of the store: submit, cancel, retry, get, list."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_exponential

from stepwell import variables
from stepwell.errors import FieldProblem, InvalidInput, NotDelivered, NotFound, QueueFull, Unavailable
from stepwell.lifecycle import to_reset
from stepwell.loader import Catalog, Definition
from stepwell.plan import Plan, compile_definition, downstream
from stepwell.ports import Queue, TaskFilter, TaskStore
from stepwell.secrets import Cipher
from stepwell.service.submission import Defaults, Intake, Submission
from stepwell.task import Apart, Event, NewTask, Page, Status, StepRecord, Stored, Task
from stepwell.values import decode

HIDDEN = "***"
"""What is shown in place of a secret."""


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

    def retry(self, task_id: str, from_step: str | None = None) -> Task:
        """Run an ended task again, from what failed, or from a step and all that comes after it."""
        return self._run_again(self._store.get(task_id), from_step)

    def requeue(self, dead: Task) -> Task:
        """Run a dead letter again, from what failed. Raises `Conflict` if somebody did since this record was read,
        whatever came of that."""
        return self._run_again(dead, None)

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
        """A page of tasks, newest first."""
        return self._store.list(only, limit, cursor)

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
        """A task's variables, secrets hidden."""
        values = self._value(task.task_id, task.variables, "variables") or {}
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

    def _run_again(self, task: Task, from_step: str | None) -> Task:
        reset = self._to_reset(task, from_step)
        with self._queue.room() as room:
            again = self._store.retry(task.task_id, reset, task.attempt)
            room.ring(again)
        return again

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

    def _to_reset(self, task: Task, from_step: str | None) -> Sequence[str]:
        """The paths of the steps that a retry begins afresh."""
        records = self._store.steps(task.task_id).items
        if from_step is None:
            return to_reset(records)
        known = {record.path for record in records}
        path = from_step if from_step in known else _path_of(from_step, records)
        return to_reset(records, downstream(self.plan(task), path))

    def _value(self, task_id: str, stored: Stored | None, key: str) -> Any:
        if stored is None:
            return None
        return decode(self._store.value(task_id, key) if isinstance(stored, Apart) else stored)


def _may_be_repeated(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, QueueFull | NotDelivered)


def _path_of(step_id: str, records: Sequence[StepRecord]) -> str:
    """The path of the step with this id. Raises `NotFound`, and `InvalidInput` if it is ambiguous."""
    paths = [record.path for record in records if record.id == step_id and "[" not in record.path.rpartition("/")[2]]
    if not paths:
        raise NotFound("step", step_id, [record.id or record.path for record in records])
    if len(paths) > 1:
        message = f"{step_id!r} ran in several places, name one: {', '.join(paths[:5])}"
        raise InvalidInput([FieldProblem("from_step", message)])
    return paths[0]
