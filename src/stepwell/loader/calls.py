"""Workflows that are run by steps and triggers: are they there, and do the variables fit that they are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stepwell import variables
from stepwell.errors import InvalidInput
from stepwell.loader.inputs import holds_expression
from stepwell.loader.report import Path, Report
from stepwell.loader.sites import Site
from stepwell.workflow import Variable, Workflow

Others = Mapping[str, Workflow | str]
"""The workflows that steps can run, by id; of one that does not load, why."""

FindOthers = Callable[[], Others]


class Calls:
    """Checks `workflow` of steps against the workflows that there are; without them it is not looked at."""

    def __init__(self, report: Report, others: Others | None) -> None:
        self._report, self._others = report, others

    def check(self, site: Site) -> None:
        """Report a workflow that is not there, and variables that do not fit it."""
        name = site.step.workflow
        if name is None or self._others is None:
            return
        found = self._others.get(name)
        if found is None:
            hint = self._report.meant(name, self._others)
            self._report.add((*site.path, "workflow"), f"unknown workflow {name!r}{hint}")
        elif isinstance(found, str):
            self._report.add((*site.path, "workflow"), f"the workflow {name!r} does not load: {found}")
        elif site.step.with_ is not None or "with" not in site.raw:  # what did not fit is reported
            place = (*site.path, "with" if "with" in site.raw else "workflow")
            what = f"the workflow {name!r}"
            check_given(self._report, (*site.path, "with"), site.step.with_ or {}, found.variables, what, place)


def check_given(
    report: Report, path: Path, given: Mapping[str, Any], declared: Mapping[str, Variable], what: str, place: Path
) -> None:
    """Report variables that are unknown, missing, or literals that do not fit.

    `path` is where they are given, `place` where it is told that one is missing, `what` the workflow, for messages.
    """
    has = f"; it has {', '.join(declared)}" if declared else "; it has none"
    guesses = ""
    for name in given:
        if name not in declared:
            guesses += (guess := report.meant(name, declared))
            report.add((*path, name), f"{what} has no variable {name!r:.100}{guess}{has}", key=True)
    for name, variable in declared.items():
        if name in given:
            _check_literal(report, (*path, name), variable, given[name], what)
        elif variable.required and repr(name) not in guesses:  # that was told already, where it was meant
            report.add(place, f"{what} needs the variable {name!r}")


def _check_literal(report: Report, path: Path, variable: Variable, value: object, what: str) -> None:
    if holds_expression(value):
        return
    name = str(path[-1])
    try:
        variables.check({name: variable}, {name: value})
    except InvalidInput as error:
        for problem in error.problems:
            inner = problem.field.removeprefix("variables.")
            report.add(path, f"{inner} of {what} {problem.message}")
