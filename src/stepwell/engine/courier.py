"""The courier: brings published events to the tasks that wait for them, and to the workflows that they start."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sized

from stepwell.errors import QueueFull, Unavailable
from stepwell.ports import Queue, TaskStore
from stepwell.task import Publication

log = logging.getLogger(__name__)

WAITS, TRIGGERS = "waits", "triggers"
"""The groups of consumers: tasks that wait, and workflows that events start."""

PAUSE = 0.4
"""Seconds between two looks, so that a task wakes well within a second."""


class Courier:
    """A daemon thread; any number of processes may have one. `fire` starts workflows, where this process knows them.

    A publication is told as delivered when all that it causes is in the store, and what it causes it causes once: so
    one that is delivered twice, after a crash in between, does nothing more.
    """

    def __init__(
        self, store: TaskStore, queue: Queue, consumer: str, fire: Callable[[Publication], Sized] | None = None
    ) -> None:
        self._store, self._queue, self._consumer = store, queue, consumer
        self._groups: dict[str, Callable[[Publication], int]] = {WAITS: self._rouse}
        if fire is not None:
            self._groups[TRIGGERS] = lambda publication: len(fire(publication))
        self._stopping, self._nudged = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._rounds, name="stepwell-courier", daemon=True)
        self._is_away = False

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def nudge(self) -> None:
        """Something was published here: look now."""
        self._nudged.set()

    def stop(self) -> None:
        """End after what is under way."""
        self._stopping.set()
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def deliver(self) -> int:
        """Deliver what was published since, in its order; answers how many. One for which there is no room holds up no
        other: it is delivered again later."""
        delivered = 0
        for group, bring in self._groups.items():
            while found := self._store.undelivered(group, self._consumer):
                delivered += sum(self._is_delivered(group, publication, bring) for publication in found)
        return delivered

    def _is_delivered(self, group: str, publication: Publication, bring: Callable[[Publication], int]) -> bool:
        try:
            received = bring(publication)
        except QueueFull as error:
            log.warning("event %s (%s) is delivered again later: %s", publication.name, publication.id, error)
            return False
        self._store.delivered(group, publication, received)
        return True

    def _rouse(self, publication: Publication) -> int:
        received = 0
        while roused := self._store.rouse(publication):
            for task in roused:
                self._queue.ring(task)
            received += len(roused)
        return received

    def _rounds(self) -> None:
        while not self._stopping.is_set():
            self._nudged.clear()
            try:
                self.deliver()
                self._is_away = False
            except Unavailable as error:
                log.log(logging.DEBUG if self._is_away else logging.WARNING, "events are not delivered: %s", error)
                self._is_away = True
            except Exception:  # the thread must live on: without it nobody is told of events
                log.exception("a round of the courier failed")
            self._nudged.wait(PAUSE * random.uniform(0.8, 1.2))
