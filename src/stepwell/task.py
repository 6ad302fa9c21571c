"""The frozen records of a task: what the store keeps and every other part reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

T = TypeVar("T")

FORMAT = 1
"""The version of these records; a process hands back a task whose format it does not know."""


class Status(StrEnum):
    """The states of a task; the moves between them stand in `lifecycle`."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    """The states of a step."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
STEP_ENDED = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.CANCELLED})


@dataclass(frozen=True, slots=True)
class Apart:
    """Stands for a value that is stored apart because it is large; `TaskStore.value` reads it. `size` in bytes."""

    size: int


Stored = str | Apart
"""JSON text, or the mark of one that is stored apart."""


@dataclass(frozen=True, slots=True)
class Error:
    """Why an attempt, a step or a task failed. `status` is the HTTP status where there is one."""

    code: str
    message: str
    step: str | None = None
    path: str | None = None
    attempt: int | None = None
    retryable: bool = True
    status: int | None = None
    retry_after: float | None = None
    traceback: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The form in which API, expressions and records show it."""
        return {
            "code": self.code,
            "message": self.message,
            "step": self.step,
            "path": self.path,
            "attempt": self.attempt,
            "retryable": self.retryable,
            "status": self.status,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a step. Times are seconds since 1970 by the store's clock."""

    number: int
    started_at: float
    worker: str
    completed_at: float | None = None
    error: Error | None = None


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step, item or round of a task.

    `path` names it within the task (`group/step`, `each[3]/step`); sorting by `position` gives the order of
    the definition. `inputs` are masked, for people. `attempts` counts all there were, `tries` those since the
    step was last begun afresh (retries count against it). `tolerated`: it failed and that was accepted
    (`on_error: continue`). `stopped`: it ended the whole task on purpose, as `{status, message}`. `started_at` is
    the time of its first announcement, and its `now()`. `wait`: what it waits for, of a step that waits or has
    waited: `{kind: time | event | approval | children, due, …}`. `winner`: the racer that won, of a `race`.
    `ran_before`: for how long the task had run when the current try of a group began.
    """

    path: str
    position: str
    status: StepStatus
    kind: str
    id: str | None = None
    attempts: int = 0
    tries: int = 0
    started_at: float | None = None
    completed_at: float | None = None
    inputs: str | None = None
    output: Stored | None = None
    error: Error | None = None
    tolerated: bool = False
    stopped: Mapping[str, str] | None = None
    failures: Sequence[Mapping[str, Any]] = ()
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    history: tuple[Attempt, ...] = ()
    wait: Mapping[str, Any] | None = None
    winner: str | None = None
    ran_before: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it never runs again by itself."""
        return self.status in STEP_ENDED


@dataclass(frozen=True, slots=True)
class Task:
    """One execution of a workflow.

    `definition` is the hash of the snapshot it runs on. `priority` is 0 to 3. Times are seconds since 1970 by
    the store's clock, `timeout` and `ran_for` seconds of running time. `attempt` counts from 1 and grows with
    each retry of the task, by itself (`retry_count`) or by hand. `crashes` counts lost workers since the last
    committed step. `undo`: the definition has steps to run when it is cancelled. `wake_at`: when a pending or
    waiting task is due. `dead`: it failed for good and is in the dead letters of its queue. `fingerprint` is a
    digest of the request, where it came with an idempotency key.

    A child task has `ancestors`, the root task first and its parent last; `place` is the path of the parent's step
    that it was made for, `index` its number among the children of that step. `part`: it runs that step itself, of the
    parent's definition, and its `variables` hold the names of the loops around it (`item`, `index`); otherwise it
    runs a workflow of its own. `undoing`: it goes on although an ancestor was cancelled, as it is made to undo.
    """

    task_id: str
    workflow_id: str
    definition: str
    status: Status
    queue: str
    priority: int
    variables: Stored
    created_at: float
    updated_at: float
    timeout: float
    max_retries: int
    started_at: float | None = None
    completed_at: float | None = None
    wake_at: float | None = None
    ran_for: float = 0.0
    attempt: int = 1
    retry_count: int = 0
    crashes: int = 0
    undo: bool = False
    cancel_requested: bool = False
    worker: str | None = None
    outputs: Stored | None = None
    error: Error | None = None
    progress: Mapping[str, Any] | None = None
    dead: bool = False
    external_id: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    trigger: Mapping[str, Any] = field(default_factory=dict)
    ancestors: tuple[str, ...] = ()
    place: str | None = None
    index: int | None = None
    part: bool = False
    undoing: bool = False
    format: int = FORMAT

    @property
    def ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status in ENDED

    @property
    def parent(self) -> str | None:
        """The task that it is a child of."""
        return self.ancestors[-1] if self.ancestors else None


