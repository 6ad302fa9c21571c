"""What a round of the sweeper takes over, wakes and rings for; and the grace after an outage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.tasks import queued

from stepwell.engine.sweeper import FORGOTTEN, Sweeper
from stepwell.errors import Unavailable
from stepwell.queues.silent import SilentQueue
from stepwell.stores.files import FsspecFileStore
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask, Status, Task

LEASE = 10.0


class Noted(SilentQueue):
    """A queue that notes for whom it was rung; a bell that is heard by nobody is lost."""

    def __init__(self) -> None:
        self.rung: list[str] = []
        self.waiting = self.waiting_low = 0

    def ring(self, task: Task) -> None:
        self.rung.append(task.task_id)

    def lengths(self) -> Mapping[tuple[str, int], int]:
        return {("workflow_execute", 1): self.waiting, ("workflow_execute", 0): self.waiting_low}

    def ring_again(self, tasks: Sequence[Task]) -> int:
        lost = [task for task in tasks if task.task_id not in self.rung]
        for task in lost:
            self.ring(task)
        return len(lost)


class World:
    """A store that may be away, its sweeper, and the time that both go by."""

    def __init__(self, folder: Path) -> None:
        self.time = 1000.0
        self.store = MemoryStore(lambda: self.time, LEASE)
        self.queue = Noted()
        files = FsspecFileStore(str(folder))
        self.sweeper = Sweeper(
            self.store, files, self.queue, lease_seconds=LEASE, result_ttl=1e6, elapsed=lambda: self.time
        )

    def create(self, task_id: str, delay: float = 0.0, priority: int = 1) -> None:
        model = queued(task_id)
        text = '{"steps": [{"output": 1}]}'
        self.store.create(
            NewTask(task_id, "w", model.definition, text, model.queue, priority, "{}", 60.0, 0, delay=delay)
        )

    def claim(self, task_id: str) -> None:
        self.create(task_id)
        assert self.store.claim(task_id, "t", "me") is not None

    def later(self, seconds: float) -> list[str]:
        """What a sweep rings for after so much time."""
        self.time += seconds
        self.queue.rung.clear()
        self.sweeper.sweep()
        return list(self.queue.rung)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_first_round_rings_for_all_that_is_queued_and_later_ones_for_the_forgotten(world: World) -> None:
    world.create("a")
    assert world.later(0) == ["a"]
    world.create("b")
    assert world.later(1) == []
    assert world.later(FORGOTTEN) == ["a", "b"]


def test_nothing_is_looked_for_while_there_are_as_many_bells_as_tasks(world: World) -> None:
    world.create("a")
    world.queue.waiting = 1
    assert world.later(0) == []
    world.queue.waiting = 0
    assert world.later(FORGOTTEN) == ["a"]


def test_a_long_line_that_is_rung_for_hides_no_lost_bell_of_another(world: World) -> None:
    for number in range(1001):
        world.create(f"low-{number}", priority=0)
    world.queue.waiting_low = 1001
    world.time += 1
    world.create("a")
    assert world.later(FORGOTTEN) == ["a"]


def test_a_lost_workers_task_is_taken_over_once_its_lease_is_over(world: World) -> None:
    world.claim("a")
    for _ in range(4):
        assert world.later(LEASE / 5) == []
    assert world.later(LEASE / 5) == ["a"]
    assert world.store.get("a").crashes == 1


def test_what_is_due_is_woken(world: World) -> None:
    world.create("a", delay=30)
    world.later(0)
    assert world.later(9) == []
    assert world.later(9) == []
    assert world.later(13) == ["a"]


def test_after_an_outage_longer_than_a_lease_every_task_gets_one_lease_of_grace(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.claim("a")
    world.later(0)
    with monkeypatch.context() as away:
        away.setattr(world.store, "reap", _unavailable)
        for _ in range(15):  # rounds go on and fail
            with pytest.raises(Unavailable):
                world.later(LEASE / 5)
    assert world.later(LEASE / 5) == []
    task = world.store.get("a")
    assert (task.status, task.crashes) == (Status.RUNNING, 0)
    for _ in range(4):
        assert world.later(LEASE / 5) == []
    assert world.later(LEASE / 5 + 1) == ["a"]  # nobody renewed it in the grace either


def test_an_outage_of_more_than_half_a_lease_proves_nothing_either(world: World) -> None:
    world.claim("a")
    world.later(LEASE * 0.45)
    assert world.later(LEASE * 0.55) == []  # its worker, which renews every 0.3 leases, may not have been able to
    assert world.store.get("a").crashes == 0


def _unavailable(grace: bool = False) -> list[Task]:
    raise Unavailable("gone")
