"""What every `Queue` that is served by threads of this process does, whatever it is made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Protocol

import pytest
from tests.tasks import queued

from stepwell.errors import QueueFull
from stepwell.ports import Queue
from stepwell.queues.inline import InlineQueue, Run
from stepwell.task import Task

PATIENCE = 20.0
"""Seconds after which a test gives up on a thread."""


class Served(Queue, Protocol):
    """A queue, and the pool that serves it."""

    def close(self) -> None:
        """Start nothing more."""


Make = Callable[[Run, int, int], Served]


class Runs:
    """Runs that say when they `started`, stay in the ones of `held` until that is set, and raise for `broken`."""

    def __init__(self) -> None:
        self.started: SimpleQueue[str] = SimpleQueue()
        self.held: dict[str, threading.Event] = {}
        self.broken: dict[str, BaseException] = {}

    def __call__(self, task_id: str, done: Callable[[Task | None], None]) -> None:
        self.started.put(task_id)
        if task_id in self.held:
            assert self.held[task_id].wait(PATIENCE)
        if task_id in self.broken:
            raise self.broken[task_id]
        done(None)

    def next(self, count: int = 1) -> list[str]:
        """The next so many runs that start."""
        return [self.started.get(timeout=PATIENCE) for _ in range(count)]


@pytest.fixture
def runs() -> Iterator[Runs]:
    runs = Runs()
    yield runs
    for event in runs.held.values():
        event.set()


@pytest.fixture(params=["inline"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes queues that run at most so many tasks at once, and let at most so many wait."""
    makers: dict[str, Make] = {"inline": InlineQueue}
    opened: list[Served] = []

    def make(run: Run, max_concurrency: int, max_size: int) -> Served:
        opened.append(makers[request.param](run, max_concurrency, max_size))
        return opened[-1]

    yield make
    for queue in opened:
        queue.close()


def occupied(make: Make, runs: Runs, max_size: int = 10) -> Served:
    """A queue whose only place is taken by the task `first`, until `runs.held["first"]` is set."""
    queue = make(runs, 1, max_size)
    runs.held["first"] = threading.Event()
    queue.ring(queued("first"))
    assert runs.next() == ["first"]
    return queue


def test_the_highest_priority_runs_first_and_within_one_what_was_first(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    for name, priority in [("a", 1), ("b", 3), ("c", 0), ("d", 1), ("e", 3), ("f", 1)]:
        queue.ring(queued(name, priority))
    runs.held["first"].set()
    assert runs.next(6) == ["b", "e", "a", "d", "f", "c"]


def test_an_older_task_that_was_handed_back_comes_before_younger_ones(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    queue.ring(queued("younger", created_at=2.0))
    queue.ring(queued("older", created_at=1.0))
    runs.held["first"].set()
    assert runs.next(2) == ["older", "younger"]


def test_a_task_that_is_rung_for_again_while_it_waits_runs_once(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    for name in ("a", "a", "b", "a"):
        queue.ring(queued(name))
    queue.ring(queued("last", priority=0))
    runs.held["first"].set()
    assert runs.next(3) == ["a", "b", "last"]


def test_a_task_that_is_rung_for_while_it_runs_runs_once_more_afterwards(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    queue.ring(queued("first"))
    queue.ring(queued("first"))
    queue.ring(queued("last", priority=0))
    with pytest.raises(Empty):
        runs.started.get_nowait()
    runs.held["first"].set()
    assert runs.next(2) == ["first", "last"]


def test_a_removed_task_does_not_run(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    for name in ("a", "b", "c", "first"):
        queue.ring(queued(name))
    for name in ("b", "first", "unknown"):
        queue.remove(name)
    queue.ring(queued("last", priority=0))
    runs.held["first"].set()
    assert runs.next(3) == ["a", "c", "last"]


def test_a_removed_task_can_be_rung_for_again(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    queue.ring(queued("a"))
    queue.remove("a")
    queue.ring(queued("a"))
    runs.held["first"].set()
    assert runs.next() == ["a"]


def test_so_many_run_at_once_and_no_more(make: Make, runs: Runs) -> None:
    queue = make(runs, 2, 10)
    runs.held = {name: threading.Event() for name in "abc"}
    for name in "abc":
        queue.ring(queued(name))
    assert sorted(runs.next(2)) == ["a", "b"]
    assert (queue.stats()["current_processing"], queue.stats()["queue_size"]) == (2, 1)
    with pytest.raises(Empty):
        runs.started.get_nowait()
    runs.held["b"].set()
    assert runs.next() == ["c"]


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(1), KeyboardInterrupt()])
def test_a_run_that_raises_stops_nothing_else(make: Make, runs: Runs, error: BaseException) -> None:
    queue = occupied(make, runs)
    runs.broken["first"] = runs.broken["a"] = error
    for name in ("a", "b"):
        queue.ring(queued(name))
    runs.held["first"].set()
    assert runs.next(2) == ["a", "b"]
    queue.ring(queued("a"))
    assert runs.next() == ["a"]


def test_what_waits_when_it_closes_is_left(make: Make, runs: Runs) -> None:
    before = set(threading.enumerate())
    queue = occupied(make, runs)
    for name in ("a", "first"):
        queue.ring(queued(name))
    queue.close()
    queue.ring(queued("b"))
    assert (queue.stats()["queue_size"], queue.stats()["is_running"]) == (0, False)
    with pytest.raises(QueueFull, match="stopping"), queue.room():
        pass
    runs.held["first"].set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
    assert runs.started.empty()


def test_ahead_are_those_that_start_before_it(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs)
    order = [("a", 1), ("b", 1), ("c", 2), ("d", 1), ("e", 0)]
    tasks = {name: queued(name, priority) for name, priority in order}
    for task in tasks.values():
        queue.ring(task)
    assert {name: queue.ahead(task) for name, task in tasks.items()} == {"c": 0, "a": 1, "b": 2, "d": 3, "e": 4}
    assert queue.ahead(queued("first")) == 0
    assert queue.ahead(queued("new", priority=1)) == 4


def test_a_room_is_refused_beyond_what_may_run_and_wait(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs, max_size=3)
    queue.ring(queued("a"))
    with pytest.raises(QueueFull, match="1 tasks run and 1 wait"), queue.room(3):
        pass
    with queue.room(2) as room:
        room.ring(queued("b"))
        with pytest.raises(QueueFull), queue.room():
            pass
    with queue.room():
        pass


def test_a_bell_without_a_room_is_heard_when_all_is_full(make: Make, runs: Runs) -> None:
    queue = occupied(make, runs, max_size=0)
    queue.ring(queued("orphan"))
    runs.held["first"].set()
    assert runs.next() == ["orphan"]


def test_what_a_room_did_not_use_is_given_back_whatever_was_raised(make: Make, runs: Runs) -> None:
    queue = make(runs, 1, 1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), queue.room(2):
            raise KeyboardInterrupt
    with queue.room(2):
        pass


def test_a_place_cannot_be_used_twice(make: Make, runs: Runs) -> None:
    queue = make(runs, 1, 1)
    with queue.room() as room:
        room.ring(queued("a"))
        with pytest.raises(ValueError, match="no place left"):
            room.ring(queued("b"))
    assert runs.next() == ["a"]


def test_a_place_cannot_be_used_after_it_was_given_back(make: Make, runs: Runs) -> None:
    queue = make(runs, 1, 1)
    with queue.room() as room:
        pass
    with pytest.raises(ValueError, match="no place left"):
        room.ring(queued("a"))
