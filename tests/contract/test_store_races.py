"""Callers at the same time: whatever they are told is true together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest
from tests.contract.building import NOTHING, at_once, child, crew_of, finish, new, running

from stepwell.errors import Conflict
from stepwell.ports import Suspension, TaskFilter, TaskStore
from stepwell.task import NewMail, Status, Task

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
        store.back_off(id_, "B", NOTHING, 0, None)
    assert _ids(at_once([store.wake] * 4)) == ids
    assert store.counts()["line"]["queued"] == 100


def test_of_two_answers_at_once_one_stands(store: TaskStore) -> None:
    for number in range(20):
        id_ = f"t{number}"
        running(store, id_)
        store.suspend(id_, "A", NOTHING, Suspension())
        mail = [NewMail("approve", str(answer), sender="ann", once=True) for answer in range(4)]
        answers = at_once(partial(store.send, id_, one) for one in mail)
        [sent] = [answer for answer in answers if isinstance(answer, tuple)]
        assert list(store.mailbox(id_)) == [sent[0]]
        assert sum(isinstance(answer, Conflict) for answer in answers) == 3
        assert store.get(id_).status is Status.QUEUED


def test_one_message_that_is_sent_often_at_once_is_one(store: TaskStore) -> None:
    running(store)
    answers = at_once(partial(store.send, "t1", NewMail("order", "1", key="k")) for _ in range(8))
    assert len(store.mailbox("t1")) == 1
    assert sum(isinstance(answer, tuple) and answer[1] for answer in answers) == 1


def test_mail_has_numbers_of_its_own(store: TaskStore) -> None:
    running(store)
    at_once(partial(store.send, "t1", NewMail("order", str(number))) for number in range(16))
    assert [mail.id for mail in store.mailbox("t1")] == list(range(1, 17))


def test_what_is_sent_while_a_task_suspends_is_not_lost(store: TaskStore) -> None:
    for number in range(30):
        id_ = f"t{number}"
        running(store, id_)
        calls: list[Callable[[], object]] = [
            partial(store.suspend, id_, "A", NOTHING, Suspension()),
            partial(store.send, id_, NewMail("order", "1")),
        ]
        at_once(calls)
        assert store.get(id_).status is Status.QUEUED


def test_what_is_published_while_a_task_suspends_is_not_lost(store: TaskStore) -> None:
    def tell() -> None:
        store.rouse(store.publish("paid", "1", ["paid"])[0])

    for number in range(30):
        id_ = f"t{number}"
        running(store, id_)
        suspension = Suspension(topics=["paid"], positions={"paid": store.published("paid", limit=1000).position})
        calls: list[Callable[[], object]] = [partial(store.suspend, id_, "A", NOTHING, suspension), tell]
        at_once(calls)
        assert store.get(id_).status is Status.QUEUED


def test_each_publication_is_given_to_one(store: TaskStore) -> None:
    made = [store.publish("paid", str(number), ["paid"])[0] for number in range(40)]
    answers = at_once(partial(store.undelivered, "waits", f"c{number}", 5) for number in range(8))
    given = [one for answer in answers if isinstance(answer, Sequence) for one in answer]
    given += store.undelivered("waits", "last")
    assert sorted(given, key=lambda one: one.payload) == sorted(made, key=lambda one: one.payload)


def test_a_key_publishes_once(store: TaskStore) -> None:
    answers = at_once(partial(store.publish, "paid", str(number), ["paid"], "k") for number in range(8))
    assert len(store.published("paid").items) == 1
    assert sum(isinstance(answer, tuple) and answer[1] for answer in answers) == 1


def test_of_the_last_children_that_end_at_once_one_tells_the_parent(store: TaskStore) -> None:
    for number in range(10):
        id_ = f"t{number}"
        running(store, id_)
        children = [child(index, f"{id_}-each", ancestors=(id_,)) for index in range(4)]
        store.spawn(id_, "A", f"{id_}-each", crew_of(4, allowed=4), children)
        store.suspend(id_, "A", NOTHING, Suspension())
        for one in children:
            store.claim(one.task_id, "A", "host:2")
        ends: list[Callable[[], Task]] = [
            partial(store.finish, one.task_id, "A", NOTHING, Status.COMPLETED, None, None) for one in children[:3]
        ]
        ends.append(partial(store.finish, children[3].task_id, "A", NOTHING, Status.FAILED, None, None))
        at_once(ends)
        crew = store.crew(id_, f"{id_}-each")
        assert (crew.active, crew.completed, crew.failed, crew.over) == (0, 3, 1, True)
        assert [mail.payload for mail in store.mailbox(id_)] == ["1"]
        assert store.get(id_).status is Status.QUEUED


def test_places_are_given_once(store: TaskStore) -> None:
    running(store)
    children = [child(index) for index in range(40)]
    store.spawn("t1", "A", "each", crew_of(40, at_once=4), children)
    queued = TaskFilter(parent="t1", status=Status.QUEUED)
    for _ in range(10):
        found = [task.task_id for task in store.list(queued).items]
        assert len(found) == 4
        at_once(partial(finish, store, id_) for id_ in found)
    assert store.crew("t1", "each").over
    assert [task.status for task in store.list(TaskFilter(parent="t1")).items] == [Status.COMPLETED] * 40
    assert len(store.mailbox("t1")) == 1


def test_children_that_end_while_they_are_cancelled(store: TaskStore) -> None:
    for number in range(10):
        id_ = f"t{number}"
        running(store, id_)
        children = [child(index, f"{id_}-each", ancestors=(id_,)) for index in range(6)]
        store.spawn(id_, "A", f"{id_}-each", crew_of(6, at_once=3), children)
        for one in children[:3]:
            store.claim(one.task_id, "A", "host:2")
        calls: list[Callable[[], object]] = [
            partial(store.finish, one.task_id, "A", NOTHING, Status.COMPLETED, None, None) for one in children[:3]
        ]
        calls.append(partial(store.cancel_children, id_))
        at_once(calls)
        crew = store.crew(id_, f"{id_}-each")
        assert (crew.active, crew.closed, crew.over) == (0, True, True)
        store.cancel_children(id_)
        assert store.list(TaskFilter(parent=id_, status=Status.QUEUED)).items == []
        assert [mail.payload for mail in store.mailbox(id_)] == ["1"]


def _ids(answers: Sequence[list[Task] | Exception]) -> list[str]:
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    return sorted(task.task_id for answer in answers if isinstance(answer, list) for task in answer)


def _cancel(store: TaskStore, task_id: str) -> Task | None:
    try:
        return store.cancel(task_id)
    except Conflict:
        return None
