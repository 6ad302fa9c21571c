"""The whole system of one process that serves or commands: store, service, engine, pool, sweeper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepwell.definitions import open_catalog
from stepwell.engine.courier import Courier
from stepwell.engine.engine import Engine
from stepwell.engine.names import MakeNames
from stepwell.engine.sweeper import FORGOTTEN, OWN_FORGOTTEN, Sweeper
from stepwell.operations import Operations
from stepwell.ports import FileStore, Queue, TaskStore
from stepwell.publishing import Publisher, check_repeat
from stepwell.queues.dispatch import Dispatch
from stepwell.queues.inline import InlineQueue
from stepwell.queues.silent import SilentQueue
from stepwell.service import Defaults, Service, Triggers
from stepwell.settings import Settings
from stepwell.stores.fallback import FallbackStore
from stepwell.task import Publication
from stepwell.wiring.databases import open_database
from stepwell.wiring.engines import EngineParts, make_engine

if TYPE_CHECKING:
    from stepwell.wiring.shared import Shared

CONNECTIONS = 64
"""To Redis: one for each request that a server answers at a time, and some."""

KEPT_HERE = "its record was kept on this host while Redis was away"


@dataclass(frozen=True)
class System:
    """A whole Stepwell: ask `service` and `operations`, let `pool` run tasks, keep files in `files`.

    `names` gives what expressions of a claimed task can read. With a queue there is a `shared` side; `dispatch` rings
    for workers, or has the pool run what cannot get to them. In a terminal `silent` remembers what the
    caller is to run.
    """

    settings: Settings
    store: TaskStore
    files: FileStore
    service: Service
    operations: Operations
    engine: Engine
    pool: InlineQueue
    sweeper: Sweeper
    courier: Courier
    triggers: Triggers
    publisher: Publisher
    names: MakeNames
    shared: Shared | None = None
    dispatch: Dispatch | None = None
    silent: SilentQueue | None = None

    def start(self) -> None:
        """Adopt orphaned tasks from now on; only servers and workers do."""
        self.sweeper.start()
        self.courier.start()

    def drain(self) -> None:
        """Take nothing new, let running steps end within `SHUTDOWN_TIMEOUT`, hand back the rest."""
        self.sweeper.stop()
        self.courier.stop()
        self.pool.close()
        self.engine.drain(self.settings.shutdown_timeout)

    def stop(self) -> None:
        """Drain, and give back what is open."""
        self.drain()
        self.close()

    def close(self) -> None:
        """Give back what is open."""
        self.store.close()
        if self.shared is not None:
            self.shared.close()

    def publish(
        self, name: str, payload: object, key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """Publish an event, and bring it at once to those who wait for it; the same `key` again answers the first one
        and False, or for another event raises `Conflict`."""
        publication, is_new = self.publisher.publish(name, payload, key, sender)
        if not is_new:
            check_repeat(publication, name, payload)
        self.courier.nudge()
        return publication, is_new

    def why_here(self, task_id: str) -> str | None:
        """Why a task that was meant for workers runs in this process; None if it does not."""
        if self.dispatch is None:
            return None
        if isinstance(self.store, FallbackStore) and self.store.is_local(task_id):
            return self.store.why_local
        return self.dispatch.why_here(task_id)

    def is_for_workers(self, task_id: str) -> bool:
        """Whether a task waits for workers, rather than for this process."""
        return self.dispatch is not None and self.dispatch.is_for_workers(task_id)

    def away(self) -> str | None:
        """Why tasks run in this process instead of workers now, as far as it is known; None if they do not."""
        return None if self.shared is None else self.shared.client.state().reason

    def diverted(self) -> int:
        """How many tasks that were meant for workers ran in this process."""
        return 0 if self.dispatch is None else self.dispatch.diverted


def build(settings: Settings, *, store: TaskStore | None = None, interactive: bool = False) -> System:
    """Everything, from settings.

    `store` stands in for the one of the settings, and then there is no queue. `interactive` is for a terminal: time
    limits pause in a debugger, and the caller runs itself what it submits `here` and what is not for workers.
    """
    shared = _shared(settings) if settings.queue_enabled and store is None else None
    store = store or _store(settings, shared)
    parts = make_engine(settings, store, interactive=interactive)
    pool = InlineQueue(parts.engine.run, settings.inline_max_concurrency, settings.inline_queue_max_size)
    silent = SilentQueue() if interactive else None
    own: Queue = silent or pool
    dispatch = None if shared is None else _dispatch(shared, store, own)
    queue: Queue = dispatch or own
    store.rings_with(queue.ring)
    service = _service(settings, store, queue, own, parts)
    triggers = Triggers(service, service.catalog)
    return System(
        settings=settings,
        store=store,
        files=parts.files,
        service=service,
        operations=_operations(settings, store, queue, service, enabled=shared is not None),
        engine=parts.engine,
        pool=pool,
        sweeper=_sweeper(settings, store, queue, parts),
        courier=Courier(store, queue, parts.worker, triggers.fire),
        triggers=triggers,
        publisher=Publisher(store),
        names=parts.names,
        shared=shared,
        dispatch=dispatch,
        silent=silent,
    )


def _shared(settings: Settings) -> Shared:
    from stepwell.wiring.shared import open_shared  # it brings the redis library, which takes long to import

    return open_shared(settings, fail_fast=True, connections=CONNECTIONS)


def _store(settings: Settings, shared: Shared | None) -> TaskStore:
    if shared is None:
        return open_database(settings)
    if not shared.in_redis:
        return shared.store
    return FallbackStore(
        shared.store,
        open_database(settings),
        max_local=settings.inline_queue_max_size,
        lease_seconds=settings.lease_seconds,
    )


def _dispatch(shared: Shared, store: TaskStore, own: Queue) -> Dispatch:
    if isinstance(store, FallbackStore):
        return Dispatch(shared.queue, own, store.is_local, lambda: store.why_local or KEPT_HERE)
    return Dispatch(shared.queue, own, lambda _: False, lambda: "")


def _service(settings: Settings, store: TaskStore, queue: Queue, own: Queue, parts: EngineParts) -> Service:
    catalog, defaults = open_catalog(settings), _defaults(settings)
    return Service(store, queue, own, catalog, parts.cipher, defaults, tell_run=parts.engine.cancel)


def _operations(settings: Settings, store: TaskStore, queue: Queue, service: Service, *, enabled: bool) -> Operations:
    requeue, cancel = service.requeue, service.cancel
    return Operations(store, queue, enabled=enabled, queues=settings.queues, requeue=requeue, cancel=cancel)


def _sweeper(settings: Settings, store: TaskStore, queue: Queue, parts: EngineParts) -> Sweeper:
    lease, ttl = settings.lease_seconds, settings.result_ttl
    forgotten = FORGOTTEN if settings.queue_enabled else OWN_FORGOTTEN
    return Sweeper(store, parts.files, queue, lease_seconds=lease, result_ttl=ttl, forgotten=forgotten)


def _defaults(settings: Settings) -> Defaults:
    queued = settings.queue_enabled
    return Defaults(
        settings.task_timeout,
        max_retries=settings.task_max_retries if queued else 0,
        priority_scale=settings.priority_scale,
        queues=settings.queues,
        max_queued=settings.queue_max_size if queued else None,
    )
