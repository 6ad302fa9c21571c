"""The parts of the language: which keys each has, and what a key holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from stepwell.workflow import (
    UNSUPPORTED_STEP_KEYS,
    UNSUPPORTED_TRIGGER_KEYS,
    UNSUPPORTED_WORKFLOW_KEYS,
    Case,
    Defaults,
    EventTrigger,
    Foreach,
    Model,
    Partial,
    Retry,
    Step,
    Variable,
    Wait,
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
    """A list of parts. `what` are many of them; `stand_in` takes the place of one that is none."""

    part: Part
    what: str
    stand_in: Mapping[str, object]


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
WAIT = Part("`wait`", Wait, short=(str, int, float))
TRIGGER = Part("a trigger", EventTrigger, unsupported=UNSUPPORTED_TRIGGER_KEYS)
VARIABLE = Part("a variable", Variable)
INNER_VARIABLE = Part("a variable", Variable, short=(str,))

_STEPS = ListOf(STEP, "steps", {})
_CASES = ListOf(CASE, "cases", {"steps": [{}]})
_TRIGGERS = ListOf(TRIGGER, "triggers", {"event": "event"})
_VARIABLE_CHILDREN: Mapping[str, Child] = {"items": INNER_VARIABLE, "fields": MapOf(INNER_VARIABLE)}
CHILDREN: Mapping[Part, Mapping[str, Child]] = {
    WORKFLOW: {
        "variables": MapOf(VARIABLE),
        "defaults": DEFAULTS,
        "steps": _STEPS,
        "on_failure": _STEPS,
        "on_cancel": _STEPS,
        "finally": _STEPS,
        "triggers": _TRIGGERS,
    },
    STEP: {
        "steps": _STEPS,
        "parallel": _STEPS,
        "switch": _CASES,
        "race": _STEPS,
        "wait": WAIT,
        "on_failure": _STEPS,
        "compensate": _STEPS,
        "needs": NEEDS,
        "foreach": FOREACH,
        "retry": RETRY,
    },
    CASE: {"steps": _STEPS},
    DEFAULTS: {"retry": RETRY},
    VARIABLE: _VARIABLE_CHILDREN,
    INNER_VARIABLE: _VARIABLE_CHILDREN,
    WAIT: {"variables": MapOf(VARIABLE)},
    TRIGGER: {},
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
    "approvers": "a list of names of API keys, or an expression in ${{ }} that gives one",
    "as": _IDENTIFIER,
    "backoff": "a number of 1 or more",
    "call": "module:function",
    "delay": _DURATION,
    "env": "a mapping from names to values",
    "enum": "a list of the values that are allowed",
    "event": "the name of an event like order.paid",
    "every": _DURATION,
    "files": "a list of globs like '*.csv'",
    "foreach": "an expression that gives a list, a list, or {in: …, as: …}",
    "id": _IDENTIFIER,
    "if": _CONDITION,
    "in": "an expression that gives a list, or a list",
    "jitter": "true or false",
    "labels": "a mapping from names to texts",
    "match": _CONDITION,
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
    "on_timeout": "fail or continue",
    "outputs": "a mapping from names to values",
    "pattern": "a regular expression",
    "priority": "low, normal, high, urgent, a number from 0 to 3, or an expression in ${{ }}",
    "queue": "letters, digits, _, - and dots, at most 100",
    "required": "true or false",
    "retry": "a whole number, or {max_retries: …, delay: …}",
    "run": "a script, or a list of a program and its arguments",
    "secrets": "a list of names",
    "stop_after": _COUNT,
    "timeout": _DURATION,
    "until": _CONDITION,
    "wait": f"{_DURATION}; or {{until: a time}}, {{event: a name}} or {{approval: a message}}",
    "with": "a mapping from inputs to values",
    "workflow": "the id of a workflow, in which no expression may stand",
}
"""What a key takes, where it does not fit; the others take text."""

EXPECTED_OF_WORKFLOW: Mapping[str, str] = {
    "id": "letters of any script, digits, _ and -, at most 100",
    "max_parallel": "a whole number from 1 to 1000",
    "max_retries": "a whole number of 0 or more",
    "priority": "low, normal, high, urgent, or a number from 0 to 10",
    "version": "text or a number",
}

EXPECTED_OF_WAIT: Mapping[str, str] = {
    "until": "a time like 2026-12-01T09:00:00Z, seconds since 1970, or an expression in ${{ }}",
}
