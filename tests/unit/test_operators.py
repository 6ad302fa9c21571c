"""What operators do to dead letters and queues: once, and honestly told, also where two do it, or the store fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stepwell.errors import Conflict, InvalidInput, NotFound, StepwellError, Unavailable
from stepwell.loader import Catalog
from stepwell.operations import Operations
from stepwell.ports import Commit, TaskFilter
from stepwell.queues.silent import SilentQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Submission
from stepwell.stores.memory import MemoryStore
from stepwell.task import Page, Status, Task

QUEUE = "workflow_execute"


class Interrupted(MemoryStore):
    """A store that does something, or fails, right before it writes, or between a read and what follows from it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], object] = lambda: None
        self.after_list: Callable[[], object] = lambda: None

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        page = super().list(only, limit, cursor)
        after, self.after_list = self.after_list, lambda: None
        after()
        return page

    def retry(self, *args: object) -> Task:
        self._once()
        return super().retry(*args)  # type: ignore[arg-type]

    def cancel(self, *args: object) -> Task:
        self._once()
        return super().cancel(*args)  # type: ignore[arg-type]

    def _once(self) -> None:
        before, self.before = self.before, lambda: None
        before()


class Parts:
    """Service and operations over one store, whose queue rings for nobody."""

    def __init__(self, folder: Path) -> None:
        (folder / "w.yaml").write_text("steps: [{id: a, output: 1}]\n", encoding="utf-8")
        (folder / "own.yaml").write_text("queue: mail\nsteps: [{id: a, output: 1}]\n", encoding="utf-8")
        self.store, queue = Interrupted(), SilentQueue()
        self.catalog = Catalog(folder, registry=actions)
        self.service = Service(
            self.store, queue, queue, self.catalog, Cipher(None), Defaults(queues=(QUEUE,), max_queued=10)
        )
        self.operations = Operations(
            self.store, queue, enabled=True, queues=[QUEUE], requeue=self.service.requeue, cancel=self.service.cancel
        )

    def queued(self, workflow: str = "w", here: bool = False) -> str:
        return self.service.submit(self.catalog.get(workflow), Submission(), here).task_id

    def end(self, task_id: str, status: Status) -> None:
        token = f"token-{status}"
        assert self.store.claim(task_id, token, "test") is not None
        self.store.finish(task_id, token, Commit(), status, None, None)

    def dead(self) -> str:
        task_id = self.queued()
        self.end(task_id, Status.FAILED)
        return task_id


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_of_two_who_requeue_a_dead_letter_one_does_it_even_if_it_has_completed_meanwhile(parts: Parts) -> None:
    task_id = parts.dead()

    def quicker() -> None:
        assert parts.operations.requeue(QUEUE) == 1
        parts.end(task_id, Status.COMPLETED)

    parts.store.after_list = quicker
    assert parts.operations.requeue(QUEUE) == 0
    assert (parts.service.get(task_id).status, parts.service.get(task_id).attempt) == (Status.COMPLETED, 2)


def test_a_task_of_a_list_that_somebody_else_requeued_meanwhile_is_not_counted(parts: Parts) -> None:
    first, second = parts.dead(), parts.dead()
    parts.store.before = lambda: parts.service.retry(second)
    assert parts.operations.requeue(None, [first, second]) == 1


@pytest.mark.parametrize("act", ["requeue", "discard"])
def test_nothing_is_done_if_one_of_a_list_is_no_dead_letter(parts: Parts, act: str) -> None:
    dead, alive = parts.dead(), parts.queued()
    with pytest.raises(Conflict, match=alive):
        getattr(parts.operations, act)(None, [dead, alive])
    assert parts.service.get(dead).dead
    with pytest.raises(NotFound):
        getattr(parts.operations, act)(None, [dead, "unknown"])
    assert parts.service.get(dead).dead


@pytest.mark.parametrize("act", ["requeue", "discard"])
def test_a_task_that_stands_twice_in_a_list_is_done_once(parts: Parts, act: str) -> None:
    dead = parts.dead()
    assert getattr(parts.operations, act)(None, [dead, dead]) == 1


def test_clearing_tells_if_the_store_went_away_and_a_repeat_goes_on(parts: Parts) -> None:
    ids = [parts.queued() for _ in range(3)]

    def away() -> None:
        raise Unavailable("the store does not answer")

    parts.store.before = away
    with pytest.raises(Unavailable):
        parts.operations.clear(QUEUE)
    assert parts.operations.clear(QUEUE) == 3
    assert {parts.service.get(task_id).status for task_id in ids} == {Status.CANCELLED}


def test_clearing_leaves_what_has_just_begun_to_run(parts: Parts) -> None:
    _, newest = parts.queued(), parts.queued()
    parts.store.before = lambda: parts.store.claim(newest, "token", "test")
    assert parts.operations.clear(QUEUE) == 1


def test_a_resume_that_can_ring_for_nobody_now_is_done_all_the_same(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> int:
        raise Unavailable("Redis does not answer")

    monkeypatch.setattr(SilentQueue, "ring_again", away)
    parts.operations.pause(QUEUE)
    parts.operations.resume(QUEUE)
    assert parts.store.paused() == set()


def test_a_cancel_that_came_too_late_is_a_conflict_each_time(parts: Parts) -> None:
    task_id = parts.queued()
    assert parts.store.claim(task_id, "token", "test") is not None
    assert parts.service.cancel(task_id, force=True).cancel_requested
    parts.store.finish(task_id, "token", Commit(), Status.COMPLETED, None, None)
    with pytest.raises(StepwellError, match="completed already"):
        parts.service.cancel(task_id, force=True)


def test_a_queue_that_no_worker_serves_is_refused(parts: Parts) -> None:
    with pytest.raises(InvalidInput, match=r"unknown queue 'mail'.*QUEUES"):
        parts.queued("own")
    assert parts.service.get(parts.queued("own", here=True)).queue == "mail"
