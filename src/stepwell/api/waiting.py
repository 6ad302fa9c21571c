"""Waiting for tasks on the event loop, so that a thousand waiting requests hold no thread."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from stepwell.task import Status, Task
from stepwell.wiring import System

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two looks at a task that another process runs."""


async def until_through(system: System, task_id: str) -> Task:
    """The record once nobody runs the task: it ended, waits, or was handed back. Whoever was first may run it, this
    process's pool or a worker.

    At once for a task that is not begun and that the pool has not, and when this server stops. A caller that is
    cancelled meanwhile does not touch the task.
    """
    pause = FIRST_PAUSE
    while True:
        future = system.pool.ended(task_id)
        left = None if future is None else await asyncio.shield(asyncio.wrap_future(future))
        task: Task = await run_in_threadpool(system.service.get, task_id) if left is None else left
        if task.status is not Status.RUNNING or not system.pool.stats()["is_running"]:
            return task
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)


async def until_ended(system: System, task_id: str, timeout: float) -> Task:
    """The record once the task has ended, or as it is after `timeout` seconds, or when this server stops."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + timeout, FIRST_PAUSE
    while True:
        task = await run_in_threadpool(system.service.get, task_id)
        left = deadline - loop.time()
        if task.ended or left <= 0 or not system.pool.stats()["is_running"]:
            return task
        future = system.pool.ended(task_id)
        if future is not None:
            await asyncio.wait({asyncio.wrap_future(future)}, timeout=left)
        else:
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)
