"""The calls of the SQL store that concern waiting: mail, children, and publications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stepwell.ports import Commit, Suspension
from stepwell.stores import records
from stepwell.stores.sql import crews, mailbox, publishing, waiting
from stepwell.stores.sql.calls import SqlCalls
from stepwell.task import Crew, Mail, NewMail, NewTask, Publication, Publications, Task


class WaitingCalls(SqlCalls):
    """The part of `SqlStore` that concerns tasks that wait, and what they wait for."""

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        """See `TaskStore.suspend`."""
        return self._write(lambda transaction: waiting.suspend(transaction, task_id, token, commit, suspension))

    def send(self, task_id: str, mail: NewMail) -> tuple[Mail, bool]:
        """See `TaskStore.send`."""
        records.check_mail(mail)
        return self._write(lambda transaction: mailbox.send(transaction, task_id, mail))

    def mailbox(self, task_id: str, after: int = 0) -> Sequence[Mail]:
        """See `TaskStore.mailbox`."""
        return self._read(lambda transaction: mailbox.read(transaction, task_id, after))

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        """See `TaskStore.spawn`."""
        asked = [records.own(child) for child in children]
        return self._write(lambda transaction: crews.spawn(transaction, task_id, token, path, crew, asked))

    def crew(self, task_id: str, path: str) -> Crew:
        """See `TaskStore.crew`."""
        return self._read(lambda transaction: crews.get(transaction, task_id, path))

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        """See `TaskStore.cancel_children`."""
        return self._write(lambda transaction: crews.cancel_children(transaction, task_id, path))

    def publish(
        self, name: str, payload: str, topics: Sequence[str], key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """See `TaskStore.publish`."""
        records.check_text([("name", name), ("payload", payload), ("key", key), ("sender", sender)])
        return self._write(lambda transaction: publishing.publish(transaction, name, payload, topics, key, sender))

    def published(self, topic: str, after: str | None = None, since: float = 0.0, limit: int = 100) -> Publications:
        """See `TaskStore.published`."""
        return self._read(lambda transaction: publishing.published(transaction, topic, after, since, limit))

    def undelivered(self, group: str, consumer: str, limit: int = 100) -> Sequence[Publication]:
        """See `TaskStore.undelivered`."""
        if not self._read(lambda transaction: publishing.is_something_undelivered(transaction, group)):
            return []  # who asks again and again keeps no writer waiting
        return self._write(lambda transaction: publishing.undelivered(transaction, group, consumer, limit))

    def delivered(self, group: str, publication: Publication, received: int = 0) -> None:
        """See `TaskStore.delivered`."""
        self._write(lambda transaction: publishing.delivered(transaction, group, publication, received))

    def rouse(self, publication: Publication) -> list[Task]:
        """See `TaskStore.rouse`."""
        return self._write(lambda transaction: publishing.rouse(transaction, publication))

    def publications(self) -> Mapping[str, Mapping[str, int]]:
        """See `TaskStore.publications`."""
        return self._read(publishing.counts)
