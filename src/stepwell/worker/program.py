"""A worker as a program: `main` is what `run_worker.py` starts."""

from __future__ import annotations

import gc
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from types import FrameType
from typing import NoReturn

from stepwell import logs
from stepwell.engine.courier import Courier
from stepwell.engine.sweeper import Sweeper
from stepwell.errors import SettingsError, StepwellError
from stepwell.ports import WorkerView
from stepwell.registry import load_plugins
from stepwell.settings import Settings, load
from stepwell.stores.files import FsspecFileStore
from stepwell.wiring import make_engine
from stepwell.wiring.databases import has_own_database
from stepwell.wiring.shared import open_shared
from stepwell.worker.board import Board, Place
from stepwell.worker.horse import Harness, WorkHorse
from stepwell.worker.keeper import Keeper, Tools
from stepwell.worker.lanes import Lanes
from stepwell.worker.parent import WRONG_SETTINGS, Parent
from stepwell.worker.pipes import Link, Rein

CONNECTIONS = 4
"""Connections to Redis that a process of a worker needs beside one for each task that it runs."""


def main(queues: Sequence[str] | None = None) -> int:
    """Work until a signal comes; answers the exit code: 2, and one line on stderr, if it cannot even begin."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        settings = load()
        return work(settings, served(settings, queues))
    except StepwellError as error:
        return _told(error)


def work(settings: Settings, queues: Sequence[str]) -> int:
    """Run tasks of these queues with `MAX_WORKERS` work-horses until SIGTERM or SIGINT, which drain them."""
    logs.configure(settings.log_level, settings.log_format)
    host, pid = socket.gethostname(), os.getpid()
    name = f"{host}.{pid}.{secrets.token_hex(2)}"
    view = WorkerView(name, host, pid, "running", queues, started_at=time.monotonic(), heartbeat_at=0.0)
    parent = Parent(
        settings.max_workers,
        settings.worker_concurrency,
        settings.shutdown_timeout,
        partial(_run_horse, settings, queues),
        partial(_run_keeper, settings, view),
    )
    if has_own_database(settings):
        import_module("stepwell.stores.sql")  # before the forks, so that the children share it
    gc.collect()
    gc.freeze()  # what is there now stays shared with the children: no collection writes to it
    return parent.run(partial(_say_ready, name, queues, settings.max_workers))


def served(settings: Settings, queues: Sequence[str] | None) -> Sequence[str]:
    """The queues to serve: these, or all of the settings. Raises `SettingsError` if there is nothing to serve."""
    if not settings.queue_enabled:
        raise SettingsError(
            "QUEUE_ENABLED is false, so that run.py runs tasks itself and there is nothing for a worker to do:"
            " set QUEUE_ENABLED=true for both (and REDIS_URL, if Redis is not at localhost)"
        )
    unknown = [queue for queue in queues or () if queue not in settings.queues]
    if unknown:
        raise SettingsError(
            f"--queues names {', '.join(unknown)}, but QUEUES has only {', '.join(settings.queues)}:"
            " add it there, for run.py and all workers"
        )
    return tuple(queues or settings.queues)


def _run_horse(settings: Settings, queues: Sequence[str], name: str, place: Place, rein: Rein) -> int:
    horse = WorkHorse(name, place, rein, settings.worker_max_tasks, settings.shutdown_timeout)
    return _settled(partial(horse.run, partial(_harness, settings, queues, name, place)))


def _harness(
    settings: Settings, queues: Sequence[str], name: str, place: Place, on_abandoned: Callable[[], None]
) -> Harness:
    load_plugins()  # code of others: only in work-horses
    shared = open_shared(settings, connections=settings.worker_concurrency + CONNECTIONS)
    lanes = Lanes(shared.store, place.lanes, settings.lease_seconds)
    parts = make_engine(settings, shared.store, worker=name, claims=lanes, hands_back=True, on_abandoned=on_abandoned)
    return Harness(parts.engine, shared.feed(queues), lanes)


def _run_keeper(settings: Settings, view: WorkerView, board: Board, reins: Sequence[Rein], link: Link) -> int:
    keeper = Keeper(view, board, reins, link, settings.lease_seconds)
    return _settled(partial(keeper.run, partial(_tools, settings, view.queues)))


def _tools(settings: Settings, queues: Sequence[str]) -> Tools:
    shared = open_shared(settings, connections=CONNECTIONS)
    files = FsspecFileStore(settings.files_url)
    sweeper = Sweeper(
        shared.store, files, shared.queue, lease_seconds=settings.lease_seconds, result_ttl=settings.result_ttl
    )
    courier = Courier(shared.store, shared.queue, f"{socket.gethostname()}:{os.getpid()}")
    return Tools(shared.store, shared.queue, sweeper, shared.presence(queues), courier)


def _settled(run: Callable[[], int]) -> int:
    """Settings that turn out to be wrong only now end the whole worker."""
    try:
        return run()
    except SettingsError as error:
        return _told(error)


def _told(error: StepwellError) -> int:
    sys.stderr.write(f"stepwell: {error}\n")
    return WRONG_SETTINGS


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End without a traceback; the parent puts its own handlers in place of this."""
    raise SystemExit(0)


def _say_ready(name: str, queues: Sequence[str], horses: int) -> None:
    sys.stdout.write(f"Stepwell worker {name} serves {', '.join(queues)} with {horses} work-horses\n")
    sys.stdout.flush()
