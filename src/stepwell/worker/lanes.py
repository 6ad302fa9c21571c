"""The claims of a work-horse: shown on the board, where the keeper finds them and keeps their leases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stepwell.engine.leases import MARGIN, Holder, renewed
from stepwell.errors import ClaimLost
from stepwell.ports import TaskStore
from stepwell.worker.board import Lane, Work

log = logging.getLogger(__name__)


@dataclass
class Shown:
    """A claim, the lane where it is shown, and its run; the lease lasts at least `until`."""

    work: Work
    lane: Lane
    holder: Holder
    until: float


class Lanes:
    """The `Claims` of an engine whose leases another process renews, whatever user code does in this one."""

    def __init__(
        self,
        store: TaskStore,
        lanes: Sequence[Lane],
        lease_seconds: float,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._lease, self._elapsed = store, lease_seconds, elapsed
        self._free = list(lanes)
        self._shown: dict[str, Shown] = {}
        self._lock = threading.Lock()

    def hold(self, task_id: str, token: str, since: float, holder: Holder) -> None:
        """Show this claim."""
        work = Work(task_id, token, since)
        with self._lock:
            lane = self._free.pop()
            self._shown[token] = Shown(work, lane, holder, since + self._lease)
            lane.show(work)

    def drop(self, task_id: str, token: str) -> None:  # noqa: ARG002 - tokens are unique
        """This claim has ended."""
        with self._lock:
            if shown := self._shown.pop(token, None):
                shown.lane.rest(self._elapsed())
                self._free.append(shown.lane)

    def confirm(self, task_id: str, token: str) -> None:
        """See `Claims.confirm`."""
        shown, begun = self._shown.get(token), self._elapsed()
        if shown is None:
            raise ClaimLost(f"task {task_id} is not held here any more")
        if begun >= max(shown.until, shown.lane.granted(token)) - MARGIN * self._lease:
            renewed(self._store, task_id, token)
            shown.until = begun + self._lease

    def doing(self, task_id: str, token: str, path: str | None, until: float) -> None:  # noqa: ARG002
        """Show which step runs."""
        with self._lock:
            if shown := self._shown.get(token):
                shown.work = replace(shown.work, path=path, until=until)
                shown.lane.show(shown.work)

    def lose(self, token: str) -> None:
        """The keeper was told that this claim is another's."""
        if shown := self._shown.get(token):
            shown.holder.lose()

    def cancel(self, token: str) -> None:
        """The keeper was told that a cancel of this task was requested."""
        if shown := self._shown.get(token):
            shown.holder.cancel()
