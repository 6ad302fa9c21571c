"""The inline pool where runs get stuck, move to other threads or break, and where rooms are many."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest
from tests.tasks import queued

from stepwell.errors import QueueFull
from stepwell.queues.inline import InlineQueue
from stepwell.task import Task

PATIENCE = 20.0

Done = Callable[[Task | None], None]


class ByHand:
    """Runs whose ends are called by the test: `done` is queued when a run starts, `leave` lets its thread return."""

    def __init__(self) -> None:
        self.done: SimpleQueue[Done] = SimpleQueue()
        self.leave: SimpleQueue[None] = SimpleQueue()

    def __call__(self, task_id: str, done: Done) -> None:
        self.done.put(done)
        self.leave.get(timeout=PATIENCE)

    def next(self) -> Done:
        return self.done.get(timeout=PATIENCE)


def test_a_stuck_thread_does_not_end_the_next_run_of_its_task() -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 2, 0)
    queue.ring(task)
    over = runs.next()
    over(task)  # it was taken over, the thread is stuck
    queue.ring(task)
    second_over = runs.next()
    second = queue.ended("a")
    assert second is not None
    over(None)
    runs.leave.put(None)  # one of the two threads returns
    queue.ring(queued("b"))
    third_over = runs.next()
    assert not second.done()
    second_over(task)
    assert second.result(PATIENCE) is task
    third_over(None)
    for _ in range(2):
        runs.leave.put(None)
    queue.close()


def test_a_stuck_thread_keeps_its_place() -> None:
    runs = ByHand()
    queue = InlineQueue(runs, 1, 0)
    queue.ring(queued("a"))
    runs.next()(None)
    assert queue.stats()["current_processing"] == 1
    with pytest.raises(QueueFull), queue.room():
        pass
    runs.leave.put(None)
    queue.ring(queued("b"))
    runs.next()(None)
    runs.leave.put(None)
    queue.close()


def test_a_run_that_goes_on_in_another_thread_keeps_its_place_until_it_is_over() -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 1, 5)
    queue.ring(task)
    over, future = runs.next(), queue.ended("a")
    assert future is not None
    runs.leave.put(None)
    queue.ring(queued("b"))
    assert not future.done()
    assert runs.done.empty()
    over(task)
    assert future.result(PATIENCE) is task
    runs.next()(None)
    runs.leave.put(None)
    queue.close()


def test_a_task_that_is_rung_for_while_its_run_ends_has_a_second_end() -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 1, 1)
    queue.ring(task)
    over, first = runs.next(), queue.ended("a")
    with queue.room() as room:
        room.ring(task)
    with pytest.raises(QueueFull), queue.room():
        pass
    second = queue.ended("a")
    assert first is not None
    assert second is not None
    over(task)
    assert (first.result(PATIENCE), second.done()) == (task, False)
    runs.leave.put(None)
    runs.next()(None)
    runs.leave.put(None)
    assert second.result(PATIENCE) is None
    assert queue.ended("a") is None
    queue.close()


@pytest.mark.parametrize("end", [lambda queue: queue.remove("a"), InlineQueue.close])
def test_those_who_wait_for_what_will_not_run_are_told(end: Callable[[InlineQueue], None]) -> None:
    runs = ByHand()
    queue = InlineQueue(runs, 1, 5)
    queue.ring(queued("first"))
    over = runs.next()
    queue.ring(queued("a"))
    waits = queue.ended("a")
    assert waits is not None
    end(queue)
    assert waits.result(PATIENCE) is None
    over(None)
    runs.leave.put(None)
    queue.close()


def test_nobody_who_waits_can_cancel_the_wait_of_others() -> None:
    queue = InlineQueue(lambda _, done: done(None), 1, 0)
    runs = ByHand()
    queue = InlineQueue(runs, 1, 0)
    queue.ring(queued("a"))
    over, future = runs.next(), queue.ended("a")
    assert future is not None
    assert not future.cancel()
    over(None)
    assert future.result(PATIENCE) is None
    runs.leave.put(None)
    queue.close()


def test_there_is_room_again_when_the_end_is_told() -> None:
    """Who sends the next task right after the answer finds the place free."""
    returns = threading.Event()

    def run(_: str, done: Done) -> None:
        done(None)
        returns.wait(PATIENCE)

    queue = InlineQueue(run, 1, 0)
    over = threading.Event()
    free: list[bool] = []

    def send(_: object) -> None:
        with queue.room():
            free.append(True)
        over.set()

    with queue.room() as room:
        gate = threading.Lock()
        with gate:
            room.ring(queued("a"))
            future = queue.ended("a")
        if future is not None:
            future.add_done_callback(send)
        else:
            send(None)
    assert over.wait(PATIENCE)
    assert free == [True]
    returns.set()
    queue.close()


def test_a_run_that_breaks_is_logged_and_over(caplog: pytest.LogCaptureFixture) -> None:
    begins = threading.Event()

    def run(_: str, done: Done) -> None:
        assert begins.wait(PATIENCE)
        raise SystemExit("a bug")

    queue = InlineQueue(run, 1, 0)
    queue.ring(queued("a"))
    future = queue.ended("a")
    assert future is not None
    with caplog.at_level(logging.ERROR):
        begins.set()
        assert future.result(PATIENCE) is None
    assert "the run of task a broke" in caplog.text
    queue.close()


def test_a_thread_that_cannot_be_started_is_tried_again_by_the_next_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: SimpleQueue[str] = SimpleQueue()

    def run(task_id: str, done: Done) -> None:
        ran.put(task_id)
        done(None)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    queue = InlineQueue(run, 1, 1)
    with monkeypatch.context() as no_threads:
        no_threads.setattr(threading.Thread, "start", refuse)
        with queue.room() as room:
            room.ring(queued("a"))
    assert queue.stats()["queue_size"] == 1
    queue.ring(queued("a"))
    assert ran.get(timeout=PATIENCE) == "a"
    queue.close()


CONCURRENCY, SIZE = 3, 5


class Chaos:
    """Threads that reserve, ring, remove and fail at random, over runs that end in every way there is."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.queue = InlineQueue(self.run, CONCURRENCY, SIZE)
        self.all_here = threading.Barrier(CONCURRENCY)

    def run(self, task_id: str, done: Done) -> None:
        if task_id.startswith("last"):
            self.all_here.wait(PATIENCE)
            done(None)
            return
        way = random.Random(f"{self.seed} {task_id}").randrange(4)
        if way == 0:
            raise ValueError("a bug")
        if way == 1:
            threading.Thread(target=done, args=(None,)).start()
        else:
            done(None)
        if way == 2:
            done(None)

    def act(self, number: int) -> None:
        """What one caller does."""
        choose = random.Random(self.seed * 100 + number)
        for _ in range(60):
            task = queued(str(choose.randrange(40)), choose.randrange(4))
            try:
                self.ring_some(choose, task)
            except (QueueFull, LookupError):
                self.queue.remove(task.task_id)
            if choose.random() < 0.2:
                self.queue.ring(task)

    def ring_some(self, choose: random.Random, task: Task) -> None:
        count = choose.randint(1, 4)
        with self.queue.room(count) as room:
            for _ in range(choose.randint(0, count)):
                room.ring(queued(str(choose.randrange(40))))
            if choose.random() < 0.3:
                raise LookupError(task.task_id)

    def calm_down(self) -> None:
        """Return when every thread of the pool has come back from all that was rung for."""
        lasts = [queued(f"last{number}", priority=-1) for number in range(CONCURRENCY)]
        futures = [self.queue.ended(task.task_id) for task in lasts if self.queue.ring(task) is None]
        for future in futures:
            assert future is not None
            future.result(PATIENCE)


@pytest.mark.parametrize("seed", range(6))
def test_all_the_room_is_there_again_after_any_mix_of_rooms_rings_and_ends(seed: int) -> None:
    chaos = Chaos(seed)
    callers = [threading.Thread(target=chaos.act, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(PATIENCE)
        assert not caller.is_alive()
    chaos.calm_down()
    with chaos.queue.room(CONCURRENCY + SIZE), pytest.raises(QueueFull), chaos.queue.room():
        pass
    with pytest.raises(QueueFull), chaos.queue.room(CONCURRENCY + SIZE + 1):
        pass
    chaos.queue.close()
