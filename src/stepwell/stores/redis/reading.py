"""What is read of tasks in Redis without changing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stepwell.errors import ClaimLost, Conflict, NotFound
from stepwell.ports import TaskFilter
from stepwell.stores import records
from stepwell.stores.redis import arguments, forms
from stepwell.stores.redis.publications import RedisPublications
from stepwell.task import Crew, Event, Mail, Page, StepRecord, Task

_FIRST_EVENT = 2
"""Before its events the list of a task holds its request and its state."""


class RedisReading(RedisPublications):
    """The part of `RedisStore` that reads tasks."""

    def get(self, task_id: str) -> Task:
        """See `TaskStore.get`."""
        found = self._client.do("LRANGE", self._key("task", task_id), "0", "1")
        if not found:
            raise NotFound("task", task_id)
        return forms.read_task([task_id.encode(), *found])

    def list(self, only: TaskFilter, limit: int = 50, cursor: str | None = None) -> Page[Task]:
        """See `TaskStore.list`."""
        if only.parent is not None:
            return self._children(only, limit, cursor)
        if only.place is not None:
            return Page([])
        before = "" if cursor is None else records.decode_cursor(cursor, 1)[0]
        found: list[Task] = []
        while True:
            words = arguments.filter_words(only, before, limit + 1 - len(found), self._namespace)
            last, tasks = self._run("list", *words)
            found += map(forms.read_task, tasks)
            if len(found) > limit:
                return Page(found[:limit], records.encode_cursor(found[limit - 1].task_id))
            if not last:
                return Page(found)
            before = last.decode()

    def step(self, task_id: str, path: str) -> StepRecord:
        """See `TaskStore.step`."""
        text = self._guarded(task_id, "step", task_id, path)[1]
        if text is None:
            raise NotFound("step", path)
        return forms.read_step(path, text.decode())

    def steps(self, task_id: str, limit: int | None = None, cursor: str | None = None) -> Page[StepRecord]:
        """See `TaskStore.steps`."""
        position, path = ("", "") if cursor is None else records.decode_cursor(cursor, 2)
        after = "" if cursor is None else f"{position}\0{path}"
        wanted = "" if limit is None else str(limit + 1)
        found = forms.read_steps(self._guarded(task_id, "steps", task_id, after, wanted)[1])
        rest = [record for record in found if cursor is None or (record.position, record.path) > (position, path)]
        if limit is None or len(rest) <= limit:
            return Page(rest)
        return Page(rest[:limit], records.encode_cursor(rest[limit - 1].position, rest[limit - 1].path))

    def events(self, task_id: str, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        """See `TaskStore.events`."""
        after = max(0, after)
        first = _FIRST_EVENT + after
        found = self._client.do("LRANGE", self._key("task", task_id), str(first), str(first + limit - 1))
        if not found:
            self.get(task_id)
        return [forms.read_event(task_id, after + number, text) for number, text in enumerate(found, 1)]

    def mailbox(self, task_id: str, after: int = 0) -> Sequence[Mail]:
        """See `TaskStore.mailbox`."""
        after = max(0, after)
        found = self._client.do("LRANGE", self._key("mail", task_id), str(after), "-1")
        if not found:
            self.get(task_id)
        return forms.read_mailbox(found, after)

    def crew(self, task_id: str, path: str) -> Crew:
        """See `TaskStore.crew`."""
        answer = self._guarded(task_id, "crew", task_id, path)
        if answer[0] == b"none":
            raise NotFound("crew", path)
        return forms.read_crew(answer[1])

    def value(self, task_id: str, key: str) -> str:
        """See `TaskStore.value`."""
        found = self._client.do("HGET", self._key("values", task_id), key)
        if found is None:
            self.get(task_id)
            raise NotFound("value", key)
        return str(found.decode())

    def definition(self, definition: str) -> str:
        """See `TaskStore.definition`."""
        found = self._client.do("HGET", self._key("definitions"), definition)
        if found is None:
            raise NotFound("definition", definition)
        return str(found.decode())

    def unused(self, sha256s: Iterable[str]) -> Sequence[str]:
        """See `TaskStore.unused`."""
        wanted = list(sha256s)
        if not wanted:
            return []
        uses = self._client.do("HMGET", self._key("files"), *wanted)
        return [sha256 for sha256, count in zip(wanted, uses, strict=True) if count is None]

    def _guarded(self, task_id: str, operation: str, *args: str) -> Any:
        answer = self._run(operation, *args)
        if answer[0] == b"missing":
            raise NotFound("task", task_id)
        if answer[0] == b"lost":
            raise ClaimLost(f"another worker holds task {task_id} now, or none")
        if answer[0] == b"conflict":
            raise Conflict(answer[1].decode(), status=answer[2].decode())
        return answer

    def _children(self, only: TaskFilter, limit: int, cursor: str | None) -> Page[Task]:
        """As `list`. Scripts choose children by their state; who asks for something else looks at all of them."""
        after = "" if cursor is None else arguments.child_member(*records.decode_place(cursor))
        found: list[Task] = []
        while True:
            last, tasks = self._run("children", *arguments.child_words(only, after, limit + 1))
            found += (task for task in map(forms.read_task, tasks) if _matches(task, only))
            if len(found) > limit:
                return Page(found[:limit], records.encode_place(found[limit - 1]))
            if not last:
                return Page(found)
            after = last.decode()


def _matches(task: Task, only: TaskFilter) -> bool:
    return (
        (only.workflow_id is None or task.workflow_id == only.workflow_id)
        and (only.queue is None or task.queue == only.queue)
        and (only.external_id is None or task.external_id == only.external_id)
        and (only.dead is None or task.dead is only.dead)
        and only.labels.items() <= task.labels.items()
    )
