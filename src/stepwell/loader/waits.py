"""What a wait is for, and for how long: which of its keys go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stepwell import variables
from stepwell.loader.report import Path, Report
from stepwell.values import seconds
from stepwell.workflow import Variable, Wait, has_expression

ENDS = ("until", "event", "approval")
"""Keys of which a wait has exactly one."""

EXAMPLES = "{event: order.paid}, {approval: 'Ship it?'}, {until: '2026-12-01T09:00:00Z'}, or just 30s"

ONLY_WITH = (
    ("match", ("event",), "an `event`"),
    ("variables", ("approval",), "an `approval`"),
    ("approvers", ("approval",), "an `approval`"),
    ("timeout", ("event", "approval"), "an `event` or an `approval`; a wait for a time ends by itself"),
    ("on_timeout", ("event", "approval"), "an `event` or an `approval`; a wait for a time ends by itself"),
)


def check_wait(report: Report, path: Path, wait: Wait, raw: Mapping[str, Any]) -> None:
    """Report what is wrong with the `wait` of the step at a path; `raw` is what stands in the file."""
    here = (*path, "wait")
    for key, message in _complaints(raw):
        report.add((*here, key) if key else here, message, key=bool(key))
    if wait.approvers == []:
        report.add((*here, "approvers"), "`approvers` names nobody: leave it out if anyone may answer")
    check_time_limit(report, (*here, "timeout"), wait.timeout)
    for place, message in variables.problems(wait.variables or {}):
        report.add((*here, "variables", *place), f"`{place[-1]}`: {message}")
    for name, variable in (wait.variables or {}).items():
        if _is_secret(variable):
            message = "an answer is kept as it is, so that it cannot be a secret: ask for the name of one"
            report.add((*here, "variables", name), message)


def check_time_limit(report: Report, path: Path, limit: str | float | None) -> None:
    """Report a limit of no time, which every run of it would pass."""
    if limit is not None and not has_expression(limit) and seconds(limit) == 0:
        report.add(path, "`timeout` must be more than 0; leave it out for no limit")


def _complaints(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    ends = [key for key in ENDS if key in raw]
    if not ends:
        yield "", f"`wait` does not say for what: write {EXAMPLES}"
        return
    if len(ends) > 1:
        yield ends[1], f"a wait has exactly one of `until`, `event`, `approval`, not `{ends[0]}` and `{ends[1]}`"
        return
    for key, kinds, what in ONLY_WITH:
        if key in raw and ends[0] not in kinds:
            yield key, f"`{key}` is only for a wait for {what}"
    if "on_timeout" in raw and "timeout" not in raw:
        yield "on_timeout", "`on_timeout` is only for a wait with a `timeout`"


def _is_secret(variable: Variable) -> bool:
    inner = [*(variable.fields or {}).values(), *([variable.items] if variable.items else [])]
    return variable.type == "secret" or any(map(_is_secret, inner))
