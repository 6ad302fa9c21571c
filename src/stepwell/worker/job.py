"""What a stock RQ worker runs: the task of the current job, with an engine that is made once per process."""

from __future__ import annotations

import os
from concurrent.futures import Future
from functools import cache

from rq import get_current_job

from stepwell.engine.engine import Engine
from stepwell.registry import load_plugins
from stepwell.settings import load
from stepwell.task import Task
from stepwell.wiring import make_engine
from stepwell.wiring.shared import open_shared


def run_current() -> None:
    """Run the task whose id is that of the current job, if it can be claimed (nobody runs it, it was not cancelled).

    Whatever becomes of it, the job has done what it was for: the store says how the task ended.
    """
    job = get_current_job()
    if job is None:
        raise RuntimeError("stepwell.worker.run_task is called by RQ workers, inside a job")
    over: Future[Task | None] = Future()
    _engine(os.getpid()).run(job.id, over.set_result)
    over.result()


@cache
def _engine(_process: int) -> Engine:
    """One per process: connections must not be shared with the one that was forked."""
    settings = load()
    load_plugins()
    shared = open_shared(settings)
    return make_engine(settings, shared.store, hands_back=True).engine
