"""The log of published events in memory, who has got which of them, and which tasks they wake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stepwell import lifecycle
from stepwell.ports import Suspension
from stepwell.stores import records
from stepwell.stores.memory.tasks import MemoryTasks
from stepwell.task import Publication, Publications, Task

BATCH = 1000
"""How many tasks one call of `rouse` answers at most."""


@dataclass(slots=True)
class Group:
    """A group of consumers: how far it has `read`, and since when each publication is `out` without being delivered."""

    read: int = 0
    out: dict[int, float] = field(default_factory=dict)

    def may_get(self, number: int, now: float) -> bool:
        """Whether a publication is for the next consumer who asks."""
        return number > self.read or self.out.get(number, now) <= now - records.REDELIVERY

    def take(self, number: int, now: float) -> None:
        """A consumer gets a publication."""
        self.read = max(self.read, number)
        self.out[number] = now


class MemoryPublications(MemoryTasks):
    """The part of `MemoryStore` that concerns publications. A publication's id, and a position, is its number."""

    def __init__(self, now: Callable[[], float], lease_seconds: float) -> None:
        super().__init__(now, lease_seconds)
        self._log: dict[int, Publication] = {}
        self._last_publication = 0
        self._published: Counter[str] = Counter()
        self._received: Counter[str] = Counter()
        self._publication_keys: dict[str, int] = {}
        self._groups: dict[str, Group] = {}

    def publish(
        self, name: str, payload: str, topics: Sequence[str], key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """See `TaskStore.publish`."""
        records.check_text([("name", name), ("payload", payload), ("key", key), ("sender", sender)])
        with self._lock:
            if key is not None and key in self._publication_keys:
                return self._log[self._publication_keys[key]], False
            self._last_publication = number = self._last_publication + 1
            publication = Publication(str(number), name, payload, self.now(), tuple(topics), sender)
            self._log[number] = publication
            self._published[name] += 1
            if key is not None:
                self._publication_keys[key] = number
            return publication, True

    def published(self, name: str, after: str | None = None, since: float = 0.0, limit: int = 100) -> Publications:
        """See `TaskStore.published`."""
        with self._lock:
            found = [
                publication
                for number, publication in self._log.items()
                if publication.name == name and number > int(after or 0) and publication.published_at >= since
            ]
            more = len(found) > limit
            return Publications(found[:limit], found[limit - 1].id if more else str(self._last_publication))

    def undelivered(
        self,
        group: str,
        consumer: str,  # noqa: ARG002 - whoever asks next gets it
        limit: int = 100,
    ) -> Sequence[Publication]:
        """See `TaskStore.undelivered`."""
        with self._lock:
            now, kept = self.now(), self._groups.setdefault(group, Group())
            numbers = [number for number in self._log if kept.may_get(number, now)][:limit]
            for number in numbers:
                kept.take(number, now)
            return [self._log[number] for number in numbers]

    def delivered(self, group: str, publication: Publication, received: int = 0) -> None:
        """See `TaskStore.delivered`."""
        with self._lock:
            if self._groups.setdefault(group, Group()).out.pop(int(publication.id), None) is not None:
                self._received[publication.name] += received

    def rouse(self, publication: Publication) -> list[Task]:
        """See `TaskStore.rouse`."""
        with self._lock:
            now, topics = self.now(), set(publication.topics)
            listening = [entry for entry in self._entries.values() if not topics.isdisjoint(entry.topics)]
            unread = [entry for entry in listening if not _has_read(entry.positions, publication)]
            unread.sort(key=lambda entry: entry.task.task_id)
            return [self._save(entry, lifecycle.woken(entry.task, now)) for entry in unread[:BATCH]]

    def publications(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.publications`."""
        with self._lock:
            numbers = {"published": self._published, "received": self._received, "listening": self._listening}
            names = {name for counter in numbers.values() for name, number in counter.items() if number}
            return {name: {kind: counter[name] for kind, counter in numbers.items()} for name in sorted(names)}

    def _has_more(self, suspension: Suspension) -> bool:
        """Whether something was published under one of its topics that it has not read."""
        unread = (publication for publication in self._log.values() if not _has_read(suspension.positions, publication))
        return any(not set(suspension.topics).isdisjoint(publication.topics) for publication in unread)

    def _forget_publications(self, latest: float) -> None:
        old = {number for number, publication in self._log.items() if publication.published_at < latest}
        self._log = {number: publication for number, publication in self._log.items() if number not in old}
        self._publication_keys = {key: number for key, number in self._publication_keys.items() if number not in old}
        for group in self._groups.values():
            group.out = {number: since for number, since in group.out.items() if number not in old}


def _has_read(positions: Mapping[str, str], publication: Publication) -> bool:
    return int(positions.get(publication.name, 0)) >= int(publication.id)
