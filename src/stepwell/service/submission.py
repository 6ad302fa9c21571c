"""What a caller may say about a task, and how it is checked and made a `NewTask`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepwell import variables
from stepwell.errors import Fail, FieldProblem, InvalidInput, did_you_mean
from stepwell.ids import new_task_id
from stepwell.loader import Definition
from stepwell.plan import Plan, compile_definition, undoes
from stepwell.ports import Revision
from stepwell.secrets import Cipher
from stepwell.task import NewTask
from stepwell.values import decode, encode, seconds
from stepwell.workflow import Variable, has_expression, priority_level


@dataclass(frozen=True)
class Submission:
    """What a caller may say about a task; None is the workflow's word, or the setting's.

    `delay` and `timeout` are in seconds or text like `5m`, `run_at` is in seconds since 1970.
    """

    variables: Mapping[str, Any] = field(default_factory=dict)
    priority: str | int | None = None
    queue: str | None = None
    timeout: str | float | None = None
    max_retries: int | None = None
    delay: str | float = 0.0
    run_at: float | None = None
    external_id: str | None = None
    idempotency_key: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    trigger: Mapping[str, Any] = field(default_factory=lambda: {"kind": "manual"})


@dataclass(frozen=True)
class Amendment:
    """What a caller may change about a task that runs again: these of its variables, and with `latest` its definition,
    which then is the one that the catalog has now."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    latest: bool = False


@dataclass(frozen=True)
class Defaults:
    """What holds if neither the caller nor the workflow says otherwise: `max_retries` for tasks that go to workers, 0
    for those that run in this process. `max_queued` bounds each queue of the workers, if there are any: these serve
    only `queues`."""

    timeout: float = 3600.0
    max_retries: int = 0
    priority_scale: int = 4
    queues: Sequence[str] = ()
    max_queued: int | None = None


class Intake:
    """Makes new tasks of submissions. Raises `InvalidInput` for what does not fit."""

    def __init__(self, cipher: Cipher, defaults: Defaults) -> None:
        self._cipher, self._defaults = cipher, defaults

    def new_task(self, definition: Definition, given: Submission, here: bool) -> NewTask:
        """The task of one submission; `here` if this process is to run it."""
        workflow = definition.workflow
        values = variables.check(workflow.variables, given.variables)
        kept = variables.replace_secrets(workflow.variables, values, self._cipher.encrypt)
        return NewTask(
            task_id=new_task_id(),
            workflow_id=definition.workflow_id,
            definition=definition.hash,
            definition_text=definition.text,
            queue=self._queue_name(given.queue or workflow.queue, workflow.queue, here),
            priority=self._priority(given.priority if given.priority is not None else workflow.priority),
            variables=_encoded(kept),
            timeout=self._timeout(given, definition, values),
            max_retries=_first(given.max_retries, workflow.max_retries, 0 if here else self._defaults.max_retries),
            undo=undoes(definition.text),
            delay=_seconds("delay", given.delay),
            run_at=given.run_at,
            external_id=given.external_id,
            idempotency_key=given.idempotency_key,
            fingerprint=self._fingerprint(definition, values) if given.idempotency_key else None,
            labels={**workflow.labels, **given.labels},
            trigger=given.trigger,
            files=tuple(_files(workflow.variables, values)),
            bell=not here,
        )

    def new_tasks(self, definition: Definition, submissions: Sequence[Submission], here: bool) -> list[NewTask]:
        """The tasks of many submissions; `InvalidInput` has the problems of all, named like `items[3].variables.x`."""
        new, problems = [], []
        for number, submission in enumerate(submissions):
            try:
                new.append(self.new_task(definition, submission, here))
            except InvalidInput as error:
                problems += [FieldProblem(f"items[{number}].{one.field}", one.message) for one in error.problems]
        if problems:
            raise InvalidInput(problems)
        return new

    def revision(
        self, before: Plan, values: Mapping[str, Any], given: Mapping[str, Any], latest: Definition | None
    ) -> Revision:
        """What is changed about a task of the plan `before` that has these variables: those that are `given` and, if
        there is a `latest` definition, that; variables which it does not declare are left out."""
        declared = before.workflow.variables if latest is None else latest.workflow.variables
        old = {name: value for name, value in values.items() if name in declared and name not in given}
        old = variables.replace_secrets(before.workflow.variables, old, self._cipher.decrypt)
        checked = variables.check(declared, {**old, **given})
        return Revision(
            variables=_encoded(variables.replace_secrets(declared, checked, self._cipher.encrypt)),
            definition=None if latest is None else latest.hash,
            definition_text=None if latest is None else latest.text,
            undo=None if latest is None else undoes(latest.text),
            files=tuple(_files(declared, checked)),
        )

    def _fingerprint(self, definition: Definition, values: Mapping[str, Any]) -> str:
        compared = variables.replace_secrets(definition.workflow.variables, values, self._cipher.digest)
        canonical = json.dumps([definition.workflow_id, decode(_encoded(compared))], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def _priority(self, given: str | int) -> int:
        try:
            return priority_level(given, self._defaults.priority_scale)
        except ValueError as error:
            raise InvalidInput([FieldProblem("priority", str(error))]) from error

    def _queue_name(self, given: str, own: str, here: bool) -> str:
        """The queue of a task: one of the settings, or the workflow's own where no worker need serve it."""
        known = {*self._defaults.queues, *([own] if here or self._defaults.max_queued is None else [])}
        if given in known:
            return given
        message = f"unknown queue {given!r}{did_you_mean(given, known)}: QUEUES lists those that are served"
        raise InvalidInput([FieldProblem("queue", message)])

    def _timeout(self, given: Submission, definition: Definition, values: Mapping[str, Any]) -> float:
        timeout = _first(given.timeout, definition.workflow.timeout, self._defaults.timeout)
        if has_expression(timeout):
            template = compile_definition(definition.text).timeout
            timeout = template({"variables": values}) if template else self._defaults.timeout
        return _seconds("timeout", timeout)


def _encoded(values: Mapping[str, Any]) -> str:
    try:
        return encode(values, "the whole of them")
    except Fail as error:
        raise InvalidInput([FieldProblem("variables", error.message)]) from error


def _files(declared: Mapping[str, Variable], values: Mapping[str, Any]) -> Iterator[str]:
    """The sha256 of every file in the checked values, at any depth."""
    for name, value in values.items():
        yield from _files_in(declared[name], value)


def _files_in(variable: Variable, value: Any) -> Iterator[str]:
    if value is None:
        return
    if variable.type == "file":
        yield value["sha256"]
    elif variable.items is not None:
        for item in value:
            yield from _files_in(variable.items, item)
    elif variable.fields is not None:
        yield from _files(variable.fields, value)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _seconds(name: str, value: Any) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise InvalidInput([FieldProblem(name, str(error))]) from error
