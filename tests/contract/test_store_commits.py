"""Commits, and the values that are stored apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.contract.building import ERROR, NOTHING, at_once, kinds, running, step

from stepwell.errors import ClaimLost, NotFound
from stepwell.ports import Commit, TaskStore
from stepwell.task import Apart, Attempt, NewEvent, Status, StepStatus
from stepwell.values import APART_SIZE, encode

if TYPE_CHECKING:
    from tests.contract.conftest import Clock


class TestCommit:
    def test_records_come_back_as_they_were(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        attempts = (Attempt(1, 1.25, "host:1", 2.5, ERROR), Attempt(2, 3.0, "host:1"))
        full = step(
            started_at=1.25, completed_at=2.5, inputs='{"a":"\\u0000"}', output='{"é":"\U0001f600"}', error=ERROR,
            tolerated=True, failures=({"index": 0, "item": None, "error": {"code": "x"}},),
            files={"a/b.txt": {"size": 1, "sha256": "ab"}}, history=attempts,
        )  # fmt: skip
        receipt = store.commit("t1", "A", Commit(steps=[full, step("plain", StepStatus.RUNNING)]))
        assert (receipt.now, receipt.cancelled) == (clock(), False)
        assert list(store.steps("t1").items) == [full, step("plain", StepStatus.RUNNING)]
        claim = store.claim("t1", "A", "host:1")
        assert claim is not None
        assert list(claim.steps) == list(store.steps("t1").items)

    def test_a_record_replaces_the_one_of_its_path(self, store: TaskStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(steps=[step(status=StepStatus.RUNNING)]))
        store.commit("t1", "A", Commit(steps=[step(output="1")]))
        assert list(store.steps("t1").items) == [step(output="1")]

    def test_of_two_records_of_one_path_the_last_counts(self, store: TaskStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(steps=[step(status=StepStatus.RUNNING), step(output="1")]))
        assert list(store.steps("t1").items) == [step(output="1")]
        assert kinds(store)[3:] == ["step.completed"]

    def test_each_record_tells_its_event(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        failed = step("b", StepStatus.FAILED, error=ERROR, attempts=2)
        told = NewEvent("log", "b", {"line": "\0\ud800", "rows": [1, None]})
        store.commit("t1", "A", Commit(steps=[step("a", StepStatus.RUNNING), failed], events=[told]))
        events = store.events("t1")[3:]
        assert [(event.kind, event.path) for event in events] == [
            ("step.started", "a"),
            ("step.failed", "b"),
            ("log", "b"),
        ]
        assert events[0].data == {"attempt": 1}
        assert events[1].data == {"attempt": 2, "code": "step_failed", "message": "no disk"}
        assert events[2].data == told.data
        assert {event.at for event in events} == {clock()}
        assert [event.id for event in events] == sorted({event.id for event in events})

    def test_a_repeat_tells_nothing_again(self, store: TaskStore) -> None:
        running(store)
        commit = Commit(steps=[step("a"), step("b", StepStatus.RUNNING)], events=[NewEvent("log")])
        first = store.commit("t1", "A", commit)
        before = kinds(store)
        assert store.commit("t1", "A", commit) == first
        assert kinds(store) == before
        store.commit("t1", "A", Commit(steps=[step("a"), step("b")]))
        assert kinds(store) == [*before, "step.completed"]

    def test_progress_replaces_the_one_before(self, store: TaskStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(progress={"percent": 10, "stage": "a"}))
        store.commit("t1", "A", Commit(progress={"percent": 20}))
        store.commit("t1", "A", NOTHING)
        assert store.get("t1").progress == {"percent": 20}

    def test_it_moves_the_time_of_the_last_change(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(4)
        store.commit("t1", "A", NOTHING)
        assert store.get("t1").updated_at == clock()

    @pytest.mark.parametrize("token", ["B", ""])
    def test_another_token_is_refused(self, store: TaskStore, token: str) -> None:
        running(store)
        with pytest.raises(ClaimLost, match="t1"):
            store.commit("t1", token, Commit(steps=[step()], events=[NewEvent("log")], progress={"percent": 1}))
        assert (list(store.steps("t1").items), store.get("t1").progress) == ([], None)
        assert "log" not in kinds(store)

    def test_after_a_cancel_no_step_is_announced(self, store: TaskStore) -> None:
        running(store)
        store.cancel("t1", force=True)
        steps = [step("a"), step("b", StepStatus.RUNNING)]
        assert store.commit("t1", "A", Commit(steps=steps)).cancelled
        assert list(store.steps("t1").items) == [step("a")]
        assert "step.started" not in kinds(store)

    def test_after_a_cancel_steps_that_undo_are_announced(self, store: TaskStore) -> None:
        running(store)
        store.cancel("t1", force=True)
        announced = step("on_cancel/b", StepStatus.RUNNING)
        assert store.commit("t1", "A", Commit(steps=[announced], undoing=True)).cancelled
        assert list(store.steps("t1").items) == [announced]

    def test_ten_thousand_records_in_one_commit(self, store: TaskStore) -> None:
        running(store)
        steps = [step(f"each[{number}]", position=f"{number:05}") for number in range(10_000)]
        store.commit("t1", "A", Commit(steps=steps[::-1]))
        assert list(store.steps("t1").items) == steps
        assert len(store.events("t1", limit=20_000)) == 10_003

    def test_order_is_by_code_point(self, store: TaskStore) -> None:
        running(store)
        positions = ["0", "1", "A", "_", "a", "ä", "ﬀ", "\U0001f600"]
        steps = [step(f"s{number}", position=position) for number, position in enumerate(positions)]
        store.commit("t1", "A", Commit(steps=steps[::-1]))
        assert list(store.steps("t1").items) == steps

    def test_threads_commit_side_by_side(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        running(store)

        def work(worker: int) -> None:
            for number in range(20):
                store.commit("t1", "A", Commit(steps=[step(f"s{worker}_{number}")]))

        at_once(partial(work, worker) for worker in range(6))
        assert len(store.steps("t1").items) == 120
        ids = [event.id for event in store.events("t1")]
        assert len(ids) == len(set(ids)) == 123


class TestLargeValues:
    LARGE = encode({"text": "é" * (5 * 1024 * 1024), "nul": "\0", "emoji": "\U0001f600", "half": "\ud800"[:0]})

    def test_outputs_of_steps_are_stored_apart(self, store: TaskStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(steps=[step(output=self.LARGE)]))
        size = len(self.LARGE.encode())
        assert next(iter(store.steps("t1").items)).output == Apart(size)
        assert store.value("t1", "output:load") == self.LARGE
        kept = next(iter(store.steps("t1").items))
        store.commit("t1", "A", Commit(steps=[replace(kept, tolerated=True)]))
        assert store.value("t1", "output:load") == self.LARGE

    def test_variables_and_outputs_are_stored_apart(self, store: TaskStore) -> None:
        running(store, variables=self.LARGE)
        task = store.finish("t1", "A", NOTHING, Status.COMPLETED, self.LARGE, None)
        size = len(self.LARGE.encode())
        assert (task.variables, task.outputs) == (Apart(size), Apart(size))
        assert task == store.get("t1")
        assert store.value("t1", "variables") == store.value("t1", "outputs") == self.LARGE

    @pytest.mark.parametrize("letter", ["x", "é"])
    def test_the_limit_is_in_bytes(self, store: TaskStore, letter: str) -> None:
        running(store)
        fits = encode(letter * ((APART_SIZE - 2) // len(letter.encode())))
        assert len(fits.encode()) == APART_SIZE
        store.commit("t1", "A", Commit(steps=[step("a", output=fits), step("b", output=f"[{fits}]")]))
        assert [record.output for record in store.steps("t1").items] == [fits, Apart(APART_SIZE + 2)]

    def test_halves_of_surrogate_pairs_come_back(self, store: TaskStore) -> None:
        running(store)
        text = encode({"half": "\ud800", "nul": "\0"})
        store.commit("t1", "A", Commit(steps=[step(output=text)], progress={"stage": "\ud800\0"}))
        output = next(iter(store.steps("t1").items)).output
        assert isinstance(output, str)
        assert json.loads(output) == {"half": "\ud800", "nul": "\0"}
        assert store.get("t1").progress == {"stage": "\ud800\0"}

    def test_a_value_that_is_not_apart_is_not_found(self, store: TaskStore) -> None:
        running(store)
        for key in ("variables", "outputs", "output:nothing", "nonsense"):
            with pytest.raises(NotFound, match=key):
                store.value("t1", key)
