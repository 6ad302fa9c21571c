"""The courier: what is published reaches whoever waits for it, and what it starts, each once."""

from __future__ import annotations

import pytest

from stepwell.engine.courier import Courier
from stepwell.errors import Unavailable
from stepwell.ids import new_task_id
from stepwell.ports import Commit, Suspension
from stepwell.publishing import Publisher
from stepwell.queues.silent import SilentQueue
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask, Publication, Status, Task
from stepwell.topics import topic


class Rung(SilentQueue):
    """A queue that remembers for whom it was rung."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[str] = []

    def ring(self, task: Task) -> None:
        self.tasks.append(task.task_id)


def waiting(store: MemoryStore, *topics: str) -> Task:
    """A task that listens for these topics."""
    task, _ = store.create(NewTask(new_task_id(), "w", "0" * 64, "{}", "workflow_execute", 1, "{}", 60.0, 0))
    claim = store.claim(task.task_id, f"token-{task.task_id}", "worker")
    assert claim is not None
    return store.suspend(task.task_id, claim.token, Commit(), Suspension(topics=topics))


def test_everybody_who_waits_for_the_name_is_woken_and_rung_for_once() -> None:
    store, queue = MemoryStore(), Rung()
    courier = Courier(store, queue, "me")
    first, second, other = waiting(store, "paid"), waiting(store, "paid"), waiting(store, "shipped")
    Publisher(store).publish("paid", {"order": 1})
    assert courier.deliver() == 1
    assert sorted(queue.tasks) == sorted([first.task_id, second.task_id])
    assert store.get(other.task_id).status is Status.WAITING
    assert courier.deliver() == 0
    assert store.publications()["paid"] == {"published": 1, "received": 2, "listening": 0}


def test_who_waits_for_a_value_is_woken_by_that_value_only() -> None:
    store, queue = MemoryStore(), Rung()
    topics = [topic("paid", "order", number) for number in range(3)]
    tasks = [waiting(store, name) for name in topics if name is not None]
    Publisher(store).publish("paid", {"order": 1})
    Courier(store, queue, "me").deliver()
    assert queue.tasks == [tasks[1].task_id]


def test_two_couriers_share_the_work_and_each_group_gets_all() -> None:
    store, started = MemoryStore(), list[str]()

    def fire(publication: Publication) -> list[str]:
        started.append(publication.name)
        return [publication.name]

    couriers = [Courier(store, SilentQueue(), f"courier-{number}", fire) for number in range(2)]
    for number in range(5):
        Publisher(store).publish(f"event-{number}", None)
    assert sum(courier.deliver() for courier in couriers) == 10
    assert started == [f"event-{number}" for number in range(5)]


def test_a_delivery_that_broke_off_is_made_again() -> None:
    now = [1000.0]
    store, started = MemoryStore(lambda: now[0]), list[str]()

    def fire(publication: Publication) -> list[str]:
        started.append(publication.id)
        if len(started) == 1:
            raise Unavailable("the store went away")
        return []

    Publisher(store).publish("paid", None)
    with pytest.raises(Unavailable):
        Courier(store, SilentQueue(), "first", fire).deliver()
    assert Courier(store, SilentQueue(), "second", fire).deliver() == 0
    now[0] += 31
    assert Courier(store, SilentQueue(), "second", fire).deliver() == 1
    assert started[0] == started[1]
