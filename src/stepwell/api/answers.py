"""The shapes of answers, as the OpenAPI document shows them. Times are ISO 8601 in UTC, durations seconds."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from stepwell.task import Status, StepStatus

T = TypeVar("T")

TASK_ID = "0199a5c2-8f40-7a31-b1f4-6f6d1c2e9a10"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

WaitKind = Literal["time", "event", "approval", "children"]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-21T09:30:00.125Z"])]
TaskId = Annotated[str, Field(description="A UUID of version 7.", examples=[TASK_ID])]


class Answer(BaseModel):
    """Every answer; fields that do not apply are left out where they have a default."""

    model_config = ConfigDict(extra="forbid")


class Listing(Answer, Generic[T]):
    """A page of a list."""

    items: list[T]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page; null at the end.")


class Error(Answer):
    """Why an attempt, a step or a task failed."""

    code: str = Field(examples=["step_failed"])
    message: str = Field(examples=["the shop answered 500"])
    step: str | None = Field(examples=["fetch"])
    path: str | None = Field(examples=["fetch"])
    attempt: int | None = Field(examples=[1])
    retryable: bool
    status: int | None = Field(description="The HTTP status, where there is one.", examples=[500])


class Progress(Answer):
    """How far a task is: what its actions reported, else what the steps tell."""

    status: Status
    stage: str | None = Field(description="What was reported, else the step that runs.", examples=["download"])
    progress_percent: float | None = Field(
        ge=0, le=100, description="Null where nothing was reported and the steps do not tell.", examples=[45.5]
    )
    message: str | None
    filename: str | None
    current_bytes: int
    total_bytes: int
    speed: float = Field(description="Bytes a second.")
    eta_seconds: float = Field(description="Seconds that are left; 0 if that is not known.")
    error: str | None


class Result(Answer):
    """What became of a task."""

    workflow_id: str
    status: Status
    variables: dict[str, Any] = Field(description="With defaults filled in; secrets are hidden.")
    outputs: Any = Field(description="By name; of a child task that runs one step the output of that: any JSON.")


class Waiting(Answer):
    """Something that a task waits for now."""

    path: str = Field(description="The path of the step.", examples=["release"])
    kind: WaitKind
    name: str | None = Field(description="What to send a signal to; null where none is waited for.")
    message: str | None = Field(description="What is asked, of an approval.", examples=["Publish version 2?"])
    due: Time | None = Field(description="When it ends by itself.")
    children: Children | None = Field(default=None, description="Of a step that runs as child tasks.")


class Children(Answer):
    """The child tasks of one step, as a whole."""

    total: int
    active: int = Field(description="How many are queued, running or waiting.")
    completed: int
    failed: int = Field(description="How many have failed or were cancelled.")


class Wait(Answer):
    """What a step waits for, or has waited for; null stands for what a wait of this kind does not have."""

    kind: WaitKind
    due: Time | None = Field(description="When it ends by itself: its time, or its time limit.")
    event: str | None = Field(description="The name of the event.")
    message: str | None = Field(description="What is asked, of an approval.")
    form: dict[str, Any] | None = Field(description="The JSON Schema of the answer to an approval.")
    fields: dict[str, Any] | None = Field(description="The same as the workflow declares it: name → type, ….")
    approvers: list[str] | None = Field(description="The names of the API keys that may approve; null: any.")
    total: int | None = Field(description="How many child tasks.")
    by: str | None = Field(description="The API key that answered, or sent the event; null on a server without keys.")
    children: Children | None = Field(default=None, description="How these are, while the step waits for them.")


class TaskSummary(Answer):
    """A task as lists show it."""

    task_id: TaskId
    type: str = Field(description="The task's queue.", examples=["workflow_execute"])
    workflow_id: str = Field(examples=["my_workflow"])
    status: Status
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    updated_at: Time
    error: Error | None
    retry_count: int
    max_retries: int
    queue: str = Field(examples=["workflow_execute"])
    priority: Literal["low", "normal", "high", "urgent"]
    external_id: str | None
    labels: dict[str, str]
    progress: Progress
    wake_at: Time | None = Field(default=None, description="When a task that is pending or waits is due by itself.")
    parent_id: str | None = Field(default=None, description="Of a child: the task that it was made by.")
    root_id: str | None = Field(default=None, description="Of a child: the outermost of the tasks around it.")
    place: str | None = Field(default=None, description="Of a child: the path of the parent's step that it runs.")
    index: int | None = Field(default=None, description="Of a child: its number among those of that step, from 0.")


class Task(TaskSummary):
    """A task with its result."""

    result: Result | None = Field(description="Null until the task has ended.")
    waiting_for: list[Waiting] = Field(default=[], description="What it waits for now, at most 20.")


class Executed(Task):
    """A task that ran inline and has ended."""

    message: str = Field(examples=["my_workflow completed"])
    degraded: bool = Field(
        default=False, description="True where `async_execute` was asked for, and this process runs the task."
    )
    reason: str = Field(default="", description="Why it is degraded.")


class Accepted(Answer):
    """A task that has not ended: it is queued, starts later, or waits."""

    task_id: TaskId
    status: Status = Field(examples=["queued"])
    message: str = Field(examples=["queued; 5 tasks are ahead"])
    workflow_id: str = Field(examples=["my_workflow"])
    queue: str = Field(examples=["workflow_execute"])
    priority: Literal["low", "normal", "high", "urgent"] = Field(examples=["normal"])
    ahead: int = Field(description="How many tasks start before this one.", examples=[5])
    degraded: bool = Field(
        default=False, description="True where `async_execute` was asked for, and this process runs the task."
    )
    reason: str = Field(default="", description="Why it is degraded.")
    waiting_for: list[Waiting] = Field(default=[], description="What it waits for now, at most 20.")


class Signalled(Answer):
    """A signal that a task has."""

    task_id: TaskId
    name: str = Field(description="The path of the approval's step, or the event's name.", examples=["release"])
    accepted: bool = Field(description="False: it had come before, and this repeat changed nothing.")
    status: Status = Field(description="That of the task since.", examples=["queued"])


class Batch(Answer):
    """The tasks of a batch, in the order of its items."""

    items: list[Accepted]


class TaskStatus(Answer):
    """The small form of a task."""

    task_id: TaskId
    state: Status
    progress: float | None = Field(ge=0, le=100, description="Percent; null if that is not known.", examples=[45.5])
    estimated_time: float | None = Field(description="Seconds that are left; null if that is not known.")
    error_details: Error | None
    updated_at: Time


class Attempt(Answer):
    """One attempt of a step."""

    number: int
    started_at: Time
    completed_at: Time | None
    worker: str
    error: Error | None


class Step(Answer):
    """One step, item or round of a task."""

    id: str | None
    path: str = Field(description="`group/step`, `each[3]/step`, …", examples=["each[3]/fetch"])
    kind: str = Field(examples=["call"])
    status: StepStatus
    attempts: int
    started_at: Time | None
    completed_at: Time | None
    inputs: Any = Field(description="Secrets are hidden.")
    output: Any
    error: Error | None
    failures: list[Any] = Field(description="Of a `foreach`: the items that failed.")
    files: dict[str, Any] = Field(description="Relative path → `{size, sha256}`.")
    history: list[Attempt]
    wait: Wait | None = Field(default=None, description="What it waits for, or has waited for.")
    winner: str | None = Field(default=None, description="Of a `race`: the step that won.")


class LogLine(Answer):
    """A line that a step logged; `id` is that of its event."""

    id: int
    at: Time
    path: str | None
    attempt: int | None
    level: str = Field(examples=["info"])
    message: str


class Event(Answer):
    """A fact about a task."""

    id: int
    at: Time
    kind: str = Field(examples=["step.completed"])
    path: str | None
    data: dict[str, Any]


class KeptFile(Answer):
    """A file that a step kept."""

    step: str = Field(description="The step's path.", examples=["archive"])
    path: str = Field(description="The file's path in the work folder.", examples=["orders.csv"])
    size: int = Field(description="Bytes.")
    sha256: str = Field(examples=[SHA256])
    url: str = Field(description="Where it can be downloaded.")


class Upload(Answer):
    """An uploaded file, as a variable of type `file` takes it."""

    sha256: str = Field(examples=[SHA256])
    name: str | None = Field(examples=["orders.csv"])
    size: int = Field(description="Bytes.", examples=[1024])


class DefinitionProblem(Answer):
    """One thing that is wrong with a workflow; `line` and `column` count from 1."""

    message: str = Field(examples=["unknown step 'fech' (did you mean 'fetch'?)"])
    file: str
    line: int
    column: int
    source: str = Field(description="The line as it is.")
    corrected: str | None = Field(description="The line as it should be, where that is known.")


class WorkflowSummary(Answer):
    """A workflow of the catalog; a file that does not load has `valid: false` and its problems."""

    id: str = Field(examples=["my_workflow"])
    name: str | None
    description: str
    file: str
    valid: bool
    queue: str | None
    priority: str | int | None
    labels: dict[str, str]
    problems: list[DefinitionProblem]


class GraphNode(Answer):
    """A step of the definition."""

    path: str = Field(description="As in the task's steps, without numbers of items.")
    id: str | None
    name: str | None
    kind: str
    parent: str | None = Field(description="The path of the step around it.")
    block: str = Field(description="The list it stands in: `steps`, `case 1`, `on_failure`, `finally`, …")


class GraphEdge(Answer):
    """The step `target` starts after the step `source`."""

    source: str
    target: str


class Graph(Answer):
    """The steps of a workflow and their order."""

    nodes: list[GraphNode]
    edges: list[GraphEdge]


class Workflow(WorkflowSummary):
    """A workflow with all that is known of it; null stands for what a broken file does not tell."""

    definition: dict[str, Any] | None
    source: str | None
    hash: str | None
    graph: Graph | None
    variables_schema: dict[str, Any] | None = Field(description="The JSON Schema of its variables.")


class Validation(Answer):
    """Whether a text is a workflow."""

    valid: bool
    problems: list[DefinitionProblem]


class ByPriority(Answer):
    """Queued tasks by priority."""

    urgent: int
    high: int
    normal: int
    low: int


class QueueStatistics(Answer):
    """The tasks of one queue: how many there are now, and how many there ever were."""

    queue_length: int
    running: int
    delayed: int = Field(description="Created for later.")
    waiting: int = Field(description="Begun, and asleep: before a retry, or for an event.")
    dead_letters: int
    by_priority: ByPriority
    oldest_seconds: float | None = Field(description="How long the oldest queued task has waited; null without one.")
    paused: bool
    ended_per_minute: float = Field(description="Over the last five minutes.")
    failure_rate: float | None = Field(description="The share that failed of these, 0 to 1; null if none ended.")
    total_created: int
    total_completed: int
    total_failed: int
    total_timeout: int
    total_cancelled: int
    total_retried: int


class Statistics(Answer):
    """All queues, and those who work them off: workers, or without a queue the pool of this process."""

    enabled: bool = Field(description="Whether tasks go to workers.")
    queues: dict[str, QueueStatistics]
    total_published: int
    total_processed: int
    total_success: int
    total_failed: int
    total_timeout: int
    total_retried: int
    dead_letters: int
    current_processing: int
    queue_size: int
    max_workers: int
    max_queue_size: int
    is_running: bool


class Horse(Answer):
    """A work-horse."""

    name: str
    pid: int
    state: str = Field(examples=["busy"])
    since: Time
    task_id: str | None
    step: str | None = Field(description="The path of the step that runs.")


class Worker(Answer):
    """One `run_worker.py`."""

    name: str
    host: str
    pid: int
    state: str = Field(examples=["running"])
    queues: list[str]
    started_at: Time
    heartbeat_at: Time
    horses: list[Horse]


class Changed(Answer):
    """To how many tasks it was done."""

    tasks: int


class QueueState(Answer):
    """Whether a queue is paused."""

    queue: str
    paused: bool


class Health(Answer):
    """The process lives."""

    status: Literal["ok"]
    version: str
    degraded: str | None = Field(description="Why tasks run in this process instead of workers; null if they do not.")


class Ready(Answer):
    """The process can take work."""

    status: Literal["ready"]


class FieldError(Answer):
    """One field that does not fit."""

    field: str = Field(examples=["variables.day"])
    message: str = Field(examples=["is required"])


class Problem(Answer):
    """What went wrong, as RFC 9457 has it."""

    type: str = Field(examples=["urn:stepwell:problem:not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["unknown workflow 'my_workflw' (did you mean 'my_workflow'?)"])
    instance: str = Field(examples=["/api/workflows/my_workflw"])
    errors: list[FieldError] = Field(default=[], description="With 422: every field that does not fit.")
    problems: list[DefinitionProblem] = Field(default=[], description="Of a broken workflow: every problem.")
    task_status: Status | None = Field(default=None, description="With 409: the state that the task is in.")
    task_id: str | None = Field(default=None, description="With 503: the task that may have been made all the same.")
