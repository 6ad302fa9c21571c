"""The judge of very many tasks itself: what was planted is found."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.chaos.many import most_at_once, problems

from stepwell.task import Event

TOLD = (
    "task.created",
    "task.queued",
    "task.started",
    "step.completed first",
    "task.waiting",
    "task.queued",
    "task.started",
    "step.completed second",
    "task.completed",
)
CRASHED = (*TOLD[:3], "task.queued", *TOLD[2:])


def found(told: Sequence[str]) -> list[str]:
    parts = [kind.partition(" ") for kind in told]
    events = [Event(number, "t", 1.0, kind, path or None) for number, (kind, _, path) in enumerate(parts, 1)]
    return problems(events, ["first", "second"])


@pytest.mark.parametrize("told", [TOLD, CRASHED], ids=["undisturbed", "crashed"])
def test_what_is_well_is_no_problem(told: Sequence[str]) -> None:
    assert found(told) == []


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ((*TOLD, "task.completed"), "task t: task.completed was told 2 times"),
        ((*TOLD, "step.completed first"), "task t: step.completed first was told 2 times"),
        (tuple(kind for kind in TOLD if kind != "step.completed second"), "step.completed second was told 0 times"),
        ((*TOLD[:5], "task.queued", *TOLD[5:]), "task t: it was queued 3 and started 2 times"),
    ],
    ids=["it ended twice", "a step was committed twice", "a step was lost", "it woke twice"],
)
def test_what_was_planted_is_found(told: Sequence[str], problem: str) -> None:
    (one,) = found(told)
    assert problem in one


@pytest.mark.parametrize(
    ("begins", "ends", "most"),
    [([], [], 0), ([1, 2], [2, 3], 1), ([1, 2], [3, 4], 2), ([1, 1, 5], [9, 2, 6], 2)],
    ids=["none", "one after the other", "over each other", "two pairs"],
)
def test_what_overlaps_is_counted(begins: Sequence[float], ends: Sequence[float], most: int) -> None:
    assert most_at_once(begins, ends) == most
