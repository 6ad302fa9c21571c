"""Keeps the leases of running tasks: one thread renews them all in one call, whatever user code does."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from stepwell.errors import Unavailable
from stepwell.ports import TaskStore

log = logging.getLogger(__name__)

RENEW_AFTER = 0.3
"""The share of a lease after which it is renewed."""


class Holder(Protocol):
    """A run, as far as its lease concerns it."""

    def cancel(self) -> None:
        """A cancel was requested."""

    def lose(self) -> None:
        """The lease is lost."""


class Leases:
    """The claims of this process, renewed by a daemon thread that starts with the first."""

    def __init__(self, store: TaskStore, lease_seconds: float) -> None:
        self._store, self._pause = store, lease_seconds * RENEW_AFTER
        self._held: dict[str, tuple[str, Holder]] = {}
        self._changed = threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(self, task_id: str, token: str, holder: Holder) -> None:
        """Renew this claim from now on."""
        with self._changed:
            self._held[task_id] = (token, holder)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._keep, name="stepwell-leases", daemon=True)
                self._thread.start()

    def drop(self, task_id: str, token: str) -> None:
        """This claim has ended."""
        with self._changed:
            if self._held.get(task_id, ("", None))[0] == token:
                del self._held[task_id]

    def renew(self) -> None:
        """Renew every claim once, and tell the runs what the store says of them."""
        with self._changed:
            held = dict(self._held)
        if not held:
            return
        try:
            leases = self._store.renew({task_id: token for task_id, (token, _) in held.items()})
        except Unavailable as error:  # the next round tries again; writes are guarded anyway
            log.warning("leases were not renewed: %s", error)
            return
        for task_id, (_, holder) in held.items():
            lease = leases.get(task_id)
            if lease is None or not lease.held:
                holder.lose()
            elif lease.cancelled:
                holder.cancel()

    def _keep(self) -> None:
        pause = threading.Event()
        while not pause.wait(self._pause):
            try:
                self.renew()
            except Exception:  # the thread must live on: without it every task of this process would be lost
                log.exception("leases were not renewed")
