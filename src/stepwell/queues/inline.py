"""The inline pool: a bounded number of threads in this process, by priority, first in first out within one."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from stepwell.errors import QueueFull
from stepwell.ports import WorkerView
from stepwell.task import Task

log = logging.getLogger(__name__)

Run = Callable[[str, Callable[[Task | None], None]], None]
"""Runs a task, and calls back once when that is over. It may return later, where it is stuck in code that does not
yield, or earlier, where the run goes on in another thread."""


class Bell:
    """One run that was rung for: it waits, then runs, then is over.

    `order` is its place among those that wait: by priority, then by age, also for one that was handed back.
    """

    def __init__(self, task: Task, number: int) -> None:
        self.task_id, self.order = task.task_id, (-task.priority, task.created_at, number)
        self.line = (task.queue, task.priority)
        self.over: Future[Task | None] = Future()
        self.over.set_running_or_notify_cancel()  # from now on nobody who waits for it can cancel it for all others


class InlineRoom:
    """Reserved places of an `InlineQueue`; `left` are those that no task has taken yet."""

    def __init__(self, count: int, ring: Callable[[InlineRoom, Task], None]) -> None:
        self.left, self._ring = count, ring

    def ring(self, task: Task) -> None:
        """Ring for a task, in one of these places."""
        self._ring(self, task)


class InlineQueue:
    """A `Queue` served by threads of this process.

    At most `max_concurrency` tasks run at once and at most `max_size` wait; beyond that `room` refuses. A thread
    that is stuck in user code keeps its place until that code returns.
    """

    def __init__(self, run: Run, max_concurrency: int, max_size: int) -> None:
        self._run, self._max_concurrency, self._max_size = run, max_concurrency, max_size
        self._numbers = itertools.count()
        self._waiting: list[tuple[tuple[int, float, int], Bell]] = []
        self._busy: set[Bell] = set()
        self._bells: dict[str, Bell] = {}
        self._again: dict[str, Bell] = {}
        self._changed = threading.Condition()
        self._reserved = self._threads = 0
        self._open = True

    @contextmanager
    def room(self, count: int = 1) -> Iterator[InlineRoom]:
        """Reserve room for so many tasks, for the time of a `with`. Raises `QueueFull`."""
        room = InlineRoom(count, self._ring_in)
        self._reserve(count)
        try:
            yield room
        finally:
            with self._changed:
                self._reserved -= room.left
                room.left = 0

    def ring(self, task: Task) -> None:
        """Have the task run as soon as a thread is free, also if there is no room; one that waits already waits on,
        one that runs is run again afterwards."""
        with self._changed:
            self._take(task)

    def remove(self, task_id: str) -> None:
        """Forget a task that waits, because it was cancelled."""
        with self._changed:
            forgotten = self._again.pop(task_id, None) or self._unqueue(task_id)
        if forgotten is not None:
            forgotten.over.set_result(None)

    def lengths(self) -> Mapping[tuple[str, int], int]:
        """How many tasks wait for each queue and priority."""
        with self._changed:
            return Counter(bell.line for bell in (*(bell for _, bell in self._waiting), *self._again.values()))

    def ring_again(self, tasks: Sequence[Task]) -> int:
        """Ring for those of these tasks that are not here; answers for how many."""
        with self._changed:
            lost = [task for task in tasks if task.task_id not in self._bells]
            for task in lost:
                self._take(task)
        return len(lost)

    def workers(self) -> Sequence[WorkerView]:
        """None: the threads of this process are no workers."""
        return ()

    def ended(self, task_id: str) -> Future[Task | None] | None:
        """Done when this pool is through with a task that waits or runs here; None for any other task."""
        with self._changed:
            bell = self._again.get(task_id) or self._bells.get(task_id)
            return None if bell is None else bell.over

    def ahead(self, task: Task) -> int:
        """How many tasks wait here that start before this one; for one that is not here, if it were rung for now."""
        with self._changed:
            bell = self._bells.get(task.task_id)
            if bell is None:
                return sum(order[0] <= -task.priority for order, _ in self._waiting)
            return 0 if bell in self._busy else sum(order < bell.order for order, _ in self._waiting)

    def stats(self) -> Mapping[str, Any]:
        """How busy the pool is, by the names of the API."""
        with self._changed:
            return {
                "current_processing": len(self._busy),
                "queue_size": self._queue_size(),
                "max_workers": self._max_concurrency,
                "max_queue_size": self._max_size,
                "is_running": self._open,
            }

    def close(self) -> None:
        """Start nothing more; what waits stays `queued` in the store, for the next process."""
        with self._changed:
            self._open = False
            left = [*(bell for _, bell in self._waiting), *self._again.values()]
            for _, bell in self._waiting:
                del self._bells[bell.task_id]
            self._waiting.clear()
            self._again.clear()
            self._changed.notify_all()
        for bell in left:
            bell.over.set_result(None)

    # -- what waits; the caller holds the lock -----------------------------------------------------------------------

    def _queue_size(self) -> int:
        return len(self._waiting) + len(self._again)

    def _take(self, task: Task) -> None:
        if not self._open:
            return
        last = self._bells.get(task.task_id)
        if last is None:
            self._queue(Bell(task, next(self._numbers)))
        elif last in self._busy:  # it may have ended in the store already, and have been retried
            self._again.setdefault(task.task_id, Bell(task, next(self._numbers)))
        self._staff()

    def _queue(self, bell: Bell) -> None:
        self._bells[bell.task_id] = bell
        heapq.heappush(self._waiting, (bell.order, bell))
        self._changed.notify()

    def _unqueue(self, task_id: str) -> Bell | None:
        left = [entry for entry in self._waiting if entry[1].task_id != task_id]
        if len(left) == len(self._waiting):
            return None
        heapq.heapify(left)
        self._waiting = left
        return self._bells.pop(task_id)

    def _staff(self) -> None:
        """Start one more thread if more could be at work than there are."""
        if self._threads >= min(self._max_concurrency, len(self._busy) + len(self._waiting)):
            return
        try:
            threading.Thread(target=self._serve, name="stepwell-inline", daemon=True).start()
        except RuntimeError as error:  # the task waits on: the next ring for any task tries again
            log.error("no thread could be started for the inline pool, it has %d: %s", self._threads, error)
        else:
            self._threads += 1

    # -- rooms -------------------------------------------------------------------------------------------------------

    def _reserve(self, count: int) -> None:
        with self._changed:
            if not self._open:
                raise QueueFull("this server is stopping: send it again", retry_after=5)
            used = len(self._busy) + self._queue_size() + self._reserved
            if count > self._max_concurrency + self._max_size - used:
                message = f"{len(self._busy)} tasks run and {self._queue_size()} wait, which is all that is allowed"
                raise QueueFull(f"{message} (INLINE_MAX_CONCURRENCY, INLINE_QUEUE_MAX_SIZE)", retry_after=1)
            self._reserved += count

    def _ring_in(self, room: InlineRoom, task: Task) -> None:
        with self._changed:  # both under one lock, so that nobody can take the place in between
            if room.left == 0:
                raise ValueError(f"there is no place left in this room for task {task.task_id}")
            room.left -= 1
            self._reserved -= 1
            self._take(task)

    # -- the threads -------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while (bell := self._next()) is not None:
            over = partial(self._over, bell, threading.get_ident())
            try:
                self._run(bell.task_id, over)
            except BaseException:  # whatever one run does, this thread is there for all that wait
                log.exception("the run of task %s broke", bell.task_id)
                over(None)
            bell.over.result()  # the run may go on in another thread
            with self._changed:
                self._busy.discard(bell)

    def _next(self) -> Bell | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open)
            if not self._waiting:
                return None
            _, bell = heapq.heappop(self._waiting)
            self._busy.add(bell)
            return bell

    def _over(self, bell: Bell, thread: int, task: Task | None) -> None:
        """The run is over, called from any thread; in its own one it also gives its place back, before anybody who
        waits for the end asks for room."""
        with self._changed:
            if self._bells.get(bell.task_id) is not bell:
                return
            del self._bells[bell.task_id]
            if threading.get_ident() == thread:
                self._busy.discard(bell)
            if (again := self._again.pop(bell.task_id, None)) is not None:
                self._queue(again)
                self._staff()
        bell.over.set_result(task)
