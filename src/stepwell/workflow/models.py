"""The workflow language as pydantic models: what a YAML file says, before anything is compiled or run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stepwell.workflow.fields import (
    EVENT,
    QUEUE,
    Condition,
    Count,
    Duration,
    EventName,
    Filled,
    Identifier,
    Moment,
    PriorityName,
    QueueName,
    Share,
    VariableType,
    WorkflowId,
)
from stepwell.workflow.identifiers import DOTTED

RESERVED_IDS = frozenset({"tasks", "queue", "workers", "schedules", "validate"})
"""Workflow ids that the HTTP API needs for itself."""

KINDS = ("uses", "call", "run", "steps", "parallel", "switch", "race", "wait", "workflow")
"""The keys of which a step has exactly one; a step with none of them is a pure value and has `output`."""

UNSUPPORTED_STEP_KEYS = frozenset({"cache", "concurrency", "rate_limit"})
UNSUPPORTED_WORKFLOW_KEYS = frozenset({"concurrency", "notify", "tests"})
UNSUPPORTED_TRIGGER_KEYS = frozenset({"cron", "timezone", "catch_up", "overlap", "jitter", "webhook"})
"""Keys of the language that this version refuses by name, rather than half do."""


def _type_or_variable(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _number_or_retry(value: object) -> object:
    return {"max_retries": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _items_or_foreach(value: object) -> object:
    return {"in": value} if isinstance(value, str | list) else value


class Model(BaseModel):
    """Every part of the language: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, coerce_numbers_to_str=False)


class Variable(Model):
    """A typed input of a workflow."""

    type: VariableType
    items: VariableSpec | None = Field(None, description="The type of a list's items.")
    fields: dict[str, VariableSpec] | None = Field(None, description="The fields of an object.")
    enum: list[Any] | None = Field(None, min_length=1, description="The values that are allowed.")
    required: bool = False
    default: Any = None
    min: float | str | None = Field(None, description="The least value, or the least length of a string or list.")
    max: float | str | None = Field(None, description="The greatest value, or the greatest length of a string or list.")
    pattern: str | None = Field(None, description="A regular expression that a string must match.")
    description: str = ""


VariableSpec = Annotated[Variable, BeforeValidator(_type_or_variable, json_schema_input_type=VariableType | Variable)]


class Retry(Model):
    """How often and at what pace a failed step is tried again."""

    max_retries: Count = Field(3, description="How many times at most after the first attempt.")
    delay: Duration = Field("1s", description="The pause before the first retry.")
    backoff: float = Field(2, ge=1, description="The factor by which each further pause grows.")
    max_delay: Duration = Field("1m", description="The longest pause.")
    jitter: bool = Field(True, description="Whether pauses are varied, so that many tasks do not retry at once.")
    if_: Condition | None = Field(None, alias="if", description="Retry only if this holds; it sees `error`.")


RetrySpec = Annotated[
    Retry, BeforeValidator(_number_or_retry, json_schema_input_type=Annotated[int, Field(ge=0)] | Retry)
]


class Foreach(Model):
    """Run a step once for each item of a list."""

    in_: str | list[Any] = Field(alias="in", description="An expression that gives a list, or the list itself.")
    as_: Identifier = Field("item", alias="as", description="The name of the item inside the step.")
    max_parallel: Count = Field(1, description="How many items at once.")
    on_item_error: Literal["fail", "continue"] = Field("fail", description="Whether a failed item fails the step.")
    max_failed: Share | None = Field(
        None, description="How many items, or what share like 5%, may fail before the step fails."
    )
    stop_after: Count | None = Field(None, description="Begin no further item once this many have completed.")


ForeachSpec = Annotated[Foreach, BeforeValidator(_items_or_foreach, json_schema_input_type=str | list[Any] | Foreach)]


