"""The engine: claim a task, run its steps, finish it."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

from pydantic import ValidationError

from stepwell.engine.leases import Leases
from stepwell.engine.means import Means
from stepwell.engine.run import UNKNOWN_PAUSE, Run
from stepwell.errors import ClaimLost, ExpressionError, Fail, NotFound, SettingsError, Unavailable
from stepwell.logs import bound
from stepwell.plan import compile_definition
from stepwell.ports import Claim, Commit
from stepwell.task import FORMAT, Error, Status, Task

log = logging.getLogger(__name__)

Done = Callable[[Task | None], None]
"""Called once when a run is over: with the task, or None if it could not be claimed or the claim was lost."""


class Engine:
    """Runs tasks, each in the thread that calls `run`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._claims = means.claims or Leases(means.store, means.lease_seconds)
        self._runs: dict[str, Run] = {}
        self._idle = threading.Condition()
        self._draining = False

    def run(self, task_id: str, done: Done) -> None:
        """Claim a task and run it until it ends, waits or is handed back.

        `done` is called from this thread; or from another, if this one was stuck in user code that did not yield
        to its time limit: then this call returns only when that code does.
        """
        since = time.monotonic()
        try:
            claim = self._means.store.claim(task_id, secrets.token_hex(16), self._means.worker)
        except Unavailable as error:  # a sweeper rings again
            log.warning("task %s was not begun: %s", task_id, error)
            claim = None
        if claim is None:
            done(None)
        else:
            self.run_claimed(claim, done, since)

    def run_claimed(self, claim: Claim, done: Done, since: float) -> None:
        """As `run`, for a claim that was asked for at `since`, in monotonic seconds."""
        with bound(task_id=claim.task.task_id):
            try:
                begun = self._begun(claim, done, since)
            except (Unavailable, ClaimLost) as error:  # once the lease is over it is taken over
                log.warning("task %s was not begun: %s", claim.task.task_id, error)
                begun = None
            if isinstance(begun, Run):
                begun.drive()
            else:
                done(begun)

    def cancel(self, task_id: str) -> None:
        """Tell the run of a task in this process, if there is one, that a cancel was requested."""
        if run := self._runs.get(task_id):
            run.cancel()

    def begin_drain(self) -> None:
        """Start nothing from now on; every task is handed back as soon as its running steps have ended."""
        with self._idle:
            self._draining = True
            for run in self._runs.values():
                run.drain()

    def drain(self, timeout: float) -> bool:
        """Begin to drain, let running steps end for so many seconds, then interrupt them. Answers whether all runs
        ended."""
        self.begin_drain()
        with self._idle:
            if self._idle.wait_for(lambda: not self._runs, timeout):
                return True
            for run in self._runs.values():
                run.drain(interrupt=True)
            return self._idle.wait_for(lambda: not self._runs, timeout=5)

    def _begun(self, claim: Claim, done: Done, since: float) -> Run | Task:
        """The run of a claimed task; or the task, if it was handed back, or failed before it could begin."""
        store, task_id, token = self._means.store, claim.task.task_id, claim.token
        if self._draining:
            return store.release(task_id, token, Commit())
        if claim.task.format > FORMAT:
            return self._handed_back(claim, f"its format is {claim.task.format}, of which this version knows nothing")
        try:
            plan = compile_definition(claim.definition_text)
            run = Run(self._means, self._claims, claim, plan, self._after(task_id, token, done))
        except (ValidationError, ExpressionError) as error:
            return self._handed_back(claim, f"its definition is not understood: {error}")
        except (SettingsError, Fail, NotFound) as error:  # its variables or secrets cannot be read here
            failure = Error("invalid", str(error), retryable=False)
            return store.finish(task_id, token, Commit(), Status.FAILED, None, failure)
        with self._idle:
            self._runs[task_id] = run
            if self._draining:
                run.drain()
        self._claims.hold(task_id, token, since, run)
        return run

    def _handed_back(self, claim: Claim, reason: str) -> Task:
        """The task of a version that knows more than this one: for another process to take, after a while."""
        log.warning("task %s is handed back: %s", claim.task.task_id, reason)
        return self._means.store.release(claim.task.task_id, claim.token, Commit(), UNKNOWN_PAUSE)

    def _after(self, task_id: str, token: str, done: Done) -> Done:
        def over(task: Task | None) -> None:
            self._claims.drop(task_id, token)
            with self._idle:
                if (run := self._runs.get(task_id)) and run.claim.token == token:
                    del self._runs[task_id]
                self._idle.notify_all()
            if task is not None and not self._means.interactive:
                _tell_end(task)
            done(task)

        return over


def _tell_end(task: Task) -> None:
    """One line for each run: what a collector of logs counts, and where people look first."""
    reason = f": {task.error.message}" if task.error is not None else ""
    level = logging.WARNING if task.error is not None else logging.INFO
    log.log(
        level,
        "task %s of %s is %s after %.3f s of running%s",
        task.task_id,
        task.workflow_id,
        task.status,
        task.ran_for,
        reason,
    )
