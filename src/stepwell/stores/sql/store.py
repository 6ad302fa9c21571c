"""The task store in SQL: every call is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

from stepwell import lifecycle
from stepwell.errors import NotFound
from stepwell.ports import Claim, Commit, Lease, Purged, Receipt, Revision, TaskFilter
from stepwell.stores import records
from stepwell.stores.sql import claiming, interventions, ledger, listing, publishing, rows, submitting, sweeping
from stepwell.stores.sql.rows import TaskRow
from stepwell.stores.sql.transaction import Transaction
from stepwell.stores.sql.waiting_calls import WaitingCalls
from stepwell.task import AuditEntry, Error, Event, NewTask, Page, Status, StepRecord, Task

_ALL = 2**31 - 1


class SqlStore(WaitingCalls):
    """`TaskStore` in SQLite (`sqlite:///path`) or PostgreSQL (`postgresql://…`).

    `clock` stands in for the store's time: by default this host's for SQLite, the server's for PostgreSQL. A
    lease lasts `lease_seconds`; at most `connections` are open. Open one store per process, after a fork.

    A commit whose step records are all stored as they are is a repeat: neither their events nor those that it
    brings are told again. One without step records tells its events each time.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] | None = None,
        lease_seconds: float = 10.0,
        connections: int = 5,
    ) -> None:
        super().__init__(url, clock=clock, lease_seconds=lease_seconds, connections=connections)

    def create(self, new: NewTask, max_queued: int | None = None) -> tuple[Task, bool]:
        """See `TaskStore.create`."""
        return self.create_many([new], max_queued)[0]

    def create_many(self, new: Sequence[NewTask], max_queued: int | None = None) -> list[tuple[Task, bool]]:
        """See `TaskStore.create_many`."""
        asked = [records.own(one) for one in new]
        return self._write(lambda transaction: submitting.create_many(transaction, asked, max_queued))

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """See `TaskStore.claim`."""
        return self._write(lambda transaction: claiming.claim(transaction, task_id, token, worker))

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        """See `TaskStore.commit`."""
        return self._write(lambda transaction: claiming.commit(transaction, task_id, token, commit))

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        """See `TaskStore.finish`."""
        kept = records.set_apart(outputs)

        def end(row: TaskRow, now: float, ran: float) -> Task:
            return lifecycle.finished(row.task, now, ran, status, kept, error)

        def act(transaction: Transaction) -> Task:
            task = claiming.end(transaction, "finish", task_id, token, commit, end)
            if outputs is not None and kept is not outputs:
                transaction.put_value(task_id, "outputs", outputs)
            return task

        return self._write(act)

    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        """See `TaskStore.back_off`."""

        def sleep(row: TaskRow, now: float, ran: float) -> Task:
            return lifecycle.backed_off(row.task, now, ran, pause, error)

        return self._write(lambda transaction: claiming.end(transaction, "back_off", task_id, token, commit, sleep))

    def release(self, task_id: str, token: str, commit: Commit, pause: float = 0.0) -> Task:
        """See `TaskStore.release`."""

        def hand_back(row: TaskRow, now: float, ran: float) -> Task:
            return lifecycle.handed_back(row.task, now, ran, pause)

        return self._write(lambda transaction: claiming.end(transaction, "release", task_id, token, commit, hand_back))

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """See `TaskStore.renew`."""
        return self._write(lambda transaction: claiming.renew(transaction, claims)) if claims else {}

    def reap(self, grace: bool = False) -> list[Task]:
        """See `TaskStore.reap`."""
        return self._write(lambda transaction: sweeping.reap(transaction, grace))

    def lose(self, worker: str, crashed: bool = True) -> list[Task]:
        """See `TaskStore.lose`."""
        return self._write(lambda transaction: sweeping.lose(transaction, worker, crashed))

    def wake(self) -> list[Task]:
        """See `TaskStore.wake`."""
        return self._write(lambda transaction: sweeping.wake(transaction))

    def due_in(self) -> float | None:
        """See `TaskStore.due_in`."""
        return self._read(lambda transaction: sweeping.due_in(transaction))

    def queued(self, older_than: float, line: tuple[str, int] | None = None) -> list[Task]:
        """See `TaskStore.queued`."""
        return self._read(lambda transaction: sweeping.queued(transaction, older_than, line))

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """See `TaskStore.cancel`."""
        return self._write(lambda transaction: interventions.cancel(transaction, task_id, force))

    def retry(self, task_id: str, reset: Iterable[str], attempt: int, revision: Revision | None = None) -> Task:
        """See `TaskStore.retry`."""
        paths = list(reset)
        return self._write(lambda transaction: interventions.retry(transaction, task_id, paths, attempt, revision))

    def discard(self, task_id: str) -> Task:
        """See `TaskStore.discard`."""
        return self._write(lambda transaction: interventions.discard(transaction, task_id))

    def get(self, task_id: str) -> Task:
        """See `TaskStore.get`."""
        return self._read(lambda transaction: transaction.get(task_id)).task

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """See `TaskStore.list`."""
        statement, params = listing.listing(only, cursor)
        text = self._sql.text(statement)
        params["limit"] = limit + 1
        found = self._read(lambda transaction: transaction.session.rows(text, params))
        page = [rows.read_task(row).task for row in found[:limit]]
        return Page(page, listing.cursor_after(only, page[-1]) if len(found) > limit else None)

    def step(self, task_id: str, path: str) -> StepRecord:
        """See `TaskStore.step`."""
        found = self._read(lambda transaction: transaction.belongings(self._sql.get_step, task_id, {"path": path}))
        if not found:
            raise NotFound("step", path)
        return rows.read_step(found[0])

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """See `TaskStore.steps`."""
        position, path = ("", "") if cursor is None else records.decode_cursor(cursor, 2)
        params = {"position": position, "path": path, "limit": _ALL if limit is None else limit + 1}
        found = self._read(lambda transaction: transaction.belongings(self._sql.steps_after, task_id, params))
        page = [rows.read_step(row) for row in found[:limit]]
        more = limit is not None and len(found) > limit
        return Page(page, records.encode_cursor(page[-1].position, page[-1].path) if more else None)

    def events(self, task_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See `TaskStore.events`."""
        params = {"after": after, "limit": limit}
        found = self._read(lambda transaction: transaction.belongings(self._sql.events_after, task_id, params))
        return [rows.read_event(row) for row in found]

    def value(self, task_id: str, key: str) -> str:
        """See `TaskStore.value`."""
        return self._read(lambda transaction: transaction.value(task_id, key))

    def definition(self, definition: str) -> str:
        """See `TaskStore.definition`."""
        return self._read(lambda transaction: transaction.definition(definition))

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.counts`."""
        return self._read(ledger.counts)

    def ages(self) -> Mapping[str, float]:
        """See `TaskStore.ages`."""
        return self._read(ledger.ages)

    def pace(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.pace`."""
        return self._read(ledger.pace)

    def pause(self, queue: str) -> None:
        """See `TaskStore.pause`."""
        records.check_text([("queue", queue)])
        self._write(lambda transaction: transaction.session.do(self._sql.ledger.pause, {"queue": queue}))

    def resume(self, queue: str) -> None:
        """See `TaskStore.resume`."""
        records.check_text([("queue", queue)])
        self._write(lambda transaction: transaction.session.do(self._sql.ledger.resume, {"queue": queue}))

    def paused(self) -> Set[str]:
        """See `TaskStore.paused`."""
        return {queue for (queue,) in self._read(lambda read: read.session.rows(self._sql.ledger.paused, {}))}

    def spend(self, account: str, amount: int, limit: int, period: float) -> float:
        """See `TaskStore.spend`."""
        records.check_text([("account", account)])
        return self._write(lambda transaction: ledger.spend(transaction, account, amount, limit, period))

    def note(self, entry: AuditEntry) -> None:
        """See `TaskStore.note`."""
        self._write(lambda transaction: ledger.note(transaction, entry))

    def audit(self, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """See `TaskStore.audit`."""
        return self._read(lambda transaction: ledger.audit(transaction, limit, cursor))

    def purge(self, older_than: float, limit: int = 1000) -> Purged:
        """See `TaskStore.purge`."""
        while self._write(lambda transaction: publishing.forget(transaction, older_than)):
            continue  # in parts, so that other writers have their turns
        return self._write(lambda transaction: sweeping.purge(transaction, older_than, limit))

    def unused(self, sha256s: Iterable[str]) -> Sequence[str]:
        """See `TaskStore.unused`."""
        wanted = list(sha256s)
        return self._read(lambda transaction: sweeping.unused(transaction, wanted))
