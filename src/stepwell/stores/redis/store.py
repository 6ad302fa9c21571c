"""The task store in Redis: every call is one script, and one round trip."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from stepwell import lifecycle
from stepwell.errors import Unavailable
from stepwell.ports import Claim, Commit, Lease, Purged, Receipt, Revision, Suspension
from stepwell.redis_client import RedisClient
from stepwell.stores import records, submission
from stepwell.stores.redis import arguments, forms
from stepwell.stores.redis.reading import RedisReading
from stepwell.stores.redis.scripts import SILENT
from stepwell.task import Crew, Error, Mail, NewMail, NewTask, Status, Task

BATCH = "1000"
"""How many tasks one call of `reap`, `wake` or `queued` answers at most."""

_DEFINITIONS = 1000
"""So many definitions are remembered."""

_UNSURE = 1000
"""So many tokens of calls without a reply are remembered."""


class RedisStore(RedisReading):
    """`TaskStore` in Redis 6.2 or newer.

    All keys begin with `namespace` and a colon. `bell` is Lua that rings for workers within the same scripts.
    `clock` stands in for the server's time. A lease lasts `lease_seconds`. The client is closed with the store.

    A commit whose step records are all stored as they are is a repeat: neither their events nor those that it
    brings are told again. One without step records tells its events each time.
    """

    def __init__(
        self,
        client: RedisClient,
        namespace: str = "stepwell",
        *,
        lease_seconds: float = 10.0,
        bell: str = SILENT,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(client, namespace, lease_seconds, bell, clock)
        self._definitions: dict[str, str] = {}
        self._ahead: float | None = None  # by what the server's time is ahead of the monotonic one
        self._unsure: dict[str, None] = {}

    def create(self, new: NewTask, max_queued: int | None = None) -> tuple[Task, bool]:
        """See `TaskStore.create`."""
        return self.create_many([new], max_queued)[0]

    def create_many(self, new: Sequence[NewTask], max_queued: int | None = None) -> list[tuple[Task, bool]]:
        """See `TaskStore.create_many`."""
        if not new:
            return []
        asked = [records.own(one) for one in new]
        room = "" if max_queued is None else str(max_queued)
        answer = self._run("create", room, *arguments.requests(asked))
        if answer[0] == b"taken":
            lifecycle.same_request(forms.read_task(answer[2]), asked[int(answer[1])])
        if answer[0] == b"full":
            queue, count, waiting = answer[1].decode(), int(answer[2]), int(answer[3])
            submission.check_room({queue: count}, {queue: waiting}, max_queued)
        return [(forms.read_task(task), is_new == b"1") for task, is_new in answer[1]]

    def claim(self, task_id: str, token: str, worker: str) -> Claim | None:
        """See `TaskStore.claim`."""
        return self._claim(token, self._run("claim", task_id, token, worker))

    def take(self, token: str, worker: str, queues: Sequence[str]) -> Claim | None:
        """Claim the next task of these queues that the bell names.

        After an `Unavailable`, which leaves open whether a task was claimed, a repeat with the same token answers it.
        """
        is_repeat = "1" if token in self._unsure else ""
        try:
            claim = self._claim(token, self._run("take", is_repeat, token, worker, str(len(queues)), *queues))
        except Unavailable:  # also of the definition, which is read after the claim
            self._unsure[token] = None
            if len(self._unsure) > _UNSURE:
                del self._unsure[next(iter(self._unsure))]
            raise
        self._unsure.pop(token, None)
        return claim

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        """See `TaskStore.commit`."""
        _, now, cancelled = self._guarded(task_id, "write", task_id, token, *arguments.commit(commit))
        return Receipt(float(now), cancelled == b"1")

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        """See `TaskStore.finish`."""
        ending = arguments.ending(status=status, outputs=outputs, error=error)
        return self._end_claim("finish", task_id, token, ending, commit)

    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> Task:
        """See `TaskStore.back_off`."""
        return self._end_claim("back_off", task_id, token, arguments.ending(pause=pause, error=error), commit)

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        """See `TaskStore.suspend`."""
        return self._end_claim("suspend", task_id, token, arguments.ending(suspension=suspension), commit)

    def release(self, task_id: str, token: str, commit: Commit, pause: float = 0.0) -> Task:
        """See `TaskStore.release`."""
        return self._end_claim("release", task_id, token, arguments.ending(pause=pause), commit)

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        """See `TaskStore.renew`."""
        if not claims:
            return {}
        words = [word for claim in claims.items() for word in claim]
        answers = self._run("renew", str(len(words)), *words)
        return {
            task_id: Lease(held=answer != b"lost", cancelled=answer == b"cancelled")
            for task_id, answer in zip(claims, answers, strict=True)
        }

    def reap(self, grace: bool = False) -> list[Task]:
        """See `TaskStore.reap`. A request that reaches Redis late, because it was held, or whose clock was moved since
        the last one, gives grace: nobody can have renewed meanwhile."""
        asked_at = "" if self._ahead is None else f"{time.monotonic() + self._ahead:.6f}"
        now, lost = self._run("reap", str(int(grace)), BATCH, asked_at)
        if self._clock is None:
            self._ahead = float(now) - time.monotonic()
        return _tasks(lost)

    def lose(self, worker: str, crashed: bool = True) -> list[Task]:
        """See `TaskStore.lose`."""
        return _tasks(self._run("lose", worker, str(int(crashed))))

    def wake(self) -> list[Task]:
        """See `TaskStore.wake`."""
        return _tasks(self._run("wake", BATCH))

    def cancel(self, task_id: str, force: bool = False) -> Task:
        """See `TaskStore.cancel`."""
        return forms.read_task(self._guarded(task_id, "cancel", task_id, str(int(force)))[1])

    def retry(self, task_id: str, reset: Iterable[str], attempt: int, revision: Revision | None = None) -> Task:
        """See `TaskStore.retry`. Records are reset here: a script that reads them would not be sure to end soon."""
        paths = set(reset)
        while True:
            words = [*self._resets(task_id, paths), *self._revision(task_id, revision)]
            answer = self._guarded(task_id, "retry", task_id, str(attempt), *words)
            if answer[0] == b"retried":
                records.same_attempt(forms.read_task(answer[1]), attempt)
            if answer[0] == b"ok":
                return forms.read_task(answer[1])

    def discard(self, task_id: str) -> Task:
        """See `TaskStore.discard`."""
        return forms.read_task(self._guarded(task_id, "discard", task_id)[1])

    def send(self, task_id: str, mail: NewMail) -> tuple[Mail, bool]:
        """See `TaskStore.send`."""
        records.check_mail(mail)
        words = [*arguments.message(mail), str(lifecycle.MAX_MAIL)]
        kind, reply, now, number, message = self._guarded(task_id, "send", task_id, *words)
        if kind == b"refused":
            lifecycle.answered(task := forms.read_task(reply), mail, [], float(now))
            raise lifecycle.full(task)
        found = forms.read_mail(number, message)
        if kind == b"first":
            lifecycle.answered(forms.read_task(reply), mail, [found], float(now))
        return found, kind == b"sent"

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        """See `TaskStore.spawn`."""
        asked = [records.own(child) for child in children]
        words = arguments.requests(asked, self._requests([child.task_id for child in asked if child.attempt > 1]))
        answer = self._guarded(task_id, "spawn", task_id, token, path, *arguments.crew(crew), *words)
        return forms.read_crew(answer[1])

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        """See `TaskStore.cancel_children`."""
        while True:
            _, found, more = self._guarded(task_id, "cancel_children", task_id, path or "", BATCH)
            if found or more == b"0":
                return sorted(map(forms.read_task, found), key=records.place_of)

    def due_in(self) -> float | None:
        """See `TaskStore.due_in`."""
        answer = self._run("due_in")
        return None if answer is None else float(answer)

    def queued(self, older_than: float, line: tuple[str, int] | None = None) -> list[Task]:
        """See `TaskStore.queued`."""
        queue, priority = line or ("", "")
        return _tasks(self._run("queued", str(older_than), BATCH, queue, str(priority)))

    def purge(self, older_than: float, limit: int = 1000) -> Purged:
        """See `TaskStore.purge`."""
        self._forget_publications(older_than)
        tasks, files = self._run("purge", str(older_than), str(limit))
        return Purged(tasks, sorted(sha256.decode() for sha256 in files))

    def rings_with(self, ring: Callable[[Task], None]) -> None:
        """See `TaskStore.rings_with`: the scripts ring by themselves."""

    def _end_claim(self, how: str, task_id: str, token: str, ending: Sequence[str], commit: Commit) -> Task:
        words = [how, task_id, token, *ending, *arguments.commit(commit)]
        return forms.read_task(self._guarded(task_id, "end_claim", *words)[1])

    def _claim(self, token: str, answer: Any) -> Claim | None:
        if answer[0] == b"none":
            return None
        _, reply, claimed_at, steps, mail = answer
        task, found = forms.read_task(reply), forms.read_steps(steps)
        return Claim(task, token, self._known(task.definition), found, float(claimed_at), forms.read_mailbox(mail))

    def _known(self, definition: str) -> str:
        """A definition; what a hash stands for never changes, so that each is fetched once."""
        text = self._definitions.get(definition)
        if text is None:
            text = self.definition(definition)
            if len(self._definitions) >= _DEFINITIONS:
                self._definitions.clear()
            self._definitions[definition] = text
        return text

    def _resets(self, task_id: str, paths: Set[str]) -> Sequence[str]:
        """Path, record as it is, and record as it is to be, of each of these paths that has one; then their mail."""
        if not paths:
            return ["0", "", "0"]
        found = [word.decode() for word in self._guarded(task_id, "steps", task_id, "", "")[1]]
        words: list[str] = []
        for path, text in zip(found[::2], found[1::2], strict=True):
            if path in paths:
                words += (path, text, forms.write_step(lifecycle.reset(forms.read_step(path, text))))
        return [str(len(words)), *words, *arguments.forgotten(self.mailbox(task_id), paths)]

    def _requests(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """The requests of those of these tasks that are there."""
        found = self._run("requests", str(len(task_ids)), *task_ids) if task_ids else []
        return {task_id: request for task_id, request in zip(task_ids, found, strict=True) if request}

    def _revision(self, task_id: str, revision: Revision | None) -> Sequence[str]:
        if revision is None:
            return arguments.revision(None, b"", "")
        request = self._client.do("LINDEX", self._key("task", task_id), "0") or b"{}"
        return arguments.revision(revision, request, self.get(task_id).definition)


def _tasks(replies: Sequence[Sequence[bytes]]) -> list[Task]:
    return [forms.read_task(reply) for reply in replies]
