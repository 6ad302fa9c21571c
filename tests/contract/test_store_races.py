"""Callers at the same time: whatever they are told is true together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest
from tests.contract.building import NOTHING, at_once, new, running

from stepwell.errors import Conflict
from stepwell.ports import TaskStore
from stepwell.task import Status, Task

T = TypeVar("T")
RACES = 1000


@pytest.fixture
def store(make_store: Callable[..., TaskStore]) -> TaskStore:
    """A store with its own time."""
    return make_store(None)


def test_what_is_acknowledged_as_cancelled_is_never_claimed(store: TaskStore) -> None:
    ids = [f"t{number:04}" for number in range(RACES)]
    store.create_many([new(id_) for id_ in ids])
    begin = threading.Barrier(2, timeout=30)

    def each(call: Callable[[str], T]) -> list[T]:
        answers = []
        for id_ in ids:
            begin.wait()
            answers.append(call(id_))
        return answers

    with ThreadPoolExecutor(2) as threads:
        claims = threads.submit(each, lambda id_: store.claim(id_, "A", "w"))
        cancelled = threads.submit(each, lambda id_: _cancel(store, id_))
    for id_, claim, cancel in zip(ids, claims.result(), cancelled.result(), strict=True):
        assert (claim is None) != (cancel is None)
        assert store.get(id_).status is (Status.CANCELLED if claim is None else Status.RUNNING)


def test_cancel_against_finish_has_one_end(store: TaskStore) -> None:
    for number in range(20):
        id_ = f"t{number}"
        running(store, id_)
        at_once(
            [
                partial(store.cancel, id_, force=True),
                partial(store.finish, id_, "A", NOTHING, Status.COMPLETED, None, None),
            ]
        )
        assert store.get(id_).status is Status.COMPLETED


def test_one_hundred_creates_with_one_key_make_one_task(store: TaskStore) -> None:
    answers = at_once(partial(store.create, new(f"t{number}", idempotency_key="k")) for number in range(100))
    created = [answer for answer in answers if isinstance(answer, tuple)]
    assert len(created) == 100
    assert len({task.task_id for task, _ in created}) == 1
    assert sum(is_new for _, is_new in created) == 1
    assert store.counts()["line"]["queued"] == 1


def test_batches_that_share_keys_make_each_task_once(store: TaskStore) -> None:
    keys = [str(number) for number in range(20)]
    batches = [
        [new(f"b{batch}-{key}", idempotency_key=key) for key in (keys if batch % 2 else keys[::-1])]
        for batch in range(8)
    ]
    answers = at_once(partial(store.create_many, batch) for batch in batches)
    created = [one for answer in answers if isinstance(answer, list) for one in answer]
    assert len(created) == 8 * 20
    assert sum(is_new for _, is_new in created) == 20
    assert len({task.task_id for task, _ in created}) == 20
    assert store.counts()["line"]["queued"] == 20


def test_every_lost_or_waking_task_is_answered_to_one(store: TaskStore) -> None:
    ids = [f"t{number:03}" for number in range(100)]
    store.create_many([new(id_) for id_ in ids])
    for id_ in ids:
        assert store.claim(id_, "A", "host:1")
    assert _ids(at_once([partial(store.lose, "host:1")] * 4)) == ids
    for id_ in ids:
        store.claim(id_, "B", "host:2")
        store.suspend(id_, "B", NOTHING, 0, None)
    assert _ids(at_once([store.wake] * 4)) == ids
    assert store.counts()["line"]["queued"] == 100


def _ids(answers: Sequence[list[Task] | Exception]) -> list[str]:
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    return sorted(task.task_id for answer in answers if isinstance(answer, list) for task in answer)


def _cancel(store: TaskStore, task_id: str) -> Task | None:
    try:
        return store.cancel(task_id)
    except Conflict:
        return None