class Wait(Model):
    """Wait for exactly one of: a time (`until`), an `event`, an `approval`."""

    until: Moment | None = Field(None, description="The time at which the wait ends.")
    event: EventName | None = Field(None, description="The name of an event, or of a signal to this task.")
    match: Condition | None = Field(None, description="Which events are meant; it sees the payload as `event`.")
    approval: str | None = Field(None, description="What is asked of those who may approve.")
    variables: dict[Identifier, Variable] | None = Field(None, description="The form of the answer.")
    approvers: list[str] | Filled | None = Field(None, description="The names of the API keys that may answer.")
    timeout: Duration | None = Field(None, description="How long to wait for an event or an approval at most.")
    on_timeout: Literal["fail", "continue"] = Field("fail", description="Whether a wait in vain fails the step.")

    @property
    def kind(self) -> str:
        """`time`, `event` or `approval`."""
        return "event" if self.event is not None else "approval" if self.approval is not None else "time"

    @property
    def form(self) -> dict[str, Variable]:
        """What an approval is answered with."""
        return DEFAULT_FORM if self.variables is None else self.variables


DEFAULT_FORM = {
    "approved": Variable.model_validate({"type": "boolean", "required": True}),
    "comment": Variable.model_validate({"type": "string"}),
}
"""What an approval is answered with that has no `variables`."""


class Partial(Model):
    """Start after some of the steps, not all."""

    any: int = Field(ge=1, description="How many of them must have ended.")
    of: list[Identifier] = Field(min_length=1)


class Case(Model):
    """One case of a `switch`; the one without `if` is the default."""

    if_: Condition | None = Field(None, alias="if")
    steps: list[Step] = Field(min_length=1)