@dataclass(frozen=True, slots=True)
class NewTask:
    """What a caller asks the store to create.

    `definition_text` is the snapshot, `definition` its hash, `files` the sha256 of the files in its variables.
    `fingerprint` is a digest of workflow and variables: another one under the same idempotency key is another
    request. Without `bell` no worker is rung for: whoever creates it has it run in its own process. `ancestors`,
    `place`, `index`, `part` and `undoing` as in `Task`; `attempt` is what a child's first attempt counts as.
    """

    task_id: str
    workflow_id: str
    definition: str
    definition_text: str
    queue: str
    priority: int
    variables: str
    timeout: float
    max_retries: int
    undo: bool = False
    delay: float = 0.0
    run_at: float | None = None
    external_id: str | None = None
    idempotency_key: str | None = None
    fingerprint: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    trigger: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    bell: bool = True
    ancestors: tuple[str, ...] = ()
    place: str | None = None
    index: int | None = None
    part: bool = False
    undoing: bool = False
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Crew:
    """The child tasks of one step, as a whole: `total` of them, of which `at_once` may be queued or running.

    More than `allowed` failed ones, or `wanted` completed ones, close it: then no further one starts. `round` is the
    try of the step that it was made, or made again, for. Of its children `active` are queued, running or waiting.
    """

    total: int
    at_once: int
    allowed: int
    wanted: int
    round: int = 1
    active: int = 0
    completed: int = 0
    failed: int = 0
    closed: bool = False

    @property
    def over(self) -> bool:
        """Whether nothing of it goes on, or will."""
        return self.active == 0 and (self.closed or self.completed + self.failed >= self.total)


@dataclass(frozen=True, slots=True)
class NewMail:
    """A message to one task. `payload` is JSON text, `sender` the name of an API key.

    The same `key` again, or with `once` the same payload from the same sender, is a repeat and changes nothing; with
    `once` another payload under the same name is refused. After `until` (the store's time) it comes too late.
    """

    name: str
    payload: str
    sender: str | None = None
    key: str | None = None
    once: bool = False
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """A message in the mailbox of a task; `id` counts from 1 within it."""

    id: int
    name: str
    payload: str
    sent_at: float
    sender: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """An event that was published for all who wait for its `name`. `id` is opaque; `payload` is JSON text.

    `topics` are what listeners may have subscribed to: the name alone, or the name with a field and its value.
    """

    id: str
    name: str
    payload: str
    published_at: float
    topics: tuple[str, ...] = ()
    sender: str | None = None


@dataclass(frozen=True, slots=True)
class Publications:
    """Publications of one topic, oldest first; `position` is where to go on reading: where nothing more came, the end
    of the log."""

    items: Sequence[Publication]
    position: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A fact to append to a task's events."""

    kind: str
    path: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """A fact about a task, appended once, never changed. `id` grows within the task; `at` is the store's time."""

    id: int
    task_id: str
    at: float
    kind: str
    path: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what: `actor` is the name of an API key, `action` what was asked for (`task.cancel`), `target` the id
    of a task, or the name of a workflow or queue, `outcome` the HTTP status. The store sets `at`, its time."""

    actor: str
    role: str
    action: str
    target: str
    outcome: int
    detail: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list; `next_cursor` asks for the one after it, None at the end."""

    items: Sequence[T]
    next_cursor: str | None = None
