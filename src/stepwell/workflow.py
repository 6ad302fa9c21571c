"""The workflow language as pydantic models: what a YAML file says, before anything is compiled or run."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from stepwell.errors import did_you_mean, short
from stepwell.values import seconds, shown

RESERVED_IDS = frozenset({"tasks", "queue", "workers", "schedules", "validate"})
"""Workflow ids that the HTTP API needs for itself."""

KINDS = ("uses", "call", "run", "steps", "parallel", "switch")
"""The keys of which a step has exactly one; a step with none of them is a pure value and has `output`."""

UNSUPPORTED_STEP_KEYS = frozenset(
    {"wait", "workflow", "race", "queue", "priority", "cache", "concurrency", "rate_limit", "compensate"}
)
UNSUPPORTED_WORKFLOW_KEYS = frozenset({"concurrency", "triggers", "notify", "tests"})
"""Keys of the language that this version refuses by name, rather than half do."""

LETTER = r"[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f]"
LETTER_OR_DIGIT = r"[^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"
DOTTED = r"[^\x00-\x2d\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+"
"""Of ASCII the letters and `_`, digits too, dots too; and all beyond it, for Python, Rust and JSON Schema do not spell
classes of Unicode alike. What is a letter there is for `is_identifier` to say."""

VariableType = Literal[
    "string",
    "integer",
    "number",
    "boolean",
    "date",
    "datetime",
    "duration",
    "list",
    "object",
    "file",
    "secret",
    "any",
]


PRIORITIES = {"low": 0, "normal": 1, "high": 2, "urgent": 3}
"""The four levels, by name; `critical` is another word for `urgent`."""


def priority_level(value: str | int, scale: int = 4) -> int:
    """The level 0 to 3 of a priority: a name, or a number up to 3, or to 10 with scale 10. Raises `ValueError`.

    Of 0 to 10, three each are low, normal and high, and 9 and 10 are urgent.
    """
    greatest = 10 if scale == 10 else 3
    names = {**PRIORITIES, "critical": PRIORITIES["urgent"]}
    if isinstance(value, str) and value in names:
        return names[value]
    numbers: dict[str | int, int] = {text: n for n in range(greatest + 1) for text in (n, str(n))}
    if isinstance(value, str | int) and not isinstance(value, bool) and value in numbers:
        return numbers[value] * 4 // (greatest + 1)
    told, hint = (repr(short(value)), did_you_mean(value, names)) if isinstance(value, str) else (shown(value), "")
    raise ValueError(f"{told} is no priority{hint}: write {', '.join(names)} or a number from 0 to {greatest}")


def is_identifier(text: str) -> bool:
    """Whether a text can name a step or a variable: an identifier of Python, in any script."""
    return text.isidentifier() and is_normal(text)


def is_workflow_id(text: str) -> bool:
    """Whether a text can name a workflow: letters and digits of any script, `_` and `-`, at most 100."""
    return 0 < len(text) <= 100 and is_identifier("_" + text.replace("-", "_"))


def is_normal(text: str) -> bool:
    """Whether it is spelled in Unicode's form NFKC, so that names that look alike are alike."""
    return text.isascii() or normal(text) == text


def normal(text: str) -> str:
    """The text in Unicode's form NFKC: `fix` for `ﬁx` and for full-width `ｆｉｘ`."""
    return unicodedata.normalize("NFKC", text)


def has_expression(value: object) -> bool:
    """Whether a text holds `${{ … }}`, so that it is known only when the step runs."""
    return isinstance(value, str) and "${{" in value


def _checked_identifier(value: str) -> str:
    if not is_identifier(value):
        raise ValueError(f"{short(value)!r} is no identifier")
    return value


def _checked_workflow_id(value: str) -> str:
    if not is_workflow_id(value):
        raise ValueError(f"{short(value)!r} is no id of a workflow")
    return value


def _checked_duration(value: str | float) -> str | float:
    if not has_expression(value):
        seconds(value)
    return value


def _checked_percentage(value: str | int) -> str | int:
    if isinstance(value, str) and not has_expression(value):
        number = float(value.removesuffix("%")) if value.endswith("%") else -1.0
        if not 0 <= number <= 100:
            raise ValueError(f"{short(value)!r} is neither a number nor a percentage like 5%")
    return value


def _type_or_variable(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _number_or_retry(value: object) -> object:
    return {"max_retries": value} if isinstance(value, int) and not isinstance(value, bool) else value


def _items_or_foreach(value: object) -> object:
    return {"in": value} if isinstance(value, str | list) else value


Identifier = Annotated[
    str,
    StringConstraints(pattern=rf"^{LETTER}{LETTER_OR_DIGIT}*$", max_length=100),
    AfterValidator(_checked_identifier),
]
WorkflowId = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x2c\x2e\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+$", max_length=100),
    AfterValidator(_checked_workflow_id),
]
ExpressionText = Annotated[str, Field(description="An expression; the ${{ }} around it may be left out.")]
Condition = Annotated[str | bool, Field(description="An expression; the ${{ }} around it may be left out.")]
Duration = Annotated[
    str | float,
    AfterValidator(_checked_duration),
    Field(description="Seconds, or 500ms, 30s, 5m, 2h, 1d.", examples=["30s", "5m"]),
]
Count = Annotated[
    int | Annotated[str, StringConstraints(pattern=r"^\s*\$\{\{.*\}\}\s*$")],
    Field(description="A whole number, or an expression that gives one."),
]


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


