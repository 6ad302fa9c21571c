"""Engines: what runs tasks over a store, in a server, a terminal, or a work-horse."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stepwell.actions.call import import_own
from stepwell.actions.process import RUN
from stepwell.definitions import function
from stepwell.engine.clock import Clock
from stepwell.engine.engine import Engine
from stepwell.engine.leases import Claims
from stepwell.engine.means import Means
from stepwell.engine.names import Fetch, MakeNames, Names
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.errors import Fail, SettingsError
from stepwell.listeners import listeners
from stepwell.plan import Node, compile_definition
from stepwell.ports import Claim, FileStore, TaskStore
from stepwell.publishing import Publisher
from stepwell.registry import Action, actions
from stepwell.secrets import Cipher, Masker, SecretSource
from stepwell.settings import Settings
from stepwell.stores.files import FsspecFileStore
from stepwell.task import Apart, StepRecord
from stepwell.values import decode
from stepwell.variables import replace_secrets


@dataclass(frozen=True)
class EngineParts:
    """An engine with what it was made of; `names` gives what expressions of a claimed task can read, `worker` is the
    engine's name."""

    engine: Engine
    files: FileStore
    cipher: Cipher
    names: MakeNames
    worker: str


def make_engine(
    settings: Settings,
    store: TaskStore,
    *,
    worker: str | None = None,
    interactive: bool = False,
    claims: Claims | None = None,
    hands_back: bool = False,
    on_abandoned: Callable[[], None] = lambda: None,
) -> EngineParts:
    """An engine over a store; `worker` is its name in records. For the others see `Means`."""
    _import_listeners(settings)
    files = FsspecFileStore(settings.files_url)
    source = SecretSource(os.environ, settings.secrets, settings.secrets_dir)
    cipher = Cipher(settings.secret_key)
    env = {name: os.environ[name] for name in settings.expression_env if name in os.environ}
    means = Means(
        store=store,
        files=files,
        names=lambda claim, records, time, fetch: _names(claim, records, time, fetch, source, cipher, env),
        resolve=lambda node: _action(node, settings.workflows_dir),
        publish=Publisher(store).publish,
        worker=worker or f"{socket.gethostname()}:{os.getpid()}",
        threads=Threads(),
        watchdog=Watchdog(),
        clock=Clock(),
        lease_seconds=settings.lease_seconds,
        interactive=interactive,
        claims=claims,
        hands_back=hands_back,
        on_abandoned=on_abandoned,
        listeners=listeners,
        queues=settings.queues if settings.queue_enabled else None,
        cipher=cipher,
    )
    return EngineParts(Engine(means), files, cipher, means.names, means.worker)


def _import_listeners(settings: Settings) -> None:
    for name in settings.listeners:
        try:
            import_own(name, settings.workflows_dir)
        except Fail as error:
            raise SettingsError(f"LISTENERS names {name}: {error.message.removeprefix('call: ')}") from error


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
