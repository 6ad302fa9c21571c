"""The inline pool where runs get stuck, move to other threads or break, and where rooms are many."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue

import pytest
from tests.tasks import queued

from stepwell.errors import QueueFull
from stepwell.queues.inline import InlineQueue
from stepwell.task import Task

PATIENCE = 20.0

Done = Callable[[Task | None], None]


class OneRun:
    """A run whose end is told by the test with `over`, and whose thread comes back with `leave`."""

    def __init__(self, done: Done) -> None:
        self.over, self._left = done, SimpleQueue[Exception | None]()

    def stay(self) -> None:
        if (error := self._left.get()) is not None:
            raise error

    def leave(self, error: Exception | None = None) -> None:
        self._left.put(error)


class ByHand:
    """Runs that go as the test wants."""

    def __init__(self) -> None:
        self.begun: SimpleQueue[OneRun] = SimpleQueue()

    def __call__(self, task_id: str, done: Done) -> None:
        run = OneRun(done)
        self.begun.put(run)
        run.stay()

    def next(self) -> OneRun:
        """The next run that begins."""
        return self.begun.get(timeout=PATIENCE)


def end_of(queue: InlineQueue, task_id: str) -> Future[Task | None]:
    future = queue.ended(task_id)
    assert future is not None
    return future


@pytest.mark.parametrize("error", [None, ValueError("a bug")], ids=["returns", "raises"])
def test_a_stuck_thread_does_not_end_the_next_run_of_its_task(error: Exception | None) -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 2, 1)
    queue.ring(task)
    stuck = runs.next()
    stuck.over(None)  # another thread has ended this run
    queue.ring(task)
    second = runs.next()
    end = end_of(queue, "a")
    queue.ring(queued("b"))
    stuck.leave(error)
    last = runs.next()  # the thread that was stuck has come back to the pool
    assert not end.done()
    last.over(None)
    last.leave()
    second.over(task)
    assert end.result(PATIENCE) is task
    second.leave()
    queue.close()


def test_a_stuck_thread_keeps_its_place() -> None:
    runs = ByHand()
    queue = InlineQueue(runs, 1, 0)
    queue.ring(queued("a"))
    stuck = runs.next()
    stuck.over(None)
    assert queue.stats()["current_processing"] == 1
    with pytest.raises(QueueFull), queue.room():
        pass
    queue.ring(queued("b"))
    stuck.leave()
    last = runs.next()
    last.over(None)
    last.leave()
    queue.close()


def test_a_task_whose_thread_is_stuck_can_run_again_in_another() -> None:
    runs = ByHand()
    queue = InlineQueue(runs, 2, 0)
    queue.ring(queued("a"))
    stuck = runs.next()
    queue.ring(queued("a"))
    stuck.over(None)
    last = runs.next()
    for run in (stuck, last):
        run.over(None)
        run.leave()
    queue.close()


def test_a_run_that_goes_on_in_another_thread_keeps_its_place_until_it_is_over() -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 1, 5)
    queue.ring(task)
    run, end = runs.next(), end_of(queue, "a")
    queue.ring(queued("b"))
    run.leave()
    with pytest.raises(TimeoutError):
        end.result(0.05)
    assert runs.begun.empty()
    run.over(task)
    assert end.result(PATIENCE) is task
    last = runs.next()
    last.over(None)
    last.leave()
    queue.close()


def test_a_task_that_is_rung_for_while_its_run_ends_has_a_second_end() -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 1, 1)
    queue.ring(task)
    run, first = runs.next(), end_of(queue, "a")
    with queue.room() as room:
        room.ring(task)
    with pytest.raises(QueueFull), queue.room():
        pass
    second = end_of(queue, "a")
    run.over(task)
    assert (first.result(PATIENCE), second.done()) == (task, False)
    run.leave()
    run = runs.next()
    run.over(None)
    run.leave()
    assert second.result(PATIENCE) is None
    assert queue.ended("a") is None
    queue.close()


@pytest.mark.parametrize("forget", [lambda queue: queue.remove("a"), InlineQueue.close], ids=["remove", "close"])
@pytest.mark.parametrize("running", ["a", "b"])
def test_who_waits_for_what_will_not_run_is_told(forget: Callable[[InlineQueue], None], running: str) -> None:
    runs = ByHand()
    queue = InlineQueue(runs, 1, 5)
    queue.ring(queued(running))
    run = runs.next()
    queue.ring(queued("a"))
    end = end_of(queue, "a")
    forget(queue)
    assert end.result(PATIENCE) is None
    run.over(None)
    run.leave()
    queue.close()


def test_nobody_who_waits_for_a_run_can_cancel_the_wait_of_others() -> None:
    runs, task = ByHand(), queued("a")
    queue = InlineQueue(runs, 1, 0)
    queue.ring(task)
    run, end = runs.next(), end_of(queue, "a")
    assert not end.cancel()
    run.over(task)
    assert end.result(PATIENCE) is task
    run.leave()
    queue.close()


def test_who_sends_a_task_right_after_the_end_of_another_finds_the_place_free() -> None:
    begin, free = threading.Event(), SimpleQueue[bool]()

    def run(_: str, done: Done) -> None:
        assert begin.wait(PATIENCE)
        done(None)

    def send(_: Future[Task | None]) -> None:
        try:
            with queue.room():
                free.put(True)
        except QueueFull:
            free.put(False)

    queue = InlineQueue(run, 1, 0)
    queue.ring(queued("a"))
    end_of(queue, "a").add_done_callback(send)
    begin.set()
    assert free.get(timeout=PATIENCE)
    queue.close()


def test_a_run_that_breaks_is_logged_and_over(caplog: pytest.LogCaptureFixture) -> None:
    begins = threading.Event()

    def run(_: str, done: Done) -> None:
        assert begins.wait(PATIENCE)
        raise SystemExit("a bug")

    queue = InlineQueue(run, 1, 0)
    queue.ring(queued("a"))
    end = end_of(queue, "a")
    with caplog.at_level(logging.ERROR):
        begins.set()
        assert end.result(PATIENCE) is None
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
        self.all_here = threading.Barrier(CONCURRENCY + 1)

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
        names = [f"last{number}" for number in range(CONCURRENCY)]
        for name in names:
            self.queue.ring(queued(name, priority=-1))
        ends = [end_of(self.queue, name) for name in names]
        self.all_here.wait(PATIENCE)  # each thread is in one of the last runs
        for end in ends:
            end.result(PATIENCE)


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
