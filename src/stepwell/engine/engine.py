"""The engine: claim a task, run its steps, finish it."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable

from stepwell.engine.attempt import Abandoned
from stepwell.engine.leases import Leases
from stepwell.engine.means import Means
from stepwell.engine.run import Run
from stepwell.errors import Unavailable
from stepwell.plan import compile_definition
from stepwell.ports import Claim, Commit
from stepwell.task import FORMAT, Task

log = logging.getLogger(__name__)

Done = Callable[[Task | None], None]
"""Called once when a run is over: with the task, or None if it could not be claimed or the claim was lost."""


class Engine:
    """Runs tasks, each in the thread that calls `run`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._leases = Leases(means.store, means.lease_seconds)
        self._runs: dict[str, Run] = {}
        self._idle = threading.Condition()
        self._draining = False

    def run(self, task_id: str, done: Done) -> None:
        """Claim a task and run it until it ends, waits or is handed back.

        `done` is called from this thread; or from another, if this one was stuck in user code that did not yield
        to its time limit: then this call returns only when that code does.
        """
        try:
            claim = self._claim(task_id)
        except Unavailable as error:  # a sweeper rings again
            log.warning("task %s was not claimed: %s", task_id, error)
            claim = None
        if claim is None:
            done(None)
            return
        run = Run(self._means, claim, compile_definition(claim.definition_text), self._after(task_id, done))
        self._begin(task_id, claim.token, run)
        try:
            run.drive()
        except Abandoned:
            log.warning("task %s: code that had not yielded to its time limit has returned", task_id)

    def cancel(self, task_id: str) -> None:
        """Tell the run of a task in this process, if there is one, that a cancel was requested."""
        if run := self._runs.get(task_id):
            run.cancel()

    def drain(self, timeout: float) -> bool:
        """Take nothing new, let running steps end for so many seconds, then interrupt them; every task is handed
        back. Answers whether all runs ended."""
        with self._idle:
            self._draining = True
            for run in self._runs.values():
                run.drain()
            if self._idle.wait_for(lambda: not self._runs, timeout):
                return True
            for run in self._runs.values():
                run.drain(interrupt=True)
            return self._idle.wait_for(lambda: not self._runs, timeout=5)

    def _claim(self, task_id: str) -> Claim | None:
        store = self._means.store
        claim = store.claim(task_id, secrets.token_hex(16), self._means.worker)
        if claim is None or claim.task.format == FORMAT:
            return claim
        log.warning(
            "task %s has record format %d, this version knows %d: handed back", task_id, claim.task.format, FORMAT
        )
        store.release(task_id, claim.token, Commit())
        return None

    def _begin(self, task_id: str, token: str, run: Run) -> None:
        with self._idle:
            self._runs[task_id] = run
            if self._draining:
                run.drain()
        self._leases.hold(task_id, token, run)

    def _after(self, task_id: str, done: Done) -> Done:
        def over(task: Task | None) -> None:
            self._leases.drop(task_id)
            with self._idle:
                self._runs.pop(task_id, None)
                self._idle.notify_all()
            done(task)

        return over
