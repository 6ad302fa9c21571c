"""Keeps the leases of running tasks: one thread renews them all in one call, whatever user code does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stepwell.errors import ClaimLost, Unavailable
from stepwell.ports import TaskStore

log = logging.getLogger(__name__)

RENEW_AFTER = 0.3
"""The share of a lease after which it is renewed."""

MARGIN = 0.1
"""The share of a lease before whose end no step is started any more."""


class Holder(Protocol):
    """A run, as far as its lease concerns it."""

    def cancel(self) -> None:
        """A cancel was requested."""

    def lose(self) -> None:
        """The lease is lost."""


class Claims(Protocol):
    """Keeps the leases of the claims that an engine holds. Times are monotonic seconds."""

    def hold(self, task_id: str, token: str, since: float, holder: Holder) -> None:
        """Keep this claim from now on; its lease began at `since` or later."""

    def drop(self, task_id: str, token: str) -> None:
        """This claim has ended."""

    def confirm(self, task_id: str, token: str) -> None:
        """Return if the lease lasts, asking the store where that is not certain: right before a step is started.
        Raises `ClaimLost`, and `Unavailable` if the store does not tell."""

    def doing(self, task_id: str, token: str, path: str | None, until: float) -> None:
        """The step that runs now, of several the one that is to end first, at `until`; None: only the engine is at
        work."""


@dataclass
class Held:
    """A claim and its run; the lease lasts at least `until`."""

    token: str
    holder: Holder
    until: float


def renewed(store: TaskStore, task_id: str, token: str) -> None:
    """Renew one lease. Raises `ClaimLost` if the claim is another's by now."""
    lease = store.renew({task_id: token}).get(task_id)
    if lease is None or not lease.held:
        raise ClaimLost(f"the lease of task {task_id} was over, and another holds it")


class Leases:
    """The claims of this process, renewed by a daemon thread that lives while there are any."""

    def __init__(self, store: TaskStore, lease_seconds: float, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._store, self._lease, self._elapsed = store, lease_seconds, elapsed
        self._held: dict[str, Held] = {}
        self._changed = threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(self, task_id: str, token: str, since: float, holder: Holder) -> None:
        """Renew this claim from now on."""
        with self._changed:
            self._held[task_id] = Held(token, holder, since + self._lease)
            if self._thread is None or not self._thread.is_alive():  # nor is it in a process that was forked
                self._thread = threading.Thread(target=self._keep, name="stepwell-leases", daemon=True)
                self._thread.start()

    def drop(self, task_id: str, token: str) -> None:
        """This claim has ended."""
        with self._changed:
            if (held := self._held.get(task_id)) and held.token == token:
                del self._held[task_id]

    def confirm(self, task_id: str, token: str) -> None:
        """See `Claims.confirm`."""
        held, begun = self._held.get(task_id), self._elapsed()
        if held is None or held.token != token:
            raise ClaimLost(f"task {task_id} is not held here any more")
        if begun >= held.until - MARGIN * self._lease:
            renewed(self._store, task_id, token)
            held.until = begun + self._lease

    def doing(self, task_id: str, token: str, path: str | None, until: float) -> None:
        """Nobody watches the steps of this process but itself."""

    def renew(self) -> None:
        """Renew every claim once, and tell the runs what the store says of them."""
        with self._changed:
            claims = dict(self._held)
        if not claims:
            return
        begun = self._elapsed()
        try:
            leases = self._store.renew({task_id: held.token for task_id, held in claims.items()})
        except Unavailable as error:  # the next round tries again; writes are guarded anyway
            log.warning("leases were not renewed: %s", error)
            return
        for task_id, held in claims.items():
            lease = leases.get(task_id)
            if lease is None or not lease.held:
                held.holder.lose()
                continue
            held.until = begun + self._lease
            if lease.cancelled:
                held.holder.cancel()

    def _keep(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._lease * RENEW_AFTER):
            with self._changed:
                if not self._held:
                    self._thread = None
                    return
            try:
                self.renew()
            except Exception:  # the thread must live on: without it every task of this process would be lost
                log.exception("leases were not renewed")
