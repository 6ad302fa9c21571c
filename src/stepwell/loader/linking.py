"""Workflows of one folder that run each other: each held against the others, and put together with what it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from stepwell.errors import DefinitionError, Problem
from stepwell.loader.calls import Others
from stepwell.loader.definition import Broken, Definition
from stepwell.workflow import called, reachable, snapshot

K = TypeVar("K")
Loaded = Definition | Broken


def linked(own: Mapping[K, Loaded], callers: Sequence[K], read: Callable[[K, Others], Loaded]) -> list[Loaded]:
    """What files hold in the end, sorted by id, that were read each by itself so far.

    `callers` are those whose steps run workflows; `read` reads one again with the others in sight. As long as that
    finds new problems, the callers of those that have them are read once more.
    """
    found, todo = dict(own), list(callers)
    while todo:
        others = as_others(by_id(told_apart(list(found.values()))))
        again = {key: read(key, others) for key in todo}
        broken = {one.workflow_id for key, one in again.items() if _is_newly_broken(found[key], one)}
        found.update(again)
        todo = [key for key in callers if _runs(found[key], broken)]
    loaded = told_apart(list(found.values()))
    others = as_others(by_id(loaded))
    return [bundled(one, others) if isinstance(one, Definition) else one for one in loaded]


def as_others(loaded: Mapping[str, Loaded]) -> Others:
    """What steps can run of it."""
    return {name: one.workflow if isinstance(one, Definition) else f"see {one.file}" for name, one in loaded.items()}


def bundled(definition: Definition, others: Others) -> Definition:
    """A definition whose snapshot holds all workflows that its steps may run; all of them load."""
    sound = {name: other for name, other in others.items() if not isinstance(other, str)}
    included = reachable(definition.workflow, {**sound, definition.workflow_id: definition.workflow}.__getitem__)
    if not included:
        return definition
    text, digest = snapshot(definition.workflow, included)
    return replace(definition, text=text, hash=digest)


def told_apart(loaded: Sequence[Loaded]) -> list[Loaded]:
    """Sorted by id; files with the same id are broken all of them, and each names the others."""
    groups: dict[str, list[Loaded]] = {}
    for one in loaded:
        groups.setdefault(one.workflow_id, []).append(one)
    return [one if len(group) == 1 else _ambiguous(one, group) for _, group in sorted(groups.items()) for one in group]


def by_id(loaded: Sequence[Loaded]) -> dict[str, Loaded]:
    """What each id stands for; the problems of files with the same id are told together."""
    found: dict[str, Loaded] = {}
    for one in loaded:
        first = found.setdefault(one.workflow_id, one)
        if isinstance(first, Broken) and isinstance(one, Broken) and first is not one:
            error = DefinitionError([*first.error.problems, *one.error.problems])
            found[one.workflow_id] = Broken(one.workflow_id, first.file, error)
    return found


def _is_newly_broken(before: Loaded, now: Loaded) -> bool:
    return isinstance(now, Broken) and not isinstance(before, Broken)


def _runs(one: Loaded, names: set[str]) -> bool:
    return isinstance(one, Definition) and not names.isdisjoint(called(one.workflow))


def _ambiguous(one: Loaded, group: Sequence[Loaded]) -> Broken:
    others = ", ".join(other.file for other in group if other is not one)
    problem = Problem(f"the workflow id {one.workflow_id!r} is also that of {others}: change one of them", one.file)
    own = one.error.problems if isinstance(one, Broken) else ()
    return Broken(one.workflow_id, one.file, DefinitionError([problem, *own]))
