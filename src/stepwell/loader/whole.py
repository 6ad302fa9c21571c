"""The workflow's own keys: its id, environment, outputs, defaults and time limit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from stepwell.loader.calls import check_given
from stepwell.loader.grammar import EXPECTED_OF_WORKFLOW
from stepwell.loader.names import NameCheck
from stepwell.loader.report import Path, Report
from stepwell.loader.sites import ALWAYS, Known, Reading
from stepwell.loader.texts import Texts
from stepwell.loader.waits import check_time_limit
from stepwell.workflow import RESERVED_IDS, EventTrigger, Workflow, is_workflow_id, normal

NOT_STEPS = {
    "env": "`env` of the workflow is the same for every step: put what reads a step into the step's own `env`",
    "timeout": "the time limit is known before the first step: it can read `variables` only",
    "defaults": "`defaults` are the same for every step: put what reads a step into that step",
}

OF_TRIGGERS = ("event", "trigger")


def check_whole(
    report: Report, workflow: Workflow, texts: Texts, names: NameCheck, default_id: str | None = None
) -> None:
    """Report what is wrong with the keys of the workflow itself."""
    _check_id(report, workflow, default_id)
    for key in ("name", "labels"):
        texts.refuse((key,), getattr(workflow, key))
    for name, value in workflow.labels.items():
        texts.refuse(("labels", name), value)
    for number, value in enumerate(workflow.secrets):
        texts.refuse(("secrets", number), value)
    check_time_limit(report, ("timeout",), workflow.timeout)
    check_time_limit(report, ("defaults", "timeout"), workflow.defaults.timeout)
    checker = _Checker(report, texts, names)
    for number, trigger in enumerate(workflow.triggers):
        _check_trigger(report, texts, ("triggers", number), trigger)
        _check_variables(report, workflow, ("triggers", number), trigger)
    checker.check(("outputs",), workflow.outputs, secrets=())
    checker.check(("env",), workflow.env, secrets=workflow.secrets)
    checker.check(("timeout",), workflow.timeout, secrets=(), only=frozenset({"variables"}))
    checker.check(("defaults", "timeout"), workflow.defaults.timeout, secrets=workflow.secrets)
    if retry := workflow.defaults.retry:
        for key in ("max_retries", "delay", "max_delay"):
            value = getattr(retry, key)
            checker.check(("defaults", "retry", key), value, secrets=workflow.secrets, known={"error": ALWAYS})
        if isinstance(retry.if_, str):
            path = ("defaults", "retry", "if")
            readings = texts.of_expression(path, "defaults", retry.if_, 0, retry.if_)
            checker.check_readings(path, readings, secrets=workflow.secrets, known={"error": ALWAYS})


def _check_trigger(report: Report, texts: Texts, path: Path, trigger: EventTrigger) -> None:
    texts.refuse((*path, "event"), trigger.event)
    readings = list(texts.of_value((*path, "with"), "with", trigger.with_ or {}))
    if isinstance(trigger.if_, str):
        readings += texts.of_expression((*path, "if"), "if", trigger.if_, 0, trigger.if_)
    for reading in readings:
        if reading.read[0] not in OF_TRIGGERS:
            message = f"a trigger sees only `event`, the payload, and `trigger`, not {reading.read[0]!r}"
            report.add_inside(reading.path, reading.offset, message)


def _check_variables(report: Report, workflow: Workflow, path: Path, trigger: EventTrigger) -> None:
    place = path if trigger.with_ is None else (*path, "with")
    check_given(report, (*path, "with"), trigger.with_ or {}, workflow.variables, "this workflow", place)


class _Checker:
    def __init__(self, report: Report, texts: Texts, names: NameCheck) -> None:
        self._report, self._texts, self._names = report, texts, names

    def check(
        self,
        path: Path,
        value: object,
        *,
        secrets: Collection[str],
        known: Known | None = None,
        only: Collection[str] = (),
    ) -> None:
        """Check what a value reads; `only` are the names that it may, if not all."""
        self.check_readings(
            path, self._texts.of_value(path, str(path[0]), value), secrets=secrets, known=known, only=only
        )

    def check_readings(
        self,
        path: Path,
        readings: Iterable[Reading],
        *,
        secrets: Collection[str],
        known: Known | None = None,
        only: Collection[str] = (),
    ) -> None:
        """The same for what was read already."""
        refused: Mapping[str, str] = NOT_STEPS
        for reading in readings:
            root = reading.read[0]
            if path[0] in refused and (root == "steps" or (only and root not in only)):
                self._report.add_inside(reading.path, reading.offset, refused[str(path[0])])
            else:
                self._names.check(reading, known or {}, secrets)


def _check_id(report: Report, workflow: Workflow, default_id: str | None) -> None:
    name = workflow.id or default_id
    if name in RESERVED_IDS:
        remedy = "choose another" if workflow.id else "rename the file, or give it an `id`"
        report.add(("id",), f"the workflow id {name!r} is reserved: {remedy}")
    elif workflow.id is None and default_id is not None and not is_workflow_id(default_id):
        remedy = f"name it {normal(default_id)!r}, or" if is_workflow_id(normal(default_id)) else "rename the file, or"
        allowed = EXPECTED_OF_WORKFLOW["id"]
        message = f"the file's name {default_id!r:.120} is no workflow id ({allowed}): {remedy} give it an `id`"
        report.add(("id",), message)