class Step(Model):
    """One node of a workflow: exactly one of the keys that say what it does, or only `output`."""

    id: Identifier | None = None
    name: str | None = None
    description: str | None = None

    uses: str | None = Field(None, description="A registered action, by name.")
    call: str | None = Field(None, pattern=rf"^{DOTTED}:{DOTTED}$", description="A Python function: module:function.")
    with_: dict[str, Any] | None = Field(
        None, alias="with", description="The inputs of the action or function, or the variables of the workflow."
    )
    run: str | list[Any] | None = Field(None, description="A script for the shell, or a program and its arguments.")
    env: dict[str, Any] | None = Field(None, description="Environment variables of `run`.")
    shell: str | None = Field(None, description="The shell that runs the script: bash (the default), sh, …")
    cwd: str | None = Field(None, description="The folder `run` starts in; relative to the work folder.")
    steps: list[Step] | None = Field(None, min_length=1, description="A group of steps, in order.")
    parallel: list[Step] | None = Field(None, min_length=1, description="A group of steps, all at once.")
    switch: list[Case] | None = Field(None, min_length=1, description="The first case whose `if` holds is run.")
    race: list[Step] | None = Field(
        None, min_length=1, description="The first of these to complete wins.", json_schema_extra={"minItems": 2}
    )
    wait: Duration | Wait | None = Field(None, description="How long, or for what: a time, an event, an approval.")
    workflow: WorkflowId | None = Field(None, description="Another workflow, by its id.")
    output: Any = Field(None, description="Shapes what is kept; it sees what the step gave as `output`.")

    needs: list[Identifier] | Partial | None = Field(None, description="The steps this one starts after.")
    if_: Condition | None = Field(None, alias="if", description="If it does not hold, the step is skipped.")
    foreach: ForeachSpec | None = None
    until: Condition | None = Field(None, description="Repeat the step until this holds; it sees `output`, `index`.")
    every: Duration | None = Field(None, description="The pause between two rounds of `until`.")
    max_times: Count = Field(100, description="How many rounds of `until` at most.")
    retry: RetrySpec | None = None
    timeout: Duration | None = Field(None, description="The time limit of one attempt.")
    on_error: Literal["fail", "continue"] = Field("fail", description="Whether its failure fails the task.")
    on_failure: list[Step] | None = Field(None, min_length=1, description="Steps to run when it has finally failed.")
    compensate: list[Step] | None = Field(
        None, min_length=1, description="Steps that undo it, if the task fails later or is cancelled."
    )
    on_crash: Literal["retry", "fail"] = Field("retry", description="What to do if the worker died while it ran.")
    files: list[str] | None = Field(None, description="Globs in the work folder to keep.")
    needs_files: list[Identifier] | None = Field(
        None, description="Steps, or variables of type file, whose files are put into the work folder before this one."
    )
    secrets: list[str] | None = Field(None, description="The secrets it may read.")
    queue: QueueName | None = Field(None, description="Run it, or each item, as a child task in this queue.")
    priority: PriorityName | Annotated[int, Field(ge=0, le=3)] | Filled | None = Field(
        None, description="The priority of the child tasks."
    )

    @property
    def kind(self) -> str:
        """The one key of `KINDS` that the step has, or `output`."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), "output")

    @property
    def blocks(self) -> Iterator[tuple[tuple[str | int, ...], list[Step]]]:
        """The lists of steps inside it, each with its place: `("steps",)`, `("switch", 0, "steps")`, …"""
        for key in ("steps", "parallel", "race", "on_failure", "compensate"):
            if (inner := getattr(self, key)) is not None:
                yield (key,), inner
        for number, case in enumerate(self.switch or ()):
            yield ("switch", number, "steps"), case.steps


class EventTrigger(Model):
    """What creates tasks of the workflow by itself: an event that is published."""

    event: str = Field(pattern=rf"^{EVENT}$", description="The name of the event.")
    if_: Condition | None = Field(None, alias="if", description="Which events are meant; it sees `event`.")
    with_: dict[str, Any] | None = Field(
        None, alias="with", description="The variables; they see `event`, its payload, too."
    )


class Defaults(Model):
    """What steps have unless they say otherwise."""

    retry: RetrySpec | None = None
    timeout: Duration | None = None


class Workflow(Model):
    """A workflow file."""

    model_config = ConfigDict(title="Stepwell workflow")

    id: WorkflowId | None = Field(None, description="By default the file's stem.")
    name: str | None = None
    description: str = ""
    version: str | int | float | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    variables: dict[Identifier, Variable] = Field(default_factory=dict)
    queue: str = Field("workflow_execute", pattern=rf"^{QUEUE}$")
    priority: PriorityName | Annotated[int, Field(ge=0, le=10)] = "normal"
    timeout: Duration | None = Field(None, description="The time limit of the task: running time only.")
    max_retries: int | None = Field(None, ge=0, description="How often a failed task goes on from its failed steps.")
    max_parallel: int = Field(16, ge=1, le=1000, description="How many steps of one task at once.")
    defaults: Defaults = Field(default_factory=Defaults)
    env: dict[str, Any] = Field(default_factory=dict, description="Environment variables of every `run`.")
    secrets: list[str] = Field(default_factory=list, description="The secrets that every step may read.")
    triggers: list[EventTrigger] = Field(
        default_factory=list, description="What creates tasks of it by itself.", json_schema_extra={"minItems": 1}
    )
    steps: list[Step] = Field(min_length=1)
    on_failure: list[Step] | None = Field(None, min_length=1)
    on_cancel: list[Step] | None = Field(None, min_length=1)
    finally_: list[Step] | None = Field(None, alias="finally", min_length=1)
    outputs: dict[str, Any] = Field(default_factory=dict)

    @property
    def blocks(self) -> Iterator[tuple[tuple[str | int, ...], list[Step]]]:
        """The lists of steps of the workflow, each with its place."""
        yield ("steps",), self.steps
        for key, inner in (
            ("on_failure", self.on_failure),
            ("on_cancel", self.on_cancel),
            ("finally", self.finally_),
        ):
            if inner is not None:
                yield (key,), inner


class Bundle(Workflow):
    """A definition as tasks keep it: a workflow with all others that its steps may run, by id."""

    included: dict[str, Workflow] = Field(default_factory=dict)
