"""The service over a store that fails: rooms are given back, and a create whose reply was lost is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue

import httpx
import pytest
from fastapi import FastAPI

from stepwell.api.problems import answer_problems
from stepwell.errors import Conflict, NotFound, QueueFull, StepwellError, Unavailable
from stepwell.loader import Catalog, Definition
from stepwell.ports import Commit, Revision, TaskFilter
from stepwell.queues.inline import InlineQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Submission
from stepwell.stores.memory import MemoryStore
from stepwell.task import NewTask, Status, Task

PATIENCE = 20.0
SIZE = 3
"""How many tasks there is room for, one of which runs."""


class Failing(MemoryStore):
    """A memory store whose calls raise what `before` and `after` hold next: without effect, or with the reply lost."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.created: list[str] = []

    def create_many(self, new: Sequence[NewTask], max_queued: int | None = None) -> list[tuple[Task, bool]]:
        self.created.append(new[0].task_id)
        _raise_next(self.before)
        answer = super().create_many(new, max_queued)
        _raise_next(self.after)
        return answer

    def retry(self, task_id: str, reset: Iterable[str], attempt: int, revision: Revision | None = None) -> Task:
        _raise_next(self.before)
        return super().retry(task_id, reset, attempt, revision)


def _raise_next(errors: list[Exception | None]) -> None:
    if errors and (error := errors.pop(0)) is not None:
        raise error


class Parts:
    """A service over a failing store, with a pool that only notes what it was to run."""

    def __init__(self, folder: Path) -> None:
        (folder / "w.yaml").write_text("steps: [{id: a, output: 1}]\n", encoding="utf-8")
        self.store, self.ran = Failing(), SimpleQueue[str]()
        self.pool = InlineQueue(self._run, 1, SIZE - 1)
        self.pauses: list[float] = []
        catalog = Catalog(folder, registry=actions)
        self.definition: Definition = catalog.get("w")
        self.service = Service(
            self.store, self.pool, self.pool, catalog, Cipher(None), Defaults(), sleep=self.pauses.append
        )

    def _run(self, task_id: str, done: Callable[[Task | None], None]) -> None:
        self.ran.put(task_id)
        done(None)

    def submit(self, submission: Submission | None = None) -> Task:
        return self.service.submit(self.definition, submission or Submission())

    def ended(self) -> Task:
        """A task that has failed."""
        task = self.submit()
        assert self.ran.get(timeout=PATIENCE) == task.task_id
        self.store.claim(task.task_id, "token", "test")
        return self.store.finish(task.task_id, "token", Commit(), Status.FAILED, None, None)

    def all_rooms_are_free(self) -> bool:
        """Whether nothing is reserved, and nothing was given back twice; only for a pool that has nothing to do."""
        return self._has_room(SIZE) and not self._has_room(SIZE + 1)

    def _has_room(self, count: int) -> bool:
        try:
            with self.pool.room(count):
                return True
        except QueueFull:
            return False


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(tmp_path)
    yield parts
    parts.pool.close()


AWAY = Unavailable("the database is away", retry_after=7)
ERRORS = [AWAY, Conflict("no"), NotFound("task", "no"), ValueError("a bug")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_retry_that_fails_gives_its_room_back(parts: Parts, error: Exception) -> None:
    task = parts.ended()
    for _ in range(SIZE + 1):
        parts.store.before = [error]
        with pytest.raises(type(error)):
            parts.service.retry(task.task_id)
    assert parts.service.retry(task.task_id).status is Status.QUEUED
    assert parts.ran.get(timeout=PATIENCE) == task.task_id


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_create_that_fails_gives_its_room_back(parts: Parts, error: Exception) -> None:
    parts.store.before = [error] * 6
    with pytest.raises(type(error)):
        parts.service.submit_many(parts.definition, [Submission()] * SIZE)
    assert parts.ran.empty()
    assert parts.all_rooms_are_free()


def test_a_bell_that_breaks_gives_every_room_back(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as low:
        low.setattr(parts.pool, "_take", broken)
        with pytest.raises(MemoryError):
            parts.service.submit_many(parts.definition, [Submission()] * SIZE)
    assert parts.all_rooms_are_free()


def test_a_task_that_starts_later_keeps_no_room(parts: Parts) -> None:
    for _ in range(SIZE + 1):
        assert parts.submit(Submission(delay="1h")).status is Status.PENDING
    assert parts.all_rooms_are_free()


@pytest.mark.parametrize("lost", [1, 3])
def test_a_create_whose_reply_was_lost_is_repeated_and_makes_one_task(parts: Parts, lost: int) -> None:
    parts.store.after = [AWAY] * lost
    task = parts.submit()
    assert parts.store.created == [task.task_id] * (lost + 1)
    assert parts.ran.get(timeout=PATIENCE) == task.task_id
    assert [one.task_id for one in parts.service.tasks(TaskFilter()).items] == [task.task_id]


def test_a_create_that_stays_unknown_tells_the_id_of_the_task(parts: Parts) -> None:
    parts.store.before = [AWAY] * 100
    with pytest.raises(Unavailable, match="the database is away") as caught:
        parts.submit()
    (task_id,) = set(parts.store.created)
    assert caught.value.task_id == task_id
    assert task_id in str(caught.value)
    assert caught.value.retry_after == 7
    assert len(parts.store.created) > 2
    assert sum(parts.pauses) <= 2


def test_the_problem_document_names_the_task_that_may_be_there() -> None:
    app = FastAPI()
    answer_problems(app)

    @app.get("/")
    def create(name: str | None = None) -> None:
        raise Unavailable("away", task_id=name)

    async def ask(url: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://stepwell") as client:
            return await client.get(url)

    answer = asyncio.run(ask("/?name=t1"))
    assert (answer.status_code, answer.json()["task_id"]) == (503, "t1")
    assert "task_id" not in asyncio.run(ask("/")).json()


def test_an_error_that_is_known_is_not_repeated(parts: Parts) -> None:
    parts.store.before = [Conflict("no")]
    with pytest.raises(StepwellError):
        parts.submit()
    assert len(parts.store.created) == 1


def test_a_key_that_was_used_before_rings_for_nothing(parts: Parts) -> None:
    first = parts.submit(Submission(idempotency_key="k"))
    assert parts.ran.get(timeout=PATIENCE) == first.task_id
    for _ in range(SIZE + 1):
        parts.store.after = [AWAY]
        assert parts.submit(Submission(idempotency_key="k")).task_id == first.task_id
    other = parts.submit()
    assert parts.ran.get(timeout=PATIENCE) == other.task_id
