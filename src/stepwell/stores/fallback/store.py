"""The shared store, and this host's own for what is asked while the shared one is away.

A task is kept in one of the two, its home, from its creation to its end. It may be created here only if the shared
store has certainly not got it. Whatever names a task goes to its home; what concerns all tasks goes to both.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from stepwell.errors import NotDelivered, QueueFull, Unavailable
from stepwell.ports import Lease, Purged, TaskFilter, TaskStore
from stepwell.recent import Recent
from stepwell.stores.fallback.homes import Homes
from stepwell.stores.records import decode_cursor, encode_cursor
from stepwell.task import NewTask, Page, Task

log = logging.getLogger(__name__)

SILENCE = 0.5
"""The share of a lease after which it may have ended only because nobody could renew it."""

T = TypeVar("T")


class FallbackStore(Homes):
    """A `TaskStore` over a `shared` one and this host's `local` one; both list tasks by id, as `encode_cursor(id)`.

    While the shared store is away, tasks of this host are created, run and read as ever. Lists, counts and all else
    that would be incomplete without the shared store raise `Unavailable` instead of pretending. Publications, pauses,
    the audit log and what is `spent` are the shared store's alone.
    """

    def __init__(
        self,
        shared: TaskStore,
        local: TaskStore,
        lease_seconds: float = 10.0,
        elapsed: Callable[[], float] = time.monotonic,
        max_local: int | None = None,
    ) -> None:
        """At most `max_local` tasks may wait in a queue here for this process to run them."""
        super().__init__(shared, local)
        self._max_local = max_local
        self._lease, self._elapsed = lease_seconds, elapsed
        self._unsure: Recent[bool] = Recent()
        self._reaped = elapsed()
        self._is_away = False
        self.why_local = ""
        """Why the last task that was kept here was."""

    # -- creating ----------------------------------------------------------------------------------------------------

    def create(self, new: NewTask, max_queued: int | None = None) -> tuple[Task, bool]:
        """See `create_many`."""
        return self.create_many([new], max_queued)[0]

    def create_many(self, new: Sequence[NewTask], max_queued: int | None = None) -> list[tuple[Task, bool]]:
        """Create tasks in the shared store, or here if that has certainly not got them.

        Raises `NotDelivered` if it has not and they carry idempotency keys, which others must know too; and plain
        `Unavailable` once a reply about one of them was lost, until the shared store has answered.
        """
        ids = [one.task_id for one in new]
        if any(self._homes.get(task_id) is self._local for task_id in ids):
            return self._local.create_many(new, self._max_local)
        try:
            created = self._shared.create_many(new, max_queued)
        except NotDelivered as error:
            self._check_may_be_local(new, error)
            self._away(error)
            self.why_local = str(error)
            self._homes.put(ids, self._local)  # before it is tried: if that fails, a repeat must not go elsewhere
            return self._local.create_many(new, self._max_local)
        except QueueFull:
            raise
        except Unavailable:
            self._unsure.put(ids, True)
            raise
        self._unsure.forget(ids)
        self._homes.put([task.task_id for task, _ in created], self._shared)
        return created

    def _check_may_be_local(self, new: Sequence[NewTask], error: NotDelivered) -> None:
        for one in new:
            if self._unsure.get(one.task_id) or self._homes.get(one.task_id) is self._shared:
                raise Unavailable(f"{error}; an earlier request for the same task may have arrived") from error
        if any(one.idempotency_key is not None for one in new):
            message = (
                "a task with an idempotency key is not run without the shared store, where others look for the key"
            )
            raise NotDelivered(f"{message}: {error}") from error

    # -- looking after tasks: this host's first, and although the shared store is away ---------------------------------

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """Renew this host's leases, then the others; raises `Unavailable` if those were not renewed."""
        local = {task_id: token for task_id, token in claims.items() if self.is_local(task_id)}
        others = {task_id: token for task_id, token in claims.items() if task_id not in local}
        leases = self._local.renew(local) if local else {}
        return {**leases, **self._shared.renew(others)} if others else leases

    def reap(self, grace: bool = False) -> list[Task]:
        """See `TaskStore.reap`; never raises because the shared store is away. If that was for so long that leases may
        not have been renewed, its tasks are given grace first."""
        lost = self._local.reap(grace)
        grace = grace or self._elapsed() - self._reaped > self._lease * SILENCE
        return self._both(lost, lambda: self._reap_shared(grace))

    def lose(self, worker: str, crashed: bool = True) -> list[Task]:
        """See `TaskStore.lose`; never raises because the shared store is away: there the lease ends by itself."""
        return self._both(self._local.lose(worker, crashed), lambda: self._shared.lose(worker, crashed))

    def wake(self) -> list[Task]:
        """See `TaskStore.wake`; never raises because the shared store is away."""
        return self._both(self._local.wake(), self._shared.wake)

    def queued(self, older_than: float, line: tuple[str, int] | None = None) -> list[Task]:
        """As `TaskStore.queued`, so many of each store; never raises because the shared one is away."""
        return self._both(self._local.queued(older_than, line), lambda: self._shared.queued(older_than, line))

    def due_in(self) -> float | None:
        """See `TaskStore.due_in`; never raises because the shared store is away."""
        due = [self._local.due_in(), self._if_there(self._shared.due_in, None)]
        return min((seconds for seconds in due if seconds is not None), default=None)

    def purge(self, older_than: float, limit: int = 1000) -> Purged:
        """As `TaskStore.purge`; files are named only if neither store needs them, and none while one is away."""
        local = self._local.purge(older_than, limit)
        if local.tasks >= limit:
            return Purged(local.tasks, self._if_there(lambda: self.unused(local.files), ()))
        shared = self._if_there(lambda: self._shared.purge(older_than, limit - local.tasks), Purged(0))
        files = sorted({*local.files, *shared.files})
        return Purged(local.tasks + shared.tasks, self._if_there(lambda: self.unused(files), ()))

    def _both(self, local: list[Task], ask_shared: Callable[[], list[Task]]) -> list[Task]:
        self._homes.put([task.task_id for task in local], self._local)
        nothing: list[Task] = []
        shared = self._if_there(ask_shared, nothing)
        self._homes.put([task.task_id for task in shared], self._shared)
        return [*local, *shared]

    def _reap_shared(self, grace: bool) -> list[Task]:
        lost = self._shared.reap(grace)
        self._reaped = self._elapsed()
        return lost

    def _if_there(self, ask: Callable[[], T], otherwise: T) -> T:
        try:
            answer = ask()
        except Unavailable as error:
            self._away(error)
            return otherwise
        self._is_away = False
        return answer

    def _away(self, error: Unavailable) -> None:
        if not self._is_away:
            log.warning("new tasks are kept on this host, and only those of this host are looked after: %s", error)
        self._is_away = True

    # -- all tasks ---------------------------------------------------------------------------------------------------

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """A page of the tasks of both, newest first. Raises `Unavailable` while the shared store is away. Children are
        where their parent is."""
        if only.parent is not None:
            return (self._local if self.is_local(only.parent) else self._shared).list(only, limit, cursor)
        pages = [store.list(only, limit, cursor) for store in (self._shared, self._local)]
        self._homes.put([task.task_id for task in pages[1].items], self._local)
        # A page says nothing about tasks older than what its cursor stands for: those come with the next page.
        ends = (decode_cursor(page.next_cursor, 1)[0] for page in pages if page.next_cursor is not None)
        end = max(ends, default=None)
        found = [task for page in pages for task in page.items if end is None or task.task_id >= end]
        found.sort(key=lambda task: task.task_id, reverse=True)
        end = found[limit - 1].task_id if len(found) > limit else end
        return Page(found[:limit], None if end is None else encode_cursor(end))

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.counts`."""
        return _sums(self._shared.counts(), self._local.counts())

    def ages(self) -> Mapping[str, float]:
        """See `TaskStore.ages`."""
        shared, local = self._shared.ages(), self._local.ages()
        return {queue: max(shared.get(queue, 0.0), local.get(queue, 0.0)) for queue in {**shared, **local}}

    def pace(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.pace`."""
        return _sums(self._shared.pace(), self._local.pace())

    def unused(self, sha256s: Iterable[str]) -> Sequence[str]:
        """Those that neither store needs."""
        unused = self._local.unused(sha256s)
        return self._shared.unused(unused) if unused else unused

    # -- the stores themselves ---------------------------------------------------------------------------------------

    def now(self) -> float:
        """The shared store's time; this host's while that is away."""
        try:
            return self._shared.now()
        except Unavailable:
            return self._local.now()

    def rings_with(self, ring: Callable[[Task], None]) -> None:
        """See `TaskStore.rings_with`."""
        for store in (self._shared, self._local):
            store.rings_with(ring)

    def ping(self) -> None:
        """Raise `Unavailable` if not even the local store answers: as long as it does, tasks can be taken and run."""
        self._local.ping()

    def close(self) -> None:
        """See `TaskStore.close`."""
        self._shared.close()
        self._local.close()


def _sums(first: Mapping[str, Mapping[str, int]], second: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    return {queue: _sum(first.get(queue, {}), second.get(queue, {})) for queue in {**first, **second}}


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}
