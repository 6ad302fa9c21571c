"""Which keys go together: the kinds of step, and what each kind takes."""

from __future__ import annotations

from collections.abc import Iterator

from stepwell.loader.report import Report
from stepwell.loader.scalars import value_at
from stepwell.loader.sites import Site
from stepwell.loader.waits import check_time_limit, check_wait
from stepwell.plan import LEAF_KINDS
from stepwell.workflow import KINDS, UNSUPPORTED_STEP_KEYS, Wait

WORK = frozenset(KINDS) - {"wait"}
LEAVES = "`uses`, `call` or `run`"
ONLY_WITH = (
    ("with", frozenset({"uses", "call", "workflow"}), "`uses`, `call` or `workflow`"),
    ("env", frozenset({"run"}), "`run`"),
    ("shell", frozenset({"run"}), "`run`"),
    ("cwd", frozenset({"run"}), "`run`"),
    ("files", LEAF_KINDS, LEAVES),
    ("needs_files", LEAF_KINDS, LEAVES),
    ("on_crash", LEAF_KINDS, LEAVES),
    ("retry", WORK, "work that can fail, not a pure value"),
    ("timeout", WORK, "work that takes time, not a pure value"),
)
NOT_FOR_WAITS = {
    "retry": "a wait is not tried again: it ends with what it waits for, or with its `timeout`",
    "timeout": "the `timeout` of a wait stands inside it: wait: {event: …, timeout: …}",
}
RESERVED_NAMES = frozenset(
    (
        *("variables", "steps", "task", "trigger", "env", "secrets", "error", "output", "index"),
        *("now", "uuid", "random", "range", "date", "duration"),
        *("null", "true", "false", "none", "True", "False", "None"),
        *("and", "or", "not", "in", "is", "if", "else"),
    )
)
"""Names that `foreach.as` cannot take."""

AT_LEAST = (
    (("max_times",), 1),
    (("foreach", "max_parallel"), 1),
    (("foreach", "stop_after"), 1),
    (("foreach", "max_failed"), 0),
    (("retry", "max_retries"), 0),
)


def check_keys(report: Report, site: Site) -> None:
    """Report keys of a step that do not go together."""
    if not site.raw:
        if value_at(report.document.data, site.path) == ({}, site.path):
            report.add(site.path, f"a step is empty: it needs {_one_kind()}")
        return
    for key, message in _complaints(site):
        report.add((*site.path, key) if key else site.path, message, key=bool(key))
    _check_values(report, site)


def _complaints(site: Site) -> Iterator[tuple[str, str]]:
    raw = site.raw
    kinds = [key for key in KINDS if key in raw]
    if len(kinds) > 1:
        yield kinds[1], f"a step has exactly one of {_listed(KINDS)}; this has {_listed(kinds, 'and')}"
    elif not kinds and "output" not in raw and not UNSUPPORTED_STEP_KEYS & raw.keys():
        yield "", f"a step needs {_one_kind()}"
    if len(kinds) <= 1 and not UNSUPPORTED_STEP_KEYS & raw.keys():
        yield from _misplaced(site, kinds[0] if kinds else "output")
    yield from _about_repeating(site)
    yield from _about_undoing(site)
    yield from _about_races(site)
    if "priority" in raw and "queue" not in raw:
        yield "priority", "`priority` is only for a step with `queue`: it is that of the child tasks"
    cases = raw.get("switch")
    for number, case in enumerate(cases[:-1] if isinstance(cases, list) else ()):
        if isinstance(case, dict) and "if" not in case:
            yield "switch", f"case {number + 1} has no `if`, so none after it is ever taken: put it last"
            return


def _misplaced(site: Site, kind: str) -> Iterator[tuple[str, str]]:
    for key, kinds, what in ONLY_WITH:
        if key in site.raw and kind not in kinds:
            not_for_wait = NOT_FOR_WAITS.get(key) if kind == "wait" else None
            yield key, not_for_wait or f"`{key}` is only for {what}"
    if kind == "run" and "shell" in site.raw and isinstance(site.step.run, list):
        yield "shell", "`shell` is only for scripts: a list is run without a shell"
    if kind == "run" and site.step.run in ("", []):
        yield "run", "`run` is empty: it needs a script, or a program and its arguments"


def _about_repeating(site: Site) -> Iterator[tuple[str, str]]:
    if "until" in site.raw and "foreach" in site.raw:
        yield (
            "until",
            "a step has `foreach` or `until`, not both: put the step with `until` into a group with `foreach`",
        )
    for key in ("every", "max_times"):
        if key in site.raw and "until" not in site.raw:
            yield key, f"`{key}` is only for `until`"


def _about_undoing(site: Site) -> Iterator[tuple[str, str]]:
    if "compensate" not in site.raw:
        return
    for listing, _ in site.around:
        if listing.role == "compensate":
            yield "compensate", "what undoes a step is not undone itself: no `compensate` may stand in `compensate`"
        elif listing.role in ("on_failure", "on_cancel", "finally"):
            yield "compensate", f"steps in `{listing.role}` are not undone: `compensate` is for those that do the work"


def _about_races(site: Site) -> Iterator[tuple[str, str]]:
    racers = site.raw.get("race")
    if isinstance(racers, list) and len(racers) == 1:
        yield "race", "a race needs at least two steps: of one alone, it is a group (`steps`)"
    if site.listing.role == "race" and site.step.needs:
        yield "needs", "the steps of a race start at once: none of them can need another"


def _check_values(report: Report, site: Site) -> None:
    step = site.step
    if step.foreach and step.foreach.as_ in RESERVED_NAMES:
        report.add((*site.path, "foreach", "as"), f"`{step.foreach.as_}` means something else: choose another name")
    for path, least in AT_LEAST:
        holder = step if len(path) == 1 else getattr(step, path[0])
        value = getattr(holder, path[-1]) if holder is not None else None
        if isinstance(value, int) and value < least:
            report.add((*site.path, *path), f"`{path[-1]}` must be at least {least}, not {value}")
    check_time_limit(report, (*site.path, "timeout"), step.timeout)
    if isinstance(step.wait, Wait):
        check_wait(report, site.path, step.wait, site.raw["wait"])
        if step.wait.match is not None and "event" in site.inside:
            message = "`event` is the payload here and hides the item of that name: give `foreach` another `as`"
            report.add((*site.path, "wait", "match"), message)


def _listed(keys: tuple[str, ...] | list[str], last: str = "or") -> str:
    named = [f"`{key}`" for key in keys]
    return f" {last} ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]


def _one_kind() -> str:
    return f"one of {_listed(KINDS)}, or `output` for a pure value"
