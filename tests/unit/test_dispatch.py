"""The queue that rings for workers where it can: what happens to bells, answers and logs where it cannot."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.tasks import queued

from stepwell.errors import NotDelivered, QueueFull, Unavailable
from stepwell.queues.dispatch import Dispatch
from stepwell.queues.silent import SilentQueue
from stepwell.task import Task

AWAY = NotDelivered("Redis cannot be reached")
LOCAL = "local"
"""The id of a task that is kept on this host."""


class Noted(SilentQueue):
    """A queue that notes for whom it was rung, unless it raises `error`."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.removed: list[str] = []
        self.error: Unavailable | None = None

    def ring(self, task: Task) -> None:
        self._fail()
        self.rung.append(task.task_id)

    def remove(self, task_id: str) -> None:
        self._fail()
        self.removed.append(task_id)

    def ring_again(self, tasks: Sequence[Task]) -> int:
        self._fail()
        self.rung += [task.task_id for task in tasks]
        return len(tasks)

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


class Full(Noted):
    """A pool without a place."""

    def room(self, count: int = 1) -> SilentQueue:  # type: ignore[override]
        raise QueueFull(f"no place for {count}")


class Parts:
    """A dispatch, and the queues that it is over."""

    def __init__(self, pool: Noted) -> None:
        self.workers, self.pool = Noted(), pool
        self.dispatch = Dispatch(self.workers, pool, lambda task_id: task_id == LOCAL, lambda: "kept here")


@pytest.fixture
def parts() -> Parts:
    return Parts(Noted())


def test_workers_are_rung_and_nothing_is_said(parts: Parts) -> None:
    parts.dispatch.ring(queued("a"))
    assert (parts.workers.rung, parts.pool.rung) == (["a"], [])
    assert parts.dispatch.is_for_workers("a")
    assert (parts.dispatch.why_here("a"), parts.dispatch.diverted) == (None, 0)


def test_a_bell_that_may_be_lost_rings_here_and_the_answer_can_tell_why(parts: Parts) -> None:
    parts.workers.error = AWAY
    parts.dispatch.ring(queued("a"))
    assert parts.pool.rung == ["a"]
    assert not parts.dispatch.is_for_workers("a")
    assert (parts.dispatch.why_here("a"), parts.dispatch.diverted) == (str(AWAY), 1)


def test_once_the_workers_are_rung_for_a_task_it_is_theirs_again(parts: Parts) -> None:
    parts.workers.error = AWAY
    parts.dispatch.ring(queued("a"))
    parts.workers.error = None
    parts.dispatch.ring(queued("a"))
    assert parts.dispatch.is_for_workers("a")
    assert parts.dispatch.why_here("a") is None


def test_a_task_of_this_host_is_never_for_workers(parts: Parts) -> None:
    assert not parts.dispatch.is_for_workers(LOCAL)
    parts.dispatch.ring(queued(LOCAL))
    assert (parts.workers.rung, parts.pool.rung) == ([], [LOCAL])
    assert parts.dispatch.why_here(LOCAL) == "kept here"


def test_a_full_pool_hides_from_nobody_that_a_task_can_only_run_here() -> None:
    parts = Parts(Full())
    parts.dispatch.ring(queued(LOCAL))
    assert parts.dispatch.why_here(LOCAL) == "kept here"
    parts.workers.error = AWAY
    parts.dispatch.ring(queued("a"))
    assert parts.dispatch.why_here("a") is None  # it waits for whoever is there first
    assert parts.dispatch.diverted == 0


def test_a_bell_that_cannot_be_taken_back_fails_no_cancel(parts: Parts) -> None:
    parts.workers.error = AWAY
    parts.dispatch.remove("a")
    assert parts.pool.removed == ["a"]


def test_lost_bells_of_this_host_are_rung_again_without_asking_the_workers(parts: Parts) -> None:
    parts.workers.error = AWAY
    assert parts.dispatch.ring_again([queued(LOCAL)]) == 1
    assert parts.pool.rung == [LOCAL]
    with pytest.raises(Unavailable):
        parts.dispatch.ring_again([queued("a"), queued(LOCAL)])
    assert parts.pool.rung == [LOCAL, LOCAL]
