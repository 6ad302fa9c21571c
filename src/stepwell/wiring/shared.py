"""What the processes of one deployment share: the store, and with a queue the Redis that rings for workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stepwell.ports import Feed, Queue, TaskStore
from stepwell.queues.rq import Presence, RqFeed, RqQueue, RqSqlFeed, RqSqlQueue, bell, export_prefix
from stepwell.redis_client import RedisClient
from stepwell.settings import Settings
from stepwell.stores.redis import RedisStore
from stepwell.wiring.databases import has_own_database, open_database


@dataclass(frozen=True)
class Shared:
    """The shared side of a deployment with `QUEUE_ENABLED=true`, as one process sees it."""

    settings: Settings
    client: RedisClient
    store: TaskStore
    queue: Queue

    @property
    def in_redis(self) -> bool:
        """Whether the records are in Redis too, so that its scripts ring by themselves."""
        return isinstance(self.store, RedisStore)

    def feed(self, queues: Sequence[str]) -> Feed:
        """Where a work-horse that serves these queues takes its tasks."""
        namespace = self.settings.namespace
        if isinstance(self.store, RedisStore):
            return RqFeed(self.client, self.store, queues, namespace=namespace)
        ttl = self.settings.result_ttl
        retries = self.settings.task_max_retries
        return RqSqlFeed(self.client, self.store, queues, namespace=namespace, result_ttl=ttl, retries=retries)

    def presence(self, queues: Sequence[str]) -> Presence:
        """What shows a worker to others."""
        return Presence(self.client, queues, namespace=self.settings.namespace)

    def close(self) -> None:
        """Give back connections."""
        self.store.close()
        self.client.close()


def open_shared(settings: Settings, *, fail_fast: bool = False, connections: int = 20) -> Shared:
    """Nothing is connected yet, but for a database. With `fail_fast` a Redis that is away costs callers nothing."""
    export_prefix(settings.namespace)
    client = RedisClient(
        settings.redis_url,
        sentinels=settings.redis_sentinels,
        master=settings.redis_master,
        fail_fast=fail_fast,
        connections=connections,
    )
    in_redis = not has_own_database(settings)
    store: TaskStore = _in_redis(settings, client) if in_redis else open_database(settings)
    queue = (RqQueue if in_redis else RqSqlQueue)(
        client,
        settings.queues,
        namespace=settings.namespace,
        result_ttl=settings.result_ttl,
        max_size=settings.queue_max_size,
        retries=settings.task_max_retries,
    )
    store.rings_with(queue.ring)
    return Shared(settings, client, store, queue)


def _in_redis(settings: Settings, client: RedisClient) -> RedisStore:
    ringing = bell(settings.namespace, settings.result_ttl, settings.task_max_retries)
    return RedisStore(client, settings.namespace, lease_seconds=settings.lease_seconds, bell=ringing)
