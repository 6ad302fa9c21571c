"""The protocols between the engine and the outside: stores, queues, files, and what an action sees."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stepwell.task import (
    AuditEntry,
    Crew,
    Error,
    Event,
    Mail,
    NewEvent,
    NewMail,
    NewTask,
    Page,
    Publication,
    Publications,
    Status,
    StepRecord,
    Task,
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a task: its `token` is named in every write. `now` is the store's time of the claim, `mail`
    all that its mailbox holds."""

    task: Task
    token: str
    definition_text: str
    steps: Sequence[StepRecord]
    now: float
    mail: Sequence[Mail] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """What one round trip writes.

    `steps` replace their records by path (those with status `running` announce an attempt). `undoing` allows
    announcements although a cancel was requested. `progress` replaces the task's progress if given.
    """

    steps: Sequence[StepRecord] = ()
    events: Sequence[NewEvent] = ()
    progress: Mapping[str, Any] | None = None
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The store's answer to a commit. `now` is its time. `cancelled`: a cancel was requested, and unless
    `undoing` the announcements of this commit were not written: do not start them."""

    now: float
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Suspension:
    """What a task waits for: the time `due`, mail with an id greater than `mail`, or a publication under one of
    `topics`.

    `positions` says how far each topic has been read: if something came under one since, the task goes on at once. Of a
    topic without a position only what is roused for later wakes it.
    """

    due: float | None = None
    mail: int = 0
    topics: Sequence[str] = ()
    positions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Revision:
    """What a retry by hand changes: the JSON text of the variables, the definition (its hash and text) and whether it
    has something to undo; None leaves it as it was."""

    variables: str | None = None
    definition: str | None = None
    definition_text: str | None = None
    undo: bool | None = None
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer to a renewal: whether the claim is `held` still, and whether a cancel was requested."""

    held: bool
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; None is any. Children are only shown with `parent` (all children of that task, or with
    `place` those of one step of it)."""

    status: Status | None = None
    workflow_id: str | None = None
    queue: str | None = None
    external_id: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    dead: bool | None = None
    parent: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Purged:
    """How many `tasks` went, and the sha256 of those of their `files` that no remaining task refers to, sorted."""

    tasks: int
    files: Sequence[str] = ()


class TaskStore(Protocol):
    """Where tasks, steps and events live. Each call is atomic; times are seconds by the store's own clock.

    Guarded calls name the task and the claim's token, and raise `ClaimLost` if that is not the task's claim
    now. A repeat of a guarded call that was already done (its reply was lost) does nothing and answers again.
    An illegal move of the state machine raises `Conflict`, an unknown task `NotFound`.
    """

    def create(self, new: NewTask, max_queued: int | None = None) -> tuple[Task, bool]:
        """Create a task, `queued` or (delayed) `pending`; the same id or idempotency key again answers the first
        task and False; the same key with another fingerprint raises `Conflict`. Raises `QueueFull` if more than
        `max_queued` tasks would then be queued or pending in its queue."""

    def create_many(self, new: Sequence[NewTask], max_queued: int | None = None) -> list[tuple[Task, bool]]:
        """As `create`, for all of them: nothing is created if one is refused."""

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """Make a queued task `running` under this token; None if it cannot be claimed (any more). A child is looked at
        together with its ancestors, as `lifecycle.disowned` says; so it is in `commit` and `renew`."""

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        """Guarded: write step records and events; an ended step among them sets `crashes` to 0."""

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        """Guarded: commit, and end the task as `completed`, `failed` or `cancelled`."""

    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        """Guarded: commit, and make the task `waiting` for `pause` seconds before it is retried: `attempt` and
        `retry_count` grow by one, `error` tells why, the claim ends."""

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        """Guarded: commit, and make the task `waiting` for what the suspension names, or `queued` if that has come or a
        cancel was requested (unless `undoing`); nothing is counted, the claim ends, an earlier `error` goes. It wakes
        once."""

    def send(self, task_id: str, mail: NewMail) -> tuple[Mail, bool]:
        """Put a message into the mailbox of a task that has not ended, and queue it if `lifecycle.listens`; answers it,
        or the first one of which it is a repeat, and whether it is new. Raises `Conflict` if the task has ended, if
        `mail` comes too late, if another one stands under its name (`once`), or if the mailbox holds
        `lifecycle.MAX_MAIL`."""

    def mailbox(self, task_id: str, after: int = 0) -> Sequence[Mail]:
        """The mail of a task with an id greater than `after`, oldest first."""

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        """Guarded: create up to 1000 children of the step at `path`, and answer their crew as it is then.

        The first call of a round makes the crew, or begins it again (`lifecycle.recrewed`). Each child is `queued` or,
        beyond `at_once`, `pending` until another one has ended, in order of their indices. One that exists stays as it
        is, unless it ended as `failed` or `cancelled` in an earlier round: it is retried, its `attempt` the round, with
        the variables, definition, `undo` and files that it is given now, as a `Revision` changes them. In a closed
        crew, and after a cancel (unless `undoing`), nothing is created. When the crew is over, once for each round, the
        parent gets mail named `lifecycle.crew_mail(path)` whose payload is the round."""

    def crew(self, task_id: str, path: str) -> Crew:
        """The crew of a step; raises `NotFound` if it has none."""

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        """Close the crew of a step, or all crews of a task, and cancel up to 1000 children that have not ended and are
        not cancelled yet, running ones by force; answers them, so nothing when there is nothing left to cancel. Those
        that are made `queued` to undo are rung for, as `rings_with` says."""

    def publish(
        self, name: str, payload: str, topics: Sequence[str], key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """Append a publication to the log; the same `key` again answers the first one and False. The name is one of
        the `topics`, and all of them begin with it."""

    def published(self, topic: str, after: str | None = None, since: float = 0.0, limit: int = 100) -> Publications:
        """Publications with a topic from the position `after` on (None: from the first that is kept) that are not older
        than the time `since`; others cost nothing."""

    def undelivered(self, group: str, consumer: str, limit: int = 100) -> Sequence[Publication]:
        """The next publications for a group of consumers, oldest first: each for one of them, until it has said
        `delivered`, or has not for 30 seconds. Each group gets all that was published since the store was made."""

    def delivered(self, group: str, publication: Publication, received: int = 0) -> None:
        """A group has done its work for a publication, which so many tasks received; a repeat changes nothing."""

    def rouse(self, publication: Publication) -> list[Task]:
        """Make tasks `queued` that wait for one of the topics of a publication and have not read it there yet, and
        answer them (at most 1000 a call)."""

    def publications(self) -> Mapping[str, Mapping[str, int]]:
        """For each name: `published` and `received` in all, and how many tasks listen now for it or for a topic of it,
        `listening`; kept as counters."""

    def release(self, task_id: str, token: str, commit: Commit, pause: float = 0.0) -> Task:
        """Guarded: commit, and hand the task back: `queued` (`waiting`, for a `pause` in seconds), nothing counted,
        the claim ends."""

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """Extend the leases of these tasks (id → token), also expired ones that nobody took yet."""

    def reap(self, grace: bool = False) -> list[Task]:
        """Take running tasks whose lease is over from their workers, as `lifecycle.lost` says (at most 1000 a call),
        and answer them; with `grace` only give them a new lease."""

    def lose(self, worker: str, crashed: bool = True) -> list[Task]:
        """Take all running tasks from a worker that is known to be dead, without waiting for their leases, and answer
        them: as `reap` does, or handed back without a crash counted."""

    def wake(self) -> list[Task]:
        """Make pending and waiting tasks that are due `queued` and answer them (at most 1000 a call)."""

    def due_in(self) -> float | None:
        """Seconds until the next pending or waiting task is due (0 if one is); None if there is none."""

    def queued(self, older_than: float, line: tuple[str, int] | None = None) -> list[Task]:
        """Up to 1000 tasks that have been `queued` for so many seconds, oldest first, for ringing again: of one line
        (queue and priority), or of all."""

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """Cancel a task: at once where nothing runs and nothing is to be undone; otherwise note the request (and
        queue it again if it waits). A repeat changes nothing. Raises `Conflict` for a running one unless `force`, and
        for one that ended otherwise."""

    def retry(self, task_id: str, reset: Iterable[str], attempt: int, revision: Revision | None = None) -> Task:
        """Queue an ended task again with `attempt` one more, the records of these paths `pending` again and their mail
        gone. Raises `Conflict` unless the task is at this `attempt` still, and for a child."""

    def discard(self, task_id: str) -> Task:
        """Take a failed task out of the dead letters; its record stays."""

    def get(self, task_id: str) -> Task:
        """The task's record."""

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """A page of tasks, newest first; children of one task by the place of their step and their index."""

    def step(self, task_id: str, path: str) -> StepRecord:
        """The record of one step; raises `NotFound` if it has none."""

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """A page of step records in order of the definition; all of them without a limit."""

    def events(self, task_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """Events with an id greater than `after`, oldest first."""

    def value(self, task_id: str, key: str) -> str:
        """The JSON text of a value stored apart: `variables`, `outputs`, or `output:<step path>`."""

    def definition(self, definition: str) -> str:
        """The snapshot with this hash."""

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Per queue all of `lifecycle.COUNTERS`; kept as counters, without scans."""

    def ages(self) -> Mapping[str, float]:
        """Per queue with queued tasks: for how many seconds the oldest of them has been `queued`."""

    def pace(self) -> Mapping[str, Mapping[str, int]]:
        """Per queue: how many tasks ended as `completed`, `failed` and `cancelled` in the last five whole minutes."""

    def pause(self, queue: str) -> None:
        """Let no task of a queue be claimed until `resume`; they wait, and can be created and cancelled."""

    def resume(self, queue: str) -> None:
        """Let tasks of a queue be claimed again."""

    def paused(self) -> Set[str]:
        """The queues that are paused."""

    def spend(self, account: str, amount: int, limit: int, period: float) -> float:
        """Count `amount` towards `limit` in the current period (of so many seconds, counted from 1970), all or
        nothing: answers 0, or if it is too much the seconds until the period ends."""

    def note(self, entry: AuditEntry) -> None:
        """Append to the audit log; the newest 100,000 entries are kept."""

    def audit(self, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """A page of the audit log, newest first."""

    def purge(self, older_than: float, limit: int = 1000) -> Purged:
        """Remove up to `limit` tasks that ended more than so many seconds ago, with all that belongs to them, and
        definitions that no task refers to, and publications that are older. Children go with their root task only, and
        count; a root goes after the last of them. Files are only named: removing them is the caller's."""

    def unused(self, sha256s: Iterable[str]) -> Sequence[str]:
        """Those of these files that no task refers to, in this order. A task refers to the files in its variables
        and to all that its steps ever kept, until it is purged."""

    def rings_with(self, ring: Callable[[Task], None]) -> None:
        """Call this, after the write, for each task that `spawn`, `send`, `suspend` or `cancel_children` made
        `queued`, and for each sibling or parent that the end of a child did; whoever calls the others rings for what
        they answer. A store whose scripts ring by themselves need not. An `Unavailable` of it is logged: a sweeper
        rings again."""

    def now(self) -> float:
        """The store's time."""

    def ping(self) -> None:
        """Raise `Unavailable` if the store does not answer."""

    def close(self) -> None:
        """Give back connections."""


class Room(Protocol):
    """Places in a queue that were reserved for tasks."""

    def ring(self, task: Task) -> None:
        """As `Queue.ring`, in one of these places."""


class Queue(Protocol):
    """Rings for tasks; the store holds the truth, so a bell that is lost or rung twice harms nothing."""

    def room(self, count: int = 1) -> AbstractContextManager[Room]:
        """Reserve room for so many tasks, for the time of a `with`, at whose end what was not used is given back;
        raises `QueueFull` if there is none."""

    def ring(self, task: Task) -> None:
        """A task has become `queued`: have it run by whoever serves its queue, by priority, first in first out within
        one; a second bell for one that waits does nothing. There is always room for a task that was accepted before.
        Raises `Unavailable` if the bell may be lost. Where the store rings by itself this does nothing."""

    def remove(self, task_id: str) -> None:
        """Ring no more for a task that was cancelled before it ran."""

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """How many bells wait for each queue and priority; more than tasks, if some rang twice."""

    def ring_again(self, tasks: Sequence[Task]) -> int:
        """Ring for those of these queued tasks whose bell was lost; answers for how many."""

    def ahead(self, task: Task) -> int:
        """How many tasks will start before this one."""

    def stats(self) -> Mapping[str, Any]:
        """`current_processing`, `queue_size`, `max_workers`, `max_queue_size`, `is_running`."""

    def workers(self) -> Sequence[WorkerView]:
        """The workers that are alive, by name."""


class Feed(Protocol):
    """Where a work-horse takes tasks from: the queues that it serves."""

    def take(self, token: str, worker: str) -> Claim | None:
        """Claim the next task, by priority, then first in first out; None if there is none now."""

    def wait(self, seconds: float) -> None:
        """Return when there may be a task to take, at the latest after so many seconds."""

    def ended(self, task: Task, token: str) -> None:
        """A claim that was taken here has ended, and this is what became of the task."""


@dataclass(frozen=True, slots=True)
class HorseView:
    """A work-horse as others see it: `state` is `idle` or `busy`; `since` when it began what it does."""

    name: str
    pid: int
    state: str
    since: float
    task_id: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as others see it: `state` is `running`, `draining` or `suspended`; times by the store's clock."""

    name: str
    host: str
    pid: int
    state: str
    queues: Sequence[str]
    started_at: float
    heartbeat_at: float
    horses: Sequence[HorseView] = ()


class FileStore(Protocol):
    """Where files of steps and uploads live, by content: a file's `sha256` is its name."""

    def put(self, source: Path) -> Mapping[str, Any]:
        """Keep a file; answers `{size, sha256}`. Content that is there already counts as put now."""

    def fetch(self, sha256: str, target: Path) -> None:
        """Write a kept file to `target`; raises `NotFound`."""

    def remove(self, sha256: str, unless_newer_than: float = 0.0) -> None:
        """Forget a file, unless it was put within so many seconds; nothing happens if there is none."""

    def old(self, prefix: str, seconds: float) -> Sequence[str]:
        """The sha256 of the files that begin with these two digits and were put longer ago than so many seconds."""

    def clear_incoming(self, seconds: float) -> None:
        """Remove what a `put` that was cut short left longer ago than so many seconds."""


class Context(Protocol):
    """What an action is given besides its inputs.

    `path` names the step within the task; `attempt` counts from 1; `idempotency_key` stays the same over all
    attempts of this step and item, until one has completed. `work_folder` is this attempt's own and is gone afterwards.
    `secrets` maps the names that the step may read to their values.
    """

    task_id: str
    step_id: str | None
    path: str
    attempt: int
    idempotency_key: str
    logger: logging.LoggerAdapter[logging.Logger]
    secrets: Mapping[str, str]

    @property
    def work_folder(self) -> Path:
        """The folder of this attempt."""

    @property
    def cancelled(self) -> bool:
        """Whether the action should stop: its task was cancelled or its time is over."""

    def mask(self, text: str) -> str:
        """The text without secrets."""

    def emit(self, name: str, payload: Any = None) -> str:
        """Publish an event by name, and answer its id. The n-th one of a step is published once, however often the
        step is attempted. Raises `Fail` for a name or payload that does not fit."""

    def progress(
        self,
        *,
        percent: float | None = None,
        stage: str | None = None,
        message: str | None = None,
        filename: str | None = None,
        current_bytes: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        """Report how far it is; what is left out stays as it was. Cheap: written at most five times a second."""
