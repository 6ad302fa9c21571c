"""The one place where parts meet: `build(settings)` gives the whole system."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import stepwell.actions  # noqa: F401 - importing it registers the actions
from stepwell.actions.call import resolve as resolve_call
from stepwell.actions.process import RUN
from stepwell.engine.clock import Clock
from stepwell.engine.engine import Engine
from stepwell.engine.names import Names
from stepwell.engine.run import Means
from stepwell.engine.sweeper import Sweeper
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.loader import Catalog
from stepwell.plan import Node, compile_definition
from stepwell.ports import Claim, FileStore, TaskStore
from stepwell.queues.inline import InlineQueue
from stepwell.registry import Action, actions, load_plugins
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
    """A whole Stepwell: ask `service`, let `pool` run tasks, keep files in `files`."""

    settings: Settings
    store: TaskStore
    files: FileStore
    service: Service
    engine: Engine
    pool: InlineQueue
    sweeper: Sweeper

    def start(self) -> None:
        """Adopt orphaned tasks from now on; only servers and workers do."""
        self.sweeper.start()

    def stop(self) -> None:
        """Take nothing new, let running steps end within `SHUTDOWN_TIMEOUT`, hand back the rest."""
        self.sweeper.stop()
        self.pool.close()
        self.engine.drain(self.settings.shutdown_timeout)
        self.store.close()


def build(settings: Settings, *, store: TaskStore | None = None, interactive: bool = False) -> System:
    """Everything, from settings; `interactive` is for a terminal, where time limits pause in a debugger."""
    load_plugins()
    store = store or SqlStore(settings.database_url, lease_seconds=settings.lease_seconds)
    files = FsspecFileStore(settings.files_url)
    source = SecretSource(os.environ, settings.secrets, settings.secrets_dir)
    cipher = Cipher(settings.secret_key)
    catalog = Catalog(
        settings.workflows_dir,
        registry=actions,
        resolve_call=lambda target: _function(target, str(settings.workflows_dir)),
        expression_env=settings.expression_env,
    )
    env = {name: os.environ[name] for name in settings.expression_env if name in os.environ}
    means = Means(
        store=store,
        files=files,
        names=lambda claim, records: _names(claim, records, store, source, cipher, env),
        resolve=lambda node: _action(node, str(settings.workflows_dir)),
        worker=f"{socket.gethostname()}:{os.getpid()}",
        threads=Threads(),
        watchdog=Watchdog(),
        clock=Clock(),
        lease_seconds=settings.lease_seconds,
        interactive=interactive,
    )
    engine = Engine(means)
    pool = InlineQueue(engine.run, settings.inline_max_concurrency, settings.inline_queue_max_size)
    defaults = Defaults(settings.task_timeout, priority_scale=settings.priority_scale)
    service = Service(store, pool, catalog, cipher, defaults, tell_run=engine.cancel)
    sweeper = Sweeper(store, pool.ring, lease_seconds=settings.lease_seconds, result_ttl=settings.result_ttl)
    return System(settings, store, files, service, engine, pool, sweeper)


def _action(node: Node, folder: str) -> Action:
    if node.kind == "run":
        return RUN
    if node.kind == "call":
        return _function(str(node.step.call), folder)
    return actions.get(str(node.step.uses))


@lru_cache(maxsize=1000)
def _function(target: str, folder: str) -> Action:
    from pathlib import Path

    return resolve_call(target, Path(folder))


def _names(
    claim: Claim,
    records: Mapping[str, StepRecord],
    store: TaskStore,
    source: SecretSource,
    cipher: Cipher,
    env: Mapping[str, str],
) -> Names:
    """The names of a task, its secret variables decrypted and masked from now on."""
    task, masker = claim.task, Masker()
    text = store.value(task.task_id, "variables") if isinstance(task.variables, Apart) else task.variables

    def revealed(token: Any) -> str:
        value = cipher.decrypt(token)
        masker.add(value)
        return value

    declared = compile_definition(claim.definition_text).workflow.variables
    return Names(task, records, store, source, masker, replace_secrets(declared, decode(text), revealed), env)
