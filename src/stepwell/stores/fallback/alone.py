"""What the shared store alone keeps: publications, pauses, quotas and the audit log; without it they fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from stepwell.ports import TaskStore
from stepwell.task import AuditEntry, Page, Publication, Publications, Task


class SharedAlone:
    """The part of a `TaskStore` that goes to the `shared` one, also when that is away."""

    def __init__(self, shared: TaskStore) -> None:
        self._shared = shared

    def publish(
        self, name: str, payload: str, topics: Sequence[str], key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """See `TaskStore.publish`."""
        return self._shared.publish(name, payload, topics, key, sender)

    def published(self, topic: str, after: str | None = None, since: float = 0.0, limit: int = 100) -> Publications:
        """See `TaskStore.published`."""
        return self._shared.published(topic, after, since, limit)

    def undelivered(self, group: str, consumer: str, limit: int = 100) -> Sequence[Publication]:
        """See `TaskStore.undelivered`."""
        return self._shared.undelivered(group, consumer, limit)

    def delivered(self, group: str, publication: Publication, received: int = 0) -> None:
        """See `TaskStore.delivered`."""
        self._shared.delivered(group, publication, received)

    def rouse(self, publication: Publication) -> list[Task]:
        """See `TaskStore.rouse`; tasks of this host are not among them, they look by themselves."""
        return self._shared.rouse(publication)

    def publications(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.publications`."""
        return self._shared.publications()

    def pause(self, queue: str) -> None:
        """See `TaskStore.pause`."""
        self._shared.pause(queue)

    def resume(self, queue: str) -> None:
        """See `TaskStore.resume`."""
        self._shared.resume(queue)

    def paused(self) -> Set[str]:
        """See `TaskStore.paused`."""
        return self._shared.paused()

    def spend(self, account: str, amount: int, limit: int, period: float) -> float:
        """See `TaskStore.spend`."""
        return self._shared.spend(account, amount, limit, period)

    def note(self, entry: AuditEntry) -> None:
        """See `TaskStore.note`."""
        self._shared.note(entry)

    def audit(self, limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """See `TaskStore.audit`."""
        return self._shared.audit(limit, cursor)
