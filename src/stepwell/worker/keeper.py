"""The keeper: the child of a worker that speaks to the store for all of them, so that the parent need not.

It renews the leases of all work-horses in one call, tells them what the store says, takes the tasks from those that
died, shows the worker to others, and sweeps. It runs no user code.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from stepwell.engine.courier import Courier
from stepwell.engine.leases import RENEW_AFTER
from stepwell.engine.survivors import Survivors
from stepwell.engine.sweeper import Sweeper
from stepwell.errors import ClaimLost, NotFound, Unavailable
from stepwell.ports import Commit, HorseView, Lease, Queue, TaskStore, WorkerView
from stepwell.task import Status, Task
from stepwell.worker.board import Board, Horse, Lane, Place, Work
from stepwell.worker.forking import leave
from stepwell.worker.patience import Patience
from stepwell.worker.pipes import Link, Lost, Rein, from_order

log = logging.getLogger(__name__)

SHOW_EVERY = 3.0
"""Seconds between two times at which a worker shows itself, at most."""

AGAIN = 0.2
"""Seconds before the store is asked again to take the tasks of a dead work-horse."""

LAST_WORDS = 5.0
"""Seconds that the store has to answer when everything ends."""


Held = tuple[Work, Lane, Rein]
"""A claim that a work-horse shows, where it does, and how to tell it what becomes of it."""


class Presence(Protocol):
    """Where a worker shows itself."""

    def beat(self, view: WorkerView) -> bool:
        """It is alive, and this is what it does; answers whether all workers are suspended. Raises `Unavailable`."""

    def gone(self) -> None:
        """It ends. Raises `Unavailable`."""


@dataclass(frozen=True)
class Tools:
    """What a keeper works with, made after the fork."""

    store: TaskStore
    queue: Queue
    sweeper: Sweeper
    presence: Presence | None = None
    courier: Courier | None = None


class Keeper:
    """One per worker, with the parent at the other end of `link`; the work-horses have a place and a rein each."""

    def __init__(self, view: WorkerView, board: Board, reins: Sequence[Rein], link: Link, lease_seconds: float) -> None:
        """`view` is the worker without its work-horses; its `started_at` is in monotonic seconds."""
        self._view, self._board, self._reins, self._link = view, board, reins, link
        self._lease = lease_seconds
        self._lost: dict[str, Lost] = {}
        self._waits = False
        self._suspended = False
        self._now, self._stopping = threading.Event(), False
        self._renewal = threading.Thread(target=self._rounds, name="stepwell-renewal", daemon=True)
        self._tools: Tools
        self._survivors: Survivors

    def run(self, make: Callable[[], Tools]) -> int:
        """Work until the parent says stop, or is gone; answers the exit code."""
        self._board.keeper.introduce(Horse(self._view.name, os.getpid()))
        self._tools = self._made(make)
        self._survivors = Survivors(self._tools.store)
        self._tools.sweeper.start()
        if self._tools.courier is not None:
            self._tools.courier.start()
        self._renewal.start()
        self._board.keeper.introduce(Horse(self._view.name, os.getpid(), ready=True))
        try:
            while not self._stopping:
                self._obey(None if not self._lost else AGAIN)
        except EOFError:
            self._stopping = True
            self._lost |= {lost.name: lost for lost in self._orphans()}
        self._last_words()
        return 0

    def _made(self, make: Callable[[], Tools]) -> Tools:
        tools = Patience(threading.Event()).until_it_answers(make)
        assert tools is not None, "it is asked until there is an answer"
        return tools

    # -- orders ------------------------------------------------------------------------------------------------------

    def _obey(self, seconds: float | None) -> None:
        for order in self._link.orders(seconds):
            if "lost" in order:
                lost = from_order(order["lost"])
                self._lost[lost.name] = lost
            self._view = replace(self._view, state=str(order.get("state", self._view.state)))
            self._stopping = self._stopping or "stop" in order
        self._take_lost()
        self._now.set()

    def _take_lost(self) -> None:
        for lost in list(self._lost.values()):
            try:
                self._take(lost)
            except Unavailable as error:
                level = logging.DEBUG if self._waits else logging.WARNING  # told once, asked often
                log.log(level, "the tasks of work-horse %s cannot be taken from it now: %s", lost.name, error)
                self._waits = True
                return
            self._waits = False
            del self._lost[lost.name]
            self._link.say_done(lost.name)

    def _take(self, lost: Lost) -> None:
        store = self._tools.store
        for task_id, token in lost.spared:
            with suppress(ClaimLost, NotFound):  # it is another's by now, or gone with all data
                self._ring(store.release(task_id, token, Commit()))
        taken = store.lose(lost.name, lost.crashed)
        self._survivors.left_by(taken)
        for task in taken:
            how = f"it is {task.status} now (crash {task.crashes})" if lost.crashed else "it is handed back"
            log.warning("task %s was taken from work-horse %s: %s", task.task_id, lost.name, how)
            self._ring(task)
        self._survivors.cancel()

    def _ring(self, task: Task) -> None:
        if task.status is Status.QUEUED:
            try:
                self._tools.queue.ring(task)
            except Unavailable as error:  # the sweeper reconciles
                log.warning("nobody was rung for task %s: %s", task.task_id, error)

    # -- leases ------------------------------------------------------------------------------------------------------

    def _rounds(self) -> None:
        try:
            while not self._stopping:
                self._board.keeper.beat(time.monotonic())
                self._now.clear()
                self._round()
                self._now.wait(min(RENEW_AFTER * self._lease, SHOW_EVERY) * random.uniform(0.8, 1.0))
        except BaseException:
            log.exception("leases cannot be renewed: the keeper begins anew")
            leave(1)

    def _round(self) -> None:
        try:
            self._renew()
            self._show()
        except Unavailable as error:
            log.warning("leases were not renewed: %s", error)

    def _renew(self) -> None:
        """Renew the leases of what work-horses show; not of one that is stopped, since nobody knows for how long."""
        begun = time.monotonic()
        held = [
            (work, lane, rein)
            for place, rein in zip(self._board.places, self._reins, strict=True)
            if (horse := place.horse) is not None and not is_stopped(horse.pid)
            for lane in place.lanes
            if (work := lane.work) is not None
        ]
        for claims in _each_task_once(held):
            leases = self._tools.store.renew({task_id: work.token for task_id, (work, _, _) in claims.items()})
            for work, lane, rein in claims.values():
                self._tell(leases, work, lane, rein, begun)

    def _tell(self, leases: Mapping[str, Lease], work: Work, lane: Lane, rein: Rein, begun: float) -> None:
        lease = leases.get(work.task_id)
        if lease is None or not lease.held:
            rein.say("lose", work.token)
            return
        lane.grant(work.token, begun + self._lease)
        if lease.cancelled:
            rein.say("cancel", work.token)

    # -- the view of others ------------------------------------------------------------------------------------------

    def _show(self) -> None:
        if self._tools.presence is None:
            return
        now = self._tools.store.now()
        ahead = now - time.monotonic()
        horses = [horse for place in self._board.places if (horse := horse_view(place, ahead)) is not None]
        view = replace(self._view, started_at=self._view.started_at + ahead, heartbeat_at=now, horses=horses)
        if self._suspended and view.state == "running":
            view = replace(view, state="suspended")
        self._suspended = self._tools.presence.beat(view)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _orphans(self) -> Sequence[Lost]:
        """The parent was killed, and the kernel kills its work-horses."""
        log.warning("the parent of worker %s is gone", self._view.name)
        horses = [horse for place in self._board.places if (horse := place.horse) is not None]
        deadline = time.monotonic() + LAST_WORDS
        while any(is_alive(horse.pid) for horse in horses) and time.monotonic() < deadline:
            time.sleep(0.01)
        return [Lost(horse.name, crashed=not horse.leaving) for horse in horses if not is_alive(horse.pid)]

    def _last_words(self) -> None:
        self._now.set()
        self._tools.sweeper.stop()
        if self._tools.courier is not None:
            self._tools.courier.stop()
        deadline = time.monotonic() + LAST_WORDS
        self._take_lost()
        while self._lost and time.monotonic() < deadline:
            time.sleep(AGAIN)
            self._take_lost()
        self._renewal.join(LAST_WORDS)
        if self._tools.presence is not None:
            with suppress(Unavailable):
                self._tools.presence.gone()


def _each_task_once(held: Iterable[Held]) -> Sequence[Mapping[str, Held]]:
    """In as few parts as can be, by task: one that a sibling took over is shown by both until the first is told."""
    parts: list[dict[str, Held]] = []
    for one in held:
        task_id = one[0].task_id
        part = next((part for part in parts if task_id not in part), None)
        if part is None:
            parts.append(part := {})
        part[task_id] = one
    return parts


def horse_view(place: Place, ahead: float) -> HorseView | None:
    """A work-horse as others see it; `ahead` is what the store's clock is ahead of the monotonic one."""
    horse, works = place.horse, place.works
    if horse is None or not horse.ready:
        return None
    if not works:
        return HorseView(horse.name, horse.pid, "idle", place.idle_since + ahead)
    first = works[0]
    return HorseView(horse.name, horse.pid, "busy", first.since + ahead, first.task_id, first.path)


def is_stopped(pid: int) -> bool:
    """Whether a process is held by SIGSTOP or by a debugger; false where the system does not tell."""
    return _state(pid) in ("T", "t")


def is_alive(pid: int) -> bool:
    """Whether a process runs, or may run; one that ended, but was not waited for, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return _state(pid) not in ("Z", "X")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
