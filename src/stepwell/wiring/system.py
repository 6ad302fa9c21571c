"""The one place where parts meet: `build(settings)` gives the whole system."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepwell.actions.process import RUN
from stepwell.definitions import function, open_catalog
from stepwell.engine.clock import Clock
from stepwell.engine.engine import Engine
from stepwell.engine.means import Means
from stepwell.engine.names import Fetch, MakeNames, Names
from stepwell.engine.sweeper import Sweeper
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.plan import Node, compile_definition
from stepwell.ports import Claim, FileStore, TaskStore
from stepwell.queues.inline import InlineQueue
from stepwell.queues.silent import SilentQueue
from stepwell.registry import Action, actions
from stepwell.secrets import Cipher, Masker, SecretSource
from stepwell.service import Defaults, Service
from stepwell.settings import Settings
from stepwell.stores.files import FsspecFileStore
from stepwell.stores.sql import SqlStore
from stepwell.task import Apart, StepRecord
from stepwell.values import decode
from stepwell.variables import replace_secrets


@dataclass(frozen=True)
class System:
    """A whole Stepwell: ask `service`, let `pool` run tasks, keep files in `files`.

    `names` gives what expressions of a claimed task can read.
    """

    settings: Settings
    store: TaskStore
    files: FileStore
    service: Service
    engine: Engine
    pool: InlineQueue
    sweeper: Sweeper
    names: MakeNames

    def start(self) -> None:
        """Adopt orphaned tasks from now on; only servers and workers do."""
        self.sweeper.start()

    def drain(self) -> None:
        """Take nothing new, let running steps end within `SHUTDOWN_TIMEOUT`, hand back the rest."""
        self.sweeper.stop()
        self.pool.close()
        self.engine.drain(self.settings.shutdown_timeout)

    def stop(self) -> None:
        """Drain, and give back what is open."""
        self.drain()
        self.store.close()


def build(settings: Settings, *, store: TaskStore | None = None, interactive: bool = False) -> System:
    """Everything, from settings.

    `interactive` is for a terminal: time limits pause in a debugger, and the caller runs what it submits itself.
    """
    catalog = open_catalog(settings)
    store = store or SqlStore(settings.database_url, lease_seconds=settings.lease_seconds)
    files = FsspecFileStore(settings.files_url)
    source = SecretSource(os.environ, settings.secrets, settings.secrets_dir)
    cipher = Cipher(settings.secret_key)
    env = {name: os.environ[name] for name in settings.expression_env if name in os.environ}
    means = Means(
        store=store,
        files=files,
        names=lambda claim, records, time, fetch: _names(claim, records, time, fetch, source, cipher, env),
        resolve=lambda node: _action(node, settings.workflows_dir),
        worker=f"{socket.gethostname()}:{os.getpid()}",
        threads=Threads(),
        watchdog=Watchdog(),
        clock=Clock(),
        lease_seconds=settings.lease_seconds,
        interactive=interactive,
    )
    engine = Engine(means)
    pool = InlineQueue(engine.run, settings.inline_max_concurrency, settings.inline_queue_max_size)
    defaults = Defaults(settings.task_timeout, priority_scale=settings.priority_scale, queues=settings.queues)
    queue = SilentQueue() if interactive else pool
    service = Service(store, queue, catalog, cipher, defaults, tell_run=engine.cancel)
    sweeper = Sweeper(store, files, pool.ring, lease_seconds=settings.lease_seconds, result_ttl=settings.result_ttl)
    return System(settings, store, files, service, engine, pool, sweeper, means.names)


def _action(node: Node, folder: Path) -> Action:
    if node.kind == "run":
        return RUN
    if node.kind == "call":
        return function(str(node.step.call), folder)
    return actions.get(str(node.step.uses))


def _names(
    claim: Claim,
    records: Mapping[str, StepRecord],
    time: Callable[[], float],
    fetch: Fetch,
    source: SecretSource,
    cipher: Cipher,
    env: Mapping[str, str],
) -> Names:
    """The names of a task, its secret variables decrypted and masked from now on."""
    task, masker = claim.task, Masker(source.values())
    text = fetch("variables") if isinstance(task.variables, Apart) else task.variables

    def revealed(token: Any) -> str:
        value = cipher.decrypt(token)
        masker.add(value)
        return value

    declared = compile_definition(claim.definition_text).workflow.variables
    return Names(task, records, fetch, source, masker, replace_secrets(declared, decode(text), revealed), env, time)