class Foreach(Model):
    """Run a step once for each item of a list."""

    in_: str | list[Any] = Field(alias="in", description="An expression that gives a list, or the list itself.")
    as_: Identifier = Field("item", alias="as", description="The name of the item inside the step.")
    max_parallel: Count = Field(1, description="How many items at once.")
    on_item_error: Literal["fail", "continue"] = Field("fail", description="Whether a failed item fails the step.")
    max_failed: Annotated[int | str, AfterValidator(_checked_percentage)] | None = Field(
        None, description="How many items, or what share like 5%, may fail before the step fails."
    )
    stop_after: Count | None = Field(None, description="Complete as soon as this many items have completed.")


class Partial(Model):
    """Start after some of the steps, not all."""

    any: int = Field(ge=1, description="How many of them must have ended.")
    of: list[Identifier] = Field(min_length=1)


class Case(Model):
    """One case of a `switch`; the one without `if` is the default."""

    if_: Condition | None = Field(None, alias="if")
    steps: list[Step] = Field(min_length=1)


class Step(Model):
    """One node of a workflow: exactly one of `uses`, `call`, `run`, `steps`, `parallel`, `switch`, or only `output`."""

    id: Identifier | None = None
    name: str | None = None
    description: str | None = None

    uses: str | None = Field(None, description="A registered action, by name.")
    call: str | None = Field(None, pattern=rf"^{DOTTED}:{DOTTED}$", description="A Python function: module:function.")
    with_: dict[str, Any] | None = Field(None, alias="with", description="The inputs of the action or function.")
    run: str | list[Any] | None = Field(None, description="A script for the shell, or a program and its arguments.")
    env: dict[str, Any] | None = Field(None, description="Environment variables of `run`.")
    shell: str | None = Field(None, description="The shell that runs the script: bash (the default), sh, …")
    cwd: str | None = Field(None, description="The folder `run` starts in; relative to the work folder.")
    steps: list[Step] | None = Field(None, min_length=1, description="A group of steps, in order.")
    parallel: list[Step] | None = Field(None, min_length=1, description="A group of steps, all at once.")
    switch: list[Case] | None = Field(None, min_length=1, description="The first case whose `if` holds is run.")
    output: Any = Field(None, description="Shapes what is kept; it sees what the step gave as `output`.")

    needs: list[Identifier] | Partial | None = Field(None, description="The steps this one starts after.")
    if_: Condition | None = Field(None, alias="if", description="If it does not hold, the step is skipped.")
    foreach: (
        Annotated[Foreach, BeforeValidator(_items_or_foreach, json_schema_input_type=str | list[Any] | Foreach)] | None
    ) = None
    until: Condition | None = Field(None, description="Repeat the step until this holds; it sees `output`, `index`.")
    every: Duration | None = Field(None, description="The pause between two rounds of `until`.")
    max_times: Count = Field(100, description="How many rounds of `until` at most.")
    retry: (
        Annotated[Retry, BeforeValidator(_number_or_retry, json_schema_input_type=Annotated[int, Field(ge=0)] | Retry)]
        | None
    ) = None
    timeout: Duration | None = Field(None, description="The time limit of one attempt.")
    on_error: Literal["fail", "continue"] = Field("fail", description="Whether its failure fails the task.")
    on_failure: list[Step] | None = Field(None, min_length=1, description="Steps to run when it has finally failed.")
    on_crash: Literal["retry", "fail"] = Field("retry", description="What to do if the worker died while it ran.")
    files: list[str] | None = Field(None, description="Globs in the work folder to keep.")
    needs_files: list[Identifier] | None = Field(
        None, description="Steps, or variables of type file, whose files are put into the work folder before this one."
    )
    secrets: list[str] | None = Field(None, description="The secrets it may read.")

    @property
    def kind(self) -> str:
        """The one key of `KINDS` that the step has, or `output`."""
        return next((kind for kind in KINDS if getattr(self, kind) is not None), "output")

    @property
    def blocks(self) -> Iterator[tuple[tuple[str | int, ...], list[Step]]]:
        """The lists of steps inside it, each with its place: `("steps",)`, `("switch", 0, "steps")`, …"""
        for key in ("steps", "parallel", "on_failure"):
            if (inner := getattr(self, key)) is not None:
                yield (key,), inner
        for number, case in enumerate(self.switch or ()):
            yield ("switch", number, "steps"), case.steps


class Defaults(Model):
    """What steps have unless they say otherwise."""

    retry: (
        Annotated[Retry, BeforeValidator(_number_or_retry, json_schema_input_type=Annotated[int, Field(ge=0)] | Retry)]
        | None
    ) = None
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
    queue: str = Field("workflow_execute", pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    priority: Literal["low", "normal", "high", "urgent", "critical"] | Annotated[int, Field(ge=0, le=10)] = "normal"
    timeout: Duration | None = Field(None, description="The time limit of the task: running time only.")
    max_retries: int | None = Field(None, ge=0, description="How often a failed task goes on from its failed steps.")
    max_parallel: int = Field(16, ge=1, le=1000, description="How many steps of one task at once.")
    defaults: Defaults = Field(default_factory=Defaults)
    env: dict[str, Any] = Field(default_factory=dict, description="Environment variables of every `run`.")
    secrets: list[str] = Field(default_factory=list, description="The secrets that every step may read.")
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
