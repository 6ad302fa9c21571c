"""Waiting and mail in the store in memory: tasks that sleep until something comes for them."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell import lifecycle
from stepwell.ports import Commit, Suspension
from stepwell.stores import records
from stepwell.stores.memory.publications import MemoryPublications
from stepwell.task import Mail, NewMail, Status, Task


class MemoryMail(MemoryPublications):
    """The part of `MemoryStore` that concerns waiting tasks and their mail."""

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        """See `TaskStore.suspend`."""

        def wait(task: Task, now: float, ran: float) -> Task:
            has_come = self._has_come(task_id, suspension)
            return lifecycle.suspended(task, now, ran, suspension.due, has_come, commit.undoing)

        with self._ringing():
            entry = self._entry(task_id)
            held = entry.token == token
            task = self._release("suspend", task_id, token, commit, wait)
            if held and task.status is Status.WAITING:
                self._listen(entry, tuple(suspension.topics))
                entry.positions = dict(suspension.positions)
            elif held:
                self._to_ring.append(task)
            return task

    def send(self, task_id: str, mail: NewMail) -> tuple[Mail, bool]:
        """See `TaskStore.send`."""
        records.check_mail(mail)
        with self._ringing():
            entry, now = self._entry(task_id), self.now()
            first = lifecycle.answered(entry.task, mail, entry.mail, now)
            if first is not None:
                return first, False
            if len(entry.mail) >= lifecycle.MAX_MAIL:
                raise lifecycle.full(entry.task)
            sent = entry.post(now, mail)
            if lifecycle.listens(entry.task):
                self._queue(entry)
            return sent, True

    def mailbox(self, task_id: str, after: int = 0) -> Sequence[Mail]:
        """See `TaskStore.mailbox`."""
        with self._lock:
            return [mail for mail in self._entry(task_id).mail if mail.id > after]

    def _has_come(self, task_id: str, suspension: Suspension) -> bool:
        newest = max((mail.id for mail in self._entry(task_id).mail), default=0)
        return newest > suspension.mail or self._has_more(suspension)
