"""How calls of the SQL store reach the database: each is one transaction, and what it queued is rung for afterwards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from stepwell.errors import Unavailable
from stepwell.stores.sql.database import Database, Session
from stepwell.stores.sql.statements import statements
from stepwell.stores.sql.transaction import Transaction
from stepwell.task import Task

T = TypeVar("T")

log = logging.getLogger(__name__)

_POSTGRES_SHARDS = 16


class SqlCalls:
    """The ground of `SqlStore`: its database, and its bell."""

    def __init__(self, url: str, *, clock: Callable[[], float] | None, lease_seconds: float, connections: int) -> None:
        self._db = Database(url, clock, connections)
        self._sql = statements(self._db.is_sqlite, server_time=self._db.clock is None)
        self._lease_seconds = lease_seconds
        self._shards = 1 if self._db.is_sqlite else _POSTGRES_SHARDS
        self._ring: Callable[[Task], None] = _silent

    def rings_with(self, ring: Callable[[Task], None]) -> None:
        """See `TaskStore.rings_with`."""
        self._ring = ring

    def now(self) -> float:
        """See `TaskStore.now`."""
        return self._read(lambda transaction: transaction.session.now())

    def ping(self) -> None:
        """See `TaskStore.ping`."""
        self._read(lambda transaction: transaction.session.rows("SELECT 1", {}))

    def close(self) -> None:
        """See `TaskStore.close`."""
        self._db.close()

    def _write(self, work: Callable[[Transaction], T]) -> T:
        def act(session: Session) -> tuple[T, list[Task]]:
            transaction = self._transaction(session)
            answer = work(transaction)
            transaction.write_counters()
            return answer, transaction.to_ring

        answer, to_ring = self._db.write(act)
        for task in to_ring:
            self._ring_for(task)
        return answer

    def _read(self, work: Callable[[Transaction], T]) -> T:
        return self._db.read(lambda session: work(self._transaction(session)))

    def _transaction(self, session: Session) -> Transaction:
        return Transaction(session, self._sql, self._lease_seconds, self._shards)

    def _ring_for(self, task: Task) -> None:
        try:
            self._ring(task)
        except Unavailable as error:
            log.warning("the bell of task %s may be lost, until a sweeper rings again: %s", task.task_id, error)


def _silent(_: Task) -> None:
    """For a store of which nobody has said how it rings."""
