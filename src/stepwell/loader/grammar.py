"""The parts of the language: which keys each has, and what a key holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stepwell.workflow import (
    UNSUPPORTED_STEP_KEYS,
    UNSUPPORTED_WORKFLOW_KEYS,
    Case,
    Defaults,
    Foreach,
    Model,
    Partial,
    Retry,
    Step,
    Variable,
    Workflow,
)


@dataclass(frozen=True, eq=False)
class Part:
    """A mapping of the language. `short` are the types that may stand for it, like `retry: 3`."""

    what: str
    model: type[Model]
    short: tuple[type, ...] = ()
    unsupported: frozenset[str] = frozenset()

    @cached_property
    def keys(self) -> dict[str, bool]:
        """Its keys as they are written, and whether each is required."""
        fields = self.model.model_fields
        return {field.alias or name: field.is_required() for name, field in fields.items()}

    @property
    def children(self) -> Mapping[str, Child]:
        """What stands under those of its keys that hold other parts."""
        return CHILDREN[self]


@dataclass(frozen=True, eq=False)
class ListOf:
    """A list of parts."""

    part: Part


@dataclass(frozen=True, eq=False)
class MapOf:
    """A mapping from names to parts."""

    part: Part


Child = Part | ListOf | MapOf

WORKFLOW = Part("a workflow", Workflow, unsupported=UNSUPPORTED_WORKFLOW_KEYS)
STEP = Part("a step", Step, unsupported=UNSUPPORTED_STEP_KEYS)
CASE = Part("a case of `switch`", Case)
RETRY = Part("`retry`", Retry, short=(int, str))
FOREACH = Part("`foreach`", Foreach, short=(str, list))
NEEDS = Part("`needs`", Partial, short=(list,))
DEFAULTS = Part("`defaults`", Defaults)
VARIABLE = Part("a variable", Variable)
INNER_VARIABLE = Part("a variable", Variable, short=(str,))

_STEPS = ListOf(STEP)
_VARIABLE_CHILDREN: Mapping[str, Child] = {"items": INNER_VARIABLE, "fields": MapOf(INNER_VARIABLE)}
CHILDREN: Mapping[Part, Mapping[str, Child]] = {
    WORKFLOW: {
        "variables": MapOf(VARIABLE),
        "defaults": DEFAULTS,
        "steps": _STEPS,
        "on_failure": _STEPS,
        "on_cancel": _STEPS,
        "finally": _STEPS,
    },
    STEP: {
        "steps": _STEPS,
        "parallel": _STEPS,
        "switch": ListOf(CASE),
        "on_failure": _STEPS,
        "needs": NEEDS,
        "foreach": FOREACH,
        "retry": RETRY,
    },
    CASE: {"steps": _STEPS},
    DEFAULTS: {"retry": RETRY},
    VARIABLE: _VARIABLE_CHILDREN,
    INNER_VARIABLE: _VARIABLE_CHILDREN,
    RETRY: {},
    FOREACH: {},
    NEEDS: {},
}
NULLABLE = frozenset({"output", "default"})
"""Keys for which null is a value; any other key without a value is a mistake."""

_DURATION = "a duration: seconds, or 500ms, 30s, 5m, 2h, 1d"
_COUNT = "a whole number, or an expression in ${{ }}"
_CONDITION = "an expression, true or false"
_IDS = "a list of ids of steps"
_IDENTIFIER = "letters of any script, digits and _, not beginning with a digit, at most 100"
EXPECTED: Mapping[str, str] = {
    "any": "a whole number of 1 or more",
    "as": _IDENTIFIER,
    "backoff": "a number of 1 or more",
    "call": "module:function",
    "delay": _DURATION,
    "env": "a mapping from names to values",
    "enum": "a list of the values that are allowed",
    "every": _DURATION,
    "files": "a list of globs like '*.csv'",
    "foreach": "an expression that gives a list, a list, or {in: …, as: …}",
    "id": _IDENTIFIER,
    "if": _CONDITION,
    "in": "an expression that gives a list, or a list",
    "jitter": "true or false",
    "labels": "a mapping from names to texts",
    "max": "a number, or a text like a date or a duration",
    "max_delay": _DURATION,
    "max_failed": "a whole number, or a share like 5%",
    "max_parallel": _COUNT,
    "max_retries": _COUNT,
    "max_times": _COUNT,
    "min": "a number, or a text like a date or a duration",
    "needs": f"{_IDS}, or {{any: 2, of: [a, b, c]}}",
    "needs_files": _IDS,
    "of": _IDS,
    "on_crash": "retry or fail",
    "on_error": "fail or continue",
    "on_item_error": "fail or continue",
    "outputs": "a mapping from names to values",
    "pattern": "a regular expression",
    "priority": "low, normal, high, urgent, or a number from 0 to 10",
    "queue": "letters, digits, _, - and dots, at most 100",
    "required": "true or false",
    "retry": "a whole number, or {max_retries: …, delay: …}",
    "run": "a script, or a list of a program and its arguments",
    "secrets": "a list of names",
    "stop_after": _COUNT,
    "timeout": _DURATION,
    "until": _CONDITION,
    "with": "a mapping from inputs to values",
}
"""What a key takes, where it does not fit; the others take text."""

EXPECTED_OF_WORKFLOW: Mapping[str, str] = {
    "id": "letters of any script, digits, _ and -, at most 100",
    "max_parallel": "a whole number from 1 to 1000",
    "max_retries": "a whole number of 0 or more",
    "version": "text or a number",
}
