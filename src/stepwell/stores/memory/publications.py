"""The log of published events in memory, who has got which of them, and which tasks they wake."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from stepwell import lifecycle
from stepwell.ports import Suspension
from stepwell.stores import records
from stepwell.stores.memory.entry import Entry
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
    """The part of `MemoryStore` that concerns publications. A publication's id, and a position, is its number; those of
    each topic are kept in order."""

    def __init__(self, now: Callable[[], float], lease_seconds: float) -> None:
        super().__init__(now, lease_seconds)
        self._log: dict[int, Publication] = {}
        self._numbers: defaultdict[str, list[int]] = defaultdict(list)
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
            for topic in set(topics):
                self._numbers[topic].append(number)
            self._published[name] += 1
            if key is not None:
                self._publication_keys[key] = number
            return publication, True

    def published(self, topic: str, after: str | None = None, since: float = 0.0, limit: int = 100) -> Publications:
        """See `TaskStore.published`."""
        with self._lock:
            numbers = self._numbers.get(topic, [])
            unread = (self._log[number] for number in numbers[bisect_right(numbers, int(after or 0)) :])
            recent = (publication for publication in unread if publication.published_at >= since)
            found = list(islice(recent, limit + 1))
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
            now = self.now()
            unread = [entry for entry in self._entries.values() if _wants(entry, publication)]
            unread.sort(key=lambda entry: entry.task.task_id)
            return [self._save(entry, lifecycle.woken(entry.task, now)) for entry in unread[:BATCH]]

    def publications(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.publications`."""
        with self._lock:
            numbers = {"published": self._published, "received": self._received, "listening": self._listening}
            names = {name for counter in numbers.values() for name, number in counter.items() if number}
            return {name: {kind: counter[name] for kind, counter in numbers.items()} for name in sorted(names)}

    def _has_more(self, suspension: Suspension) -> bool:
        """Whether something was published under one of its topics after what it has read of it."""
        read = [(topic, suspension.positions[topic]) for topic in suspension.topics if topic in suspension.positions]
        return any(self._numbers.get(topic, [0])[-1] > int(position) for topic, position in read)

    def _forget_publications(self, latest: float) -> None:
        old = {number for number, publication in self._log.items() if publication.published_at < latest}
        self._log = {number: publication for number, publication in self._log.items() if number not in old}
        kept = {topic: [number for number in numbers if number not in old] for topic, numbers in self._numbers.items()}
        self._numbers = defaultdict(list, {topic: numbers for topic, numbers in kept.items() if numbers})
        self._publication_keys = {key: number for key, number in self._publication_keys.items() if number not in old}
        for group in self._groups.values():
            group.out = {number: since for number, since in group.out.items() if number not in old}


def _wants(entry: Entry, publication: Publication) -> bool:
    """Whether a task listens to a topic of which it has not read this publication."""
    topics = set(entry.topics).intersection(publication.topics) if lifecycle.listens(entry.task) else ()
    return any(int(entry.positions.get(topic, 0)) < int(publication.id) for topic in topics)
