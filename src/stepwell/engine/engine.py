"""The engine: claim a task, run its steps, finish it."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable

from pydantic import ValidationError

from stepwell.engine.leases import Leases
from stepwell.engine.means import Means
from stepwell.engine.run import Run
from stepwell.errors import ExpressionError, Fail, NotFound, SettingsError, Unavailable
from stepwell.plan import compile_definition
from stepwell.ports import Claim, Commit
from stepwell.task import Error, Status, Task

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
            claim = self._means.store.claim(task_id, secrets.token_hex(16), self._means.worker)
            run = None if claim is None else self._begun(claim, done)
        except Unavailable as error:  # a sweeper rings again
            log.warning("task %s was not begun: %s", task_id, error)
            run = None
        if run is None:
            done(None)
        else:
            run.drive()

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

    def _begun(self, claim: Claim, done: Done) -> Run | None:
        """The run of a claimed task; None if it was handed back, or failed before it could begin."""
        store, task_id, token = self._means.store, claim.task.task_id, claim.token
        if self._draining:
            store.release(task_id, token, Commit())
            return None
        try:
            plan = compile_definition(claim.definition_text)
            run = Run(self._means, claim, plan, self._after(task_id, token, done))
        except (ValidationError, ExpressionError) as error:  # made by a version that knows more than this one
            log.warning("task %s is handed back, its definition is not understood: %s", task_id, error)
            store.release(task_id, token, Commit())
            return None
        except (SettingsError, Fail, NotFound) as error:  # its variables or secrets cannot be read here
            failure = Error("invalid", str(error), retryable=False)
            store.finish(task_id, token, Commit(), Status.FAILED, None, failure)
            return None
        with self._idle:
            self._runs[task_id] = run
            if self._draining:
                run.drain()
        self._leases.hold(task_id, token, run)
        return run

    def _after(self, task_id: str, token: str, done: Done) -> Done:
        def over(task: Task | None) -> None:
            self._leases.drop(task_id, token)
            with self._idle:
                if (run := self._runs.get(task_id)) and run.claim.token == token:
                    del self._runs[task_id]
                self._idle.notify_all()
            done(task)

        return over
