"""Creating tasks: what they are then, keys and bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.contract.building import at_once, bring, ended, kinds, new, running

from stepwell.errors import Conflict, InvalidInput, NotFound, QueueFull
from stepwell.ports import TaskFilter, TaskStore
from stepwell.task import Status, Task
from stepwell.values import APART_SIZE, encode

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestCreate:
    def test_a_new_task_is_queued(self, store: TaskStore, clock: Clock) -> None:
        asked = new(
            external_id="x-1", idempotency_key="k", fingerprint="f", labels={"b": "2", "a": "1"},
            trigger={"kind": "api"}, undo=True,
        )  # fmt: skip
        task, is_new = store.create(asked)
        assert is_new
        assert task == store.get("t1")
        assert task == Task(
            "t1", "orders", "hash-1", Status.QUEUED, "line", 1, '{"a":1}', clock(), clock(), 60, 3, undo=True,
            external_id="x-1", idempotency_key="k", fingerprint="f", labels={"b": "2", "a": "1"},
            trigger={"kind": "api"},
        )  # fmt: skip
        assert store.definition("hash-1") == "steps: []"
        assert kinds(store) == ["task.created", "task.queued"]

    @pytest.mark.parametrize(("delay", "after", "due"), [(5, None, 5), (0, 7, 7), (5, 2, 5)])
    def test_a_delayed_one_is_pending(
        self, store: TaskStore, clock: Clock, delay: float, after: float | None, due: float
    ) -> None:
        task, _ = store.create(new(delay=delay, run_at=None if after is None else clock() + after))
        assert (task.status, task.wake_at) == (Status.PENDING, clock() + due)
        assert task == store.get("t1")
        assert kinds(store) == ["task.created"]
        assert store.claim("t1", "A", "w") is None

    def test_a_time_that_has_passed_delays_nothing(self, store: TaskStore, clock: Clock) -> None:
        task, _ = store.create(new(run_at=clock() - 100))
        assert (task.status, task.wake_at) == (Status.QUEUED, None)

    def test_the_same_id_again_answers_the_first_task(self, store: TaskStore) -> None:
        first, _ = store.create(new())
        assert store.create(new(variables="{}")) == (first, False)
        assert kinds(store) == ["task.created", "task.queued"]

    def test_the_same_key_again_answers_the_first_task(self, store: TaskStore) -> None:
        first, _ = store.create(new(idempotency_key="k", fingerprint="f"))
        again = new("t2", idempotency_key="k", fingerprint="f", definition="hash-2", variables="{}")
        assert store.create(again) == (first, False)
        with pytest.raises(NotFound):
            store.get("t2")
        with pytest.raises(NotFound):
            store.definition("hash-2")

    @pytest.mark.parametrize("fingerprint", ["other", None])
    def test_the_same_key_with_another_fingerprint_is_a_conflict(
        self, store: TaskStore, fingerprint: str | None
    ) -> None:
        store.create(new(idempotency_key="k", fingerprint="f"))
        with pytest.raises(Conflict, match="'k'"):
            store.create(new("t2", idempotency_key="k", fingerprint=fingerprint, definition="hash-2"))
        with pytest.raises(NotFound):
            store.definition("hash-2")

    def test_a_key_lives_as_long_as_its_record(self, store: TaskStore, clock: Clock) -> None:
        first = ended(store, "t1", idempotency_key="k", fingerprint="f")
        clock.advance(1_000_000)
        assert store.create(new("t2", idempotency_key="k", fingerprint="f")) == (first, False)
        with pytest.raises(Conflict):
            store.create(new("t2", idempotency_key="k", fingerprint="other"))
        assert store.purge(60).tasks == 1
        task, is_new = store.create(new("t2", idempotency_key="k", fingerprint="other"))
        assert (task.task_id, is_new) == ("t2", True)

    @pytest.mark.parametrize("text", ["a\0b", "\ud800"])
    @pytest.mark.parametrize("name", ["external_id", "idempotency_key", "queue"])
    def test_what_is_no_text_is_refused(self, store: TaskStore, name: str, text: str) -> None:
        with pytest.raises(InvalidInput, match=name):
            store.create(new(**{name: text}))
        with pytest.raises(InvalidInput, match="labels"):
            store.create(new(labels={"a": text}))

    def test_nobody_shares_what_the_store_keeps(self, store: TaskStore) -> None:
        labels = {"a": "1"}
        store.create(new(labels=labels))
        labels["a"] = "2"
        assert store.get("t1").labels == {"a": "1"}


class TestCreateMany:
    def test_each_is_as_if_it_were_created_alone(self, store: TaskStore, clock: Clock) -> None:
        store.create(new("t0", idempotency_key="k", fingerprint="f"))
        large = encode("x" * APART_SIZE)
        asked = [
            new("t1", queue="fast", labels={"a": "1"}, files=("upload",), variables=large),
            new("t2", delay=5, definition="hash-2", definition_text="steps: [{}]"),
            new("t3", idempotency_key="k", fingerprint="f"),
        ]
        answers = store.create_many(asked)
        assert [(task.task_id, is_new) for task, is_new in answers] == [("t1", True), ("t2", True), ("t0", False)]
        assert [task for task, _ in answers] == [store.get("t1"), store.get("t2"), store.get("t0")]
        assert [task.status for task, _ in answers] == [Status.QUEUED, Status.PENDING, Status.QUEUED]
        assert store.value("t1", "variables") == large
        assert store.definition("hash-2") == "steps: [{}]"
        assert store.unused(["upload"]) == []
        assert [task.task_id for task in store.list(TaskFilter(labels={"a": "1"})).items] == ["t1"]
        assert [kinds(store, "t1"), kinds(store, "t2")] == [["task.created", "task.queued"], ["task.created"]]
        assert (store.counts()["fast"]["queued"], store.counts()["line"]["pending"]) == (1, 1)

    def test_one_may_repeat_one_before_it(self, store: TaskStore) -> None:
        asked = [new("t1", idempotency_key="k"), new("t2", idempotency_key="k"), new("t1")]
        assert [(task.task_id, is_new) for task, is_new in store.create_many(asked)] == [
            ("t1", True),
            ("t1", False),
            ("t1", False),
        ]
        assert store.counts()["line"]["created_total"] == 1

    def test_the_same_again_answers_the_first_tasks(self, store: TaskStore) -> None:
        asked = [new(f"t{number}") for number in range(3)]
        first = store.create_many(asked)
        assert store.create_many(asked) == [(task, False) for task, _ in first]

    def test_nothing_is_created_if_one_is_refused(self, store: TaskStore) -> None:
        store.create(new("t0", idempotency_key="k", fingerprint="f"))
        before = store.counts()
        refused = {
            Conflict: [new("t1"), new("t2", idempotency_key="k", fingerprint="other")],
            InvalidInput: [new("t1"), new("t2", external_id="a\0b")],
        }
        for error, asked in refused.items():
            with pytest.raises(error):
                store.create_many(asked)
        with pytest.raises(Conflict):
            store.create_many(
                [new("t1", idempotency_key="l", fingerprint="f"), new("t2", idempotency_key="l", fingerprint="g")]
            )
        assert [task.task_id for task in store.list(TaskFilter()).items] == ["t0"]
        assert store.counts() == before

    def test_none_at_all(self, store: TaskStore) -> None:
        assert store.create_many([]) == []
        assert store.create_many([], max_queued=0) == []

    def test_a_thousand(self, store: TaskStore) -> None:
        answers = store.create_many([new(f"t{number:04}", idempotency_key=str(number)) for number in range(1000)])
        assert all(is_new for _, is_new in answers)
        assert store.counts()["line"]["queued"] == 1000
        assert [task.task_id for task in store.queued(0)] == [task.task_id for task, _ in answers]


class TestBound:
    def test_a_queue_that_is_full_takes_no_more(self, store: TaskStore) -> None:
        store.create(new("t1"), max_queued=2)
        store.create(new("t2", delay=5), max_queued=2)
        with pytest.raises(QueueFull, match="line") as caught:
            store.create(new("t3", labels={"a": "1"}), max_queued=2)
        assert caught.value.retry_after > 0
        with pytest.raises(NotFound):
            store.get("t3")
        assert store.create(new("t3", queue="other"), max_queued=2)[1]
        assert store.create(new("t4"), max_queued=3)[1]
        assert store.create(new("t5"))[1]

    def test_what_runs_waits_for_a_retry_or_has_ended_takes_no_room(self, store: TaskStore) -> None:
        running(store, "t1")
        bring(store, Status.WAITING, "t2")
        ended(store, "t3")
        assert store.create(new("t4"), max_queued=1)[1]

    def test_what_is_there_already_needs_no_room(self, store: TaskStore) -> None:
        first, _ = store.create(new("t1", idempotency_key="k"), max_queued=1)
        assert store.create(new("t1"), max_queued=1) == (first, False)
        assert store.create(new("t2", idempotency_key="k"), max_queued=0) == (first, False)
        with pytest.raises(QueueFull):
            store.create(new("t2"), max_queued=1)

    def test_many_fit_together_or_not_at_all(self, store: TaskStore) -> None:
        asked = [new("t1"), new("t2", delay=5), new("t3", queue="other")]
        with pytest.raises(QueueFull, match="line"):
            store.create_many(asked, max_queued=1)
        assert store.list(TaskFilter()).items == []
        assert len(store.create_many(asked, max_queued=2)) == 3
        with pytest.raises(QueueFull, match="other"):
            store.create_many([new("t4", queue="other"), new("t5", queue="other")], max_queued=2)

    def test_those_who_come_at_once_do_not_overstep_it(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)

        def create(number: int) -> bool:
            try:
                return store.create(new(f"t{number}"), max_queued=10)[1]
            except QueueFull:
                return False

        answers = at_once(partial(create, number) for number in range(30))
        assert answers.count(True) == 10
        assert store.counts()["line"]["queued"] == 10
