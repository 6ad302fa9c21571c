"""What the Redis store keeps besides tasks, and what it counts: paused queues, accounts, the audit log, statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from typing import Any

from stepwell.lifecycle import COUNTERS
from stepwell.redis_client import RedisClient
from stepwell.stores import records
from stepwell.stores.redis.scripts import PACE_MINUTES, Scripts
from stepwell.task import ENDED, AuditEntry, Page

LAYOUT = "1"
"""The version of the keys and their contents, kept beside the totals."""


class RedisLedger:
    """The part of `RedisStore` that knows nothing of single tasks."""

    def __init__(
        self, client: RedisClient, namespace: str, lease_seconds: float, bell: str, clock: Callable[[], float] | None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._scripts = Scripts(namespace, lease_seconds, bell)
        self._clock = clock

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.counts`."""
        names = [str(name) for name in COUNTERS]
        return {queue.decode(): dict(zip(names, numbers, strict=True)) for queue, numbers in self._run("counts")}

    def ages(self) -> Mapping[str, float]:
        """See `TaskStore.ages`."""
        return {queue.decode(): float(age) for queue, age in self._run("ages")}

    def pace(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.pace`."""
        found: dict[str, dict[str, int]] = {}
        for minute in self._run("pace", str(PACE_MINUTES)):
            for name, number in zip(minute[::2], minute[1::2], strict=True):
                queue, _, status = name.decode().rpartition("\0")
                found.setdefault(queue, {str(one): 0 for one in sorted(ENDED)})[status] += int(number)
        return found

    def pause(self, queue: str) -> None:
        """See `TaskStore.pause`."""
        records.check_text([("queue", queue)])
        self._client.do("SADD", self._key("paused"), queue)

    def resume(self, queue: str) -> None:
        """See `TaskStore.resume`."""
        self._client.do("SREM", self._key("paused"), queue)

    def paused(self) -> Set[str]:
        """See `TaskStore.paused`."""
        return {queue.decode() for queue in self._client.do("SMEMBERS", self._key("paused"))}

    def spend(self, account: str, amount: int, limit: int, period: float) -> float:
        """See `TaskStore.spend`."""
        records.check_text([("account", account)])
        return float(self._run("spend", account, str(amount), str(limit), str(period)))

    def note(self, entry: AuditEntry) -> None:
        """See `TaskStore.note`."""
        self._run("note", records.audit_to_json(entry), str(records.AUDIT_KEPT))

    def audit(self, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """See `TaskStore.audit`."""
        newest = "+" if cursor is None else f"({records.decode_number(cursor)}-0"
        found = self._client.do("XREVRANGE", self._key("audit"), newest, "-", "COUNT", str(limit + 1))
        page = [_entry(dict(zip(fields[::2], fields[1::2], strict=True))) for _, fields in found[:limit]]
        more = len(found) > limit
        return Page(page, records.encode_cursor(found[limit - 1][0].decode().partition("-")[0]) if more else None)

    def now(self) -> float:
        """See `TaskStore.now`."""
        if self._clock is not None:
            return self._clock()
        seconds, microseconds = self._client.do("TIME")
        return float(f"{int(seconds)}.{int(microseconds):06}")

    def ping(self) -> None:
        """See `TaskStore.ping`."""
        self._client.do("HSETNX", self._key("totals"), "layout", LAYOUT)

    def close(self) -> None:
        """See `TaskStore.close`."""
        self._client.close()

    def _key(self, *parts: str) -> str:
        return ":".join((self._namespace, *parts))

    def _run(self, operation: str, *args: str) -> Any:
        time = "" if self._clock is None else f"{self._clock():.6f}"
        return self._client.run(self._scripts.script(operation), [time, *args])


def _entry(fields: Mapping[bytes, bytes]) -> AuditEntry:
    return replace(records.audit_from_json(fields[b"entry"].decode()), at=float(fields[b"at"]))
