"""What a store in memory keeps besides tasks: paused queues, accounts, the pace of queues, and the audit log."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Set
from dataclasses import replace

from stepwell.stores import records
from stepwell.task import ENDED, AuditEntry, Page, Task

MINUTE = 60
PACE_MINUTES = 5


class MemoryLedger:
    """The part of `MemoryStore` that knows nothing of tasks; `now` gives the time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._lock = threading.RLock()
        self._paused: set[str] = set()
        self._spent: dict[tuple[str, float], tuple[float, int]] = {}
        self._endings: Counter[tuple[int, str, str]] = Counter()
        self._audit: deque[tuple[int, AuditEntry]] = deque(maxlen=records.AUDIT_KEPT)
        self._last_entry = 0

    def pace(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.pace`."""
        with self._lock:
            this = int(self.now() // MINUTE)
            found: dict[str, dict[str, int]] = {}
            for (minute, queue, status), number in self._endings.items():
                if this - PACE_MINUTES <= minute < this:
                    ended = found.setdefault(queue, {str(one): 0 for one in sorted(ENDED)})
                    ended[status] += number
            return found

    def pause(self, queue: str) -> None:
        """See `TaskStore.pause`."""
        records.check_text([("queue", queue)])
        with self._lock:
            self._paused.add(queue)

    def resume(self, queue: str) -> None:
        """See `TaskStore.resume`."""
        with self._lock:
            self._paused.discard(queue)

    def paused(self) -> Set[str]:
        """See `TaskStore.paused`."""
        with self._lock:
            return set(self._paused)

    def spend(self, account: str, amount: int, limit: int, period: float) -> float:
        """See `TaskStore.spend`."""
        records.check_text([("account", account)])
        with self._lock:
            now = self.now()
            begun = now // period * period
            latest, spent = self._spent.get((account, period), (begun, 0))
            total = amount if latest < begun else spent + amount
            if total > limit:
                return begun + period - now
            self._spent[account, period] = (max(latest, begun), total)
            return 0.0

    def note(self, entry: AuditEntry) -> None:
        """See `TaskStore.note`."""
        with self._lock:
            self._last_entry += 1
            kept = records.audit_from_json(records.audit_to_json(replace(entry, at=self.now())))
            self._audit.appendleft((self._last_entry, kept))

    def audit(self, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """See `TaskStore.audit`."""
        before = None if cursor is None else records.decode_number(cursor)
        with self._lock:
            found = [(id_, entry) for id_, entry in self._audit if before is None or id_ < before][: limit + 1]
        page = [entry for _, entry in found[:limit]]
        return Page(page, records.encode_cursor(str(found[limit - 1][0])) if len(found) > limit else None)

    def _count_ending(self, before: Task | None, after: Task) -> None:
        if after.completed_at is not None and (before is None or not before.ended):
            self._endings[int(after.completed_at // MINUTE), after.queue, str(after.status)] += 1

    def _forget_periods(self) -> None:
        """Drop what no later call asks for."""
        now = self.now()
        oldest = int(now // MINUTE) - PACE_MINUTES
        self._endings = Counter({key: number for key, number in self._endings.items() if key[0] >= oldest})
        self._spent = {key: spent for key, spent in self._spent.items() if spent[0] + key[1] >= now}
