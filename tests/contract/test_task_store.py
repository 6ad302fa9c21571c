"""Every sentence of the `TaskStore` protocol, for every store."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from stepwell.errors import ClaimLost, Conflict, InvalidInput, NotFound
from stepwell.ports import Claim, Commit, Lease, Purged, TaskFilter, TaskStore
from stepwell.task import ENDED, Apart, Attempt, Error, NewEvent, NewTask, Page, Status, StepRecord, StepStatus, Task
from stepwell.values import APART_SIZE, encode

if TYPE_CHECKING:
    from tests.contract.conftest import Clock

T = TypeVar("T")
LEASE = 10.0
NOTHING = Commit()
ERROR = Error("step_failed", "no disk", step="load", path="load", attempt=2, status=507, retry_after=1.5, traceback="…")


def new(task_id: str = "t1", **changes: Any) -> NewTask:
    base = NewTask(task_id, "orders", "hash-1", "steps: []", "line", 1, '{"a":1}', timeout=60, max_retries=3)
    return replace(base, **changes)


def step(path: str = "load", status: StepStatus = StepStatus.COMPLETED, **changes: Any) -> StepRecord:
    return replace(StepRecord(path, f"0001/{path}", status, "call", id=path, attempts=1, tries=1), **changes)


def running(store: TaskStore, task_id: str = "t1", token: str = "A", **changes: Any) -> Claim:
    store.create(new(task_id, **changes))
    claim = store.claim(task_id, token, "host:1")
    assert claim is not None
    return claim


def ended(store: TaskStore, task_id: str, status: Status = Status.COMPLETED, **changes: Any) -> Task:
    running(store, task_id, **changes)
    return store.finish(task_id, "A", NOTHING, status, None, None)


def kinds(store: TaskStore, task_id: str = "t1") -> list[str]:
    return [event.kind for event in store.events(task_id)]


def bring(store: TaskStore, status: Status, task_id: str = "t1", undo: bool = False) -> Task:
    """A task in this state."""
    if status is Status.PENDING:
        return store.create(new(task_id, delay=5, undo=undo))[0]
    task, _ = store.create(new(task_id, undo=undo))
    if status is Status.QUEUED:
        return task
    store.claim(task_id, "A", "host:1")
    if status is Status.WAITING:
        return store.suspend(task_id, "A", NOTHING, 5, ERROR)
    return store.get(task_id) if status is Status.RUNNING else store.finish(task_id, "A", NOTHING, status, None, None)


def at_once(calls: Iterable[Callable[[], T]]) -> list[T | Exception]:
    """What the calls answer or raise, each from its own thread, begun together."""
    calls = list(calls)
    answers: list[T | Exception] = []
    begin = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> None:
        begin.wait()
        try:
            answers.append(call())
        except Conflict as error:
            answers.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


class TestCreate:
    def test_a_new_task_is_queued(self, store: TaskStore, clock: Clock) -> None:
        asked = new(
            external_id="x-1", idempotency_key="k", labels={"b": "2", "a": "1"}, trigger={"kind": "api"}, undo=True
        )
        task, is_new = store.create(asked)
        assert is_new
        assert task == store.get("t1")
        assert task == Task(
            "t1", "orders", "hash-1", Status.QUEUED, "line", 1, '{"a":1}', clock(), clock(), 60, 3, undo=True,
            external_id="x-1", idempotency_key="k", labels={"b": "2", "a": "1"}, trigger={"kind": "api"},
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
        first, _ = store.create(new(idempotency_key="k"))
        assert store.create(new("t2", idempotency_key="k")) == (first, False)
        with pytest.raises(NotFound):
            store.get("t2")

    @pytest.mark.parametrize("change", [{"variables": '{"a":2}'}, {"workflow_id": "other"}])
    def test_the_same_key_for_something_else_is_a_conflict(self, store: TaskStore, change: dict[str, Any]) -> None:
        store.create(new(idempotency_key="k"))
        with pytest.raises(Conflict, match="'k'"):
            store.create(new("t2", idempotency_key="k", definition="hash-2", **change))
        with pytest.raises(NotFound):
            store.definition("hash-2")

    def test_keys_compare_large_variables_too(self, store: TaskStore) -> None:
        large = encode(["x" * APART_SIZE])
        store.create(new(idempotency_key="k", variables=large))
        assert store.create(new("t2", idempotency_key="k", variables=large))[1] is False
        with pytest.raises(Conflict):
            store.create(new("t2", idempotency_key="k", variables=large.replace("x", "y")))

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

    def test_one_hundred_creates_with_one_key_make_one_task(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        ids = [f"t{number}" for number in range(100)]
        answers = at_once(partial(store.create, new(id_, idempotency_key="k")) for id_ in ids)
        tasks = {answer[0].task_id for answer in answers if isinstance(answer, tuple)}
        assert len(tasks) == 1
        assert sum(answer[1] for answer in answers if isinstance(answer, tuple)) == 1
        assert store.counts()["line"]["queued"] == 1


class TestClaim:
    def test_a_claim_makes_it_running(self, store: TaskStore, clock: Clock) -> None:
        store.create(new())
        clock.advance(3)
        claim = store.claim("t1", "A", "host:1")
        assert claim is not None
        assert (claim.token, claim.definition_text, claim.now) == ("A", "steps: []", clock())
        assert list(claim.steps) == []
        assert claim.task == store.get("t1")
        assert (claim.task.status, claim.task.started_at, claim.task.worker) == (Status.RUNNING, clock(), "host:1")
        assert kinds(store)[-1] == "task.started"

    def test_the_same_claim_again_is_the_same(self, store: TaskStore, clock: Clock) -> None:
        claim = running(store)
        clock.advance(1)
        assert store.claim("t1", "A", "host:1") == claim
        assert kinds(store).count("task.started") == 1

    def test_nobody_else_gets_it(self, store: TaskStore) -> None:
        running(store)
        assert store.claim("t1", "B", "host:2") is None

    @pytest.mark.parametrize("status", [status for status in Status if status not in {Status.QUEUED, Status.RUNNING}])
    def test_what_is_not_queued_cannot_be_claimed(self, store: TaskStore, status: Status) -> None:
        bring(store, status)
        assert store.claim("t1", "B", "host:2") is None
        assert store.get("t1").status is status

    def test_what_is_gone_cannot_be_claimed(self, store: TaskStore) -> None:
        assert store.claim("nothing", "A", "host:1") is None

    def test_a_token_serves_once(self, store: TaskStore) -> None:
        running(store)
        store.release("t1", "A", NOTHING)
        assert store.claim("t1", "A", "host:1") is None
        assert store.claim("t1", "B", "host:1") is not None

    def test_the_first_start_is_kept(self, store: TaskStore, clock: Clock) -> None:
        first = running(store).task.started_at
        store.release("t1", "A", NOTHING)
        clock.advance(9)
        again = store.claim("t1", "B", "host:2")
        assert again is not None
        assert (again.task.started_at, again.now) == (first, clock())

    def test_of_many_threads_one_gets_it(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        store.create(new())
        claims = at_once(partial(store.claim, "t1", token, token) for token in "ABCDEFGH")
        won = [claim for claim in claims if isinstance(claim, Claim)]
        assert len(won) == 1
        assert store.get("t1").worker == won[0].token


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


class TestEndOfAClaim:
    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_finish_ends_it(self, store: TaskStore, clock: Clock, status: Status) -> None:
        running(store)
        clock.advance(2.5)
        error = ERROR if status is Status.FAILED else None
        task = store.finish("t1", "A", Commit(steps=[step()], events=[NewEvent("log")]), status, '{"x":1}', error)
        assert task == store.get("t1")
        assert (task.status, task.outputs, task.error, task.worker) == (status, '{"x":1}', error, None)
        assert (task.completed_at, task.ran_for) == (clock(), 2.5)
        assert kinds(store)[3:] == ["step.completed", "log", f"task.{status}"]
        assert list(store.steps("t1").items) == [step()]

    def test_suspend_makes_it_wait_for_its_retry(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        task = store.suspend("t1", "A", NOTHING, 30, ERROR)
        assert task == store.get("t1")
        assert (task.status, task.wake_at, task.attempt, task.retry_count) == (Status.WAITING, clock() + 30, 2, 1)
        assert (task.error, task.worker, task.ran_for) == (ERROR, None, 2)
        assert store.events("t1")[-1].data == {"attempt": 2, "code": "step_failed", "message": "no disk"}

    def test_release_hands_it_back_and_counts_nothing(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        task = store.release("t1", "A", NOTHING)
        assert task == store.get("t1")
        assert (task.status, task.attempt, task.retry_count, task.crashes) == (Status.QUEUED, 1, 0, 0)
        assert (task.worker, task.ran_for) == (None, 2)

    def test_running_time_adds_up_over_claims(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(2)
        store.release("t1", "A", NOTHING)
        clock.advance(100)
        store.claim("t1", "B", "w")
        clock.advance(3)
        assert store.finish("t1", "B", NOTHING, Status.COMPLETED, None, None).ran_for == 5

    def test_a_clock_that_jumps_back_takes_no_running_time_away(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(-3600)
        assert store.release("t1", "A", NOTHING).ran_for == 0

    @pytest.mark.parametrize("call", ["finish", "suspend", "release"])
    def test_a_repeat_does_nothing_and_answers_again(self, store: TaskStore, clock: Clock, call: str) -> None:
        running(store)
        clock.advance(1)
        first = _end(store, call, "A")
        told = kinds(store)
        clock.advance(1)
        assert _end(store, call, "A") == first == store.get("t1")
        assert kinds(store) == told

    @pytest.mark.parametrize("call", ["finish", "suspend", "release"])
    def test_another_call_with_the_old_token_is_refused(self, store: TaskStore, call: str) -> None:
        running(store)
        _end(store, call, "A")
        for other in {"finish", "suspend", "release"} - {call}:
            with pytest.raises(ClaimLost):
                _end(store, other, "A")
        with pytest.raises(ClaimLost):
            store.commit("t1", "A", NOTHING)

    @pytest.mark.parametrize("call", ["finish", "suspend", "release"])
    def test_a_worker_that_lost_its_claim_is_refused(self, store: TaskStore, clock: Clock, call: str) -> None:
        running(store)
        clock.advance(LEASE)
        assert [task.task_id for task in store.reap()] == ["t1"]
        with pytest.raises(ClaimLost):
            _end(store, call, "A")
        assert store.claim("t1", "B", "w") is not None
        with pytest.raises(ClaimLost):
            _end(store, call, "A")
        assert store.get("t1").status is Status.RUNNING

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.WAITING, Status.PENDING, Status.RUNNING])
    def test_finish_only_takes_ends(self, store: TaskStore, status: Status) -> None:
        running(store)
        with pytest.raises(Conflict):
            store.finish("t1", "A", Commit(steps=[step()]), status, None, None)
        assert list(store.steps("t1").items) == []
        assert store.get("t1").status is Status.RUNNING

    def test_a_cancel_ends_the_pause_before_a_retry(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        store.cancel("t1", force=True)
        assert store.suspend("t1", "A", NOTHING, 1000, ERROR).wake_at == clock()
        assert [task.status for task in store.wake()] == [Status.QUEUED]


class TestLeases:
    def test_renew_extends_it(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(LEASE - 1)
        assert store.renew({"t1": "A"}) == {"t1": Lease(held=True)}
        clock.advance(LEASE - 1)
        assert store.reap() == []

    def test_renew_extends_an_expired_one_that_nobody_took(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(5 * LEASE)
        assert store.renew({"t1": "A"}) == {"t1": Lease(held=True)}
        assert store.reap() == []

    def test_renew_tells_what_is_lost_and_what_is_cancelled(self, store: TaskStore) -> None:
        for task_id in ("t1", "t2", "t3"):
            running(store, task_id)
        store.cancel("t2", force=True)
        store.finish("t3", "A", NOTHING, Status.COMPLETED, None, None)
        claims = {"t1": "B", "t2": "A", "t3": "A", "t4": "A"}
        assert store.renew(claims) == {
            "t1": Lease(held=False),
            "t2": Lease(held=True, cancelled=True),
            "t3": Lease(held=False),
            "t4": Lease(held=False),
        }
        assert store.renew({}) == {}

    def test_a_lost_worker_gives_its_task_back(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(LEASE - 0.5)
        assert store.reap() == []
        clock.advance(5)
        [task] = store.reap()
        assert task == store.get("t1")
        assert (task.status, task.crashes, task.worker, task.ran_for) == (Status.QUEUED, 1, None, LEASE)
        assert store.reap() == []
        assert kinds(store)[-1] == "task.queued"

    def test_three_crashes_without_a_committed_step_end_it(self, store: TaskStore, clock: Clock) -> None:
        store.create(new())
        for number in range(3):
            assert store.claim("t1", f"token-{number}", "host:7") is not None
            store.commit("t1", f"token-{number}", Commit(steps=[step(status=StepStatus.RUNNING)]))
            clock.advance(LEASE)
            [task] = store.reap()
        assert task == store.get("t1")
        assert (task.status, task.crashes, task.completed_at) == (Status.FAILED, 3, clock())
        assert task.error is not None
        assert (task.error.code, "host:7" in task.error.message) == ("worker_lost", True)
        assert store.counts()["line"]["failed_total"] == 1

    def test_a_committed_step_makes_crashes_count_afresh(self, store: TaskStore, clock: Clock) -> None:
        store.create(new())
        for number in range(5):
            assert store.claim("t1", f"token-{number}", "w") is not None
            store.commit("t1", f"token-{number}", Commit(steps=[step(f"s{number}")]))
            clock.advance(LEASE)
            [task] = store.reap()
            assert (task.status, task.crashes) == (Status.QUEUED, 1)

    def test_grace_gives_every_dead_looking_task_one_lease(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(100)
        assert store.reap(grace=True) == []
        assert store.reap() == []
        clock.advance(LEASE - 0.5)
        assert store.reap() == []
        clock.advance(0.5)
        assert [task.status for task in store.reap()] == [Status.QUEUED]

    def test_a_lease_that_lies_too_far_away_is_cut(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(-3600)
        assert store.reap() == []
        clock.advance(LEASE)
        assert [task.task_id for task in store.reap()] == ["t1"]


class TestTime:
    def test_wake_queues_what_is_due(self, store: TaskStore, clock: Clock) -> None:
        store.create(new("t1", delay=5))
        running(store, "t2")
        store.suspend("t2", "A", NOTHING, 3, ERROR)
        store.create(new("t3", delay=60))
        clock.advance(2.5)
        assert store.wake() == []
        clock.advance(2.5)
        woken = store.wake()
        assert [(task.task_id, task.status, task.wake_at) for task in woken] == [
            ("t2", Status.QUEUED, None),
            ("t1", Status.QUEUED, None),
        ]
        assert woken == [store.get("t2"), store.get("t1")]
        assert woken[0].error == ERROR
        assert store.wake() == []
        assert kinds(store)[-1] == "task.queued"

    def test_wake_answers_at_most_a_thousand(self, store: TaskStore, clock: Clock) -> None:
        for number in range(1001):
            store.create(new(f"t{number:04}", delay=1))
        clock.advance(1)
        assert [len(store.wake()), len(store.wake()), len(store.wake())] == [1000, 1, 0]
        assert store.counts()["line"]["queued"] == 1001

    def test_due_in_is_the_next_time(self, store: TaskStore, clock: Clock) -> None:
        assert store.due_in() is None
        store.create(new("t1", delay=50))
        store.create(new("t2"))
        assert store.due_in() == 50
        running(store, "t3")
        store.suspend("t3", "A", NOTHING, 20, None)
        clock.advance(5)
        assert store.due_in() == 15
        clock.advance(50)
        assert store.due_in() == 0

    def test_queued_answers_the_oldest_first(self, store: TaskStore, clock: Clock) -> None:
        for task_id in ("t3", "t1"):
            store.create(new(task_id))
            clock.advance(10)
        store.create(new("t2"))
        running(store, "t4")
        assert [task.task_id for task in store.queued(5)] == ["t3", "t1"]
        assert [task.task_id for task in store.queued(15)] == ["t3"]
        assert [task.task_id for task in store.queued(0)] == ["t3", "t1", "t2"]

    def test_queued_counts_from_when_it_was_queued_last(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(8)
        store.release("t1", "A", NOTHING)
        assert store.queued(5) == []

    def test_the_store_has_its_own_time(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        before = store.now()
        claim = running(store)
        now = store.commit("t1", "A", Commit(steps=[step()])).now
        task = store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        times = [before, task.created_at, claim.now, now, task.completed_at or 0.0, store.now()]
        assert times == sorted(times)
        assert store.now() - before < 60


class TestCancel:
    @pytest.mark.parametrize("undo", [False, True])
    @pytest.mark.parametrize("force", [False, True])
    @pytest.mark.parametrize("status", list(Status))
    def test_in_each_state(self, store: TaskStore, clock: Clock, status: Status, undo: bool, force: bool) -> None:
        before = bring(store, status, undo=undo)
        clock.advance(1)
        if status in {Status.COMPLETED, Status.FAILED} or (status is Status.RUNNING and not force):
            with pytest.raises(Conflict) as caught:
                store.cancel("t1", force)
            assert caught.value.status == status
            assert store.get("t1") == before
            return
        task = store.cancel("t1", force)
        assert task == store.get("t1")
        assert (task.status, task.cancel_requested) == {
            Status.PENDING: (Status.CANCELLED, False),
            Status.QUEUED: (Status.CANCELLED, False),
            Status.WAITING: (Status.QUEUED, True) if undo else (Status.CANCELLED, False),
            Status.RUNNING: (Status.RUNNING, True),
            Status.CANCELLED: (Status.CANCELLED, False),
        }[status]
        assert task.wake_at is None
        assert (task.completed_at is not None) == (task.status is Status.CANCELLED)
        told = kinds(store)
        assert store.cancel("t1", force) == task
        assert kinds(store) == told

    def test_a_queued_one_that_has_begun_stays_queued_to_undo(self, store: TaskStore, clock: Clock) -> None:
        running(store, undo=True)
        store.release("t1", "A", NOTHING)
        clock.advance(3)
        task = store.cancel("t1")
        assert (task.status, task.cancel_requested) == (Status.QUEUED, True)
        assert kinds(store)[-1] == "task.cancel_requested"
        assert [task.task_id for task in store.queued(3)] == ["t1"]
        claim = store.claim("t1", "B", "w")
        assert claim is not None
        assert claim.task.cancel_requested
        task = store.finish("t1", "B", Commit(undoing=True), Status.CANCELLED, None, None)
        assert task.status is Status.CANCELLED

    def test_cancel_against_finish_has_one_end(self, make_store: Callable[..., TaskStore]) -> None:
        store = make_store(None)
        for number in range(10):
            id_ = f"t{number}"
            running(store, id_)
            at_once(
                [
                    partial(store.cancel, id_, force=True),
                    partial(store.finish, id_, "A", NOTHING, Status.COMPLETED, None, None),
                ]
            )
            assert store.get(id_).status is Status.COMPLETED


class TestRetry:
    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_an_ended_one_is_queued_again(self, store: TaskStore, clock: Clock, status: Status) -> None:
        running(store)
        store.suspend("t1", "A", NOTHING, 0, ERROR)
        store.wake()
        store.claim("t1", "B", "w")
        history = (Attempt(1, 1.0, "w", 2.0, ERROR),)
        failed = step("b", StepStatus.FAILED, error=ERROR, completed_at=2.0, tries=3, attempts=3, history=history)
        large = encode("x" * APART_SIZE)
        commit = Commit(steps=[step("a", output="1"), failed, step("c", output=large)], progress={"percent": 1})
        clock.advance(1)
        store.finish("t1", "B", commit, status, large, ERROR)
        task = store.retry("t1", ["b", "c", "nothing"])
        assert task == store.get("t1")
        assert (task.status, task.attempt, task.retry_count, task.crashes) == (Status.QUEUED, 3, 0, 0)
        assert (task.error, task.outputs, task.completed_at, task.progress, task.ran_for) == (None, None, None, None, 0)
        a, b, c = store.steps("t1").items
        assert a == step("a", output="1")
        assert b == step("b", StepStatus.PENDING, attempts=3, tries=0, history=history)
        assert c.output is None
        for key in ("outputs", "output:c"):
            with pytest.raises(NotFound):
                store.value("t1", key)
        assert kinds(store)[-2:] == ["task.retried", "task.queued"]
        assert store.claim("t1", "C", "w") is not None

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING])
    def test_a_live_one_is_refused(self, store: TaskStore, status: Status) -> None:
        before = bring(store, status)
        with pytest.raises(Conflict) as caught:
            store.retry("t1", [])
        assert caught.value.status == status
        assert store.get("t1") == before

    def test_a_cancel_is_forgotten(self, store: TaskStore) -> None:
        running(store)
        store.cancel("t1", force=True)
        store.finish("t1", "A", NOTHING, Status.CANCELLED, None, None)
        assert not store.retry("t1", []).cancel_requested


class TestReading:
    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.get("no"),
            lambda store: store.steps("no"),
            lambda store: store.events("no"),
            lambda store: store.value("no", "variables"),
            lambda store: store.cancel("no"),
            lambda store: store.retry("no", []),
            lambda store: store.commit("no", "A", NOTHING),
            lambda store: store.finish("no", "A", NOTHING, Status.COMPLETED, None, None),
            lambda store: store.suspend("no", "A", NOTHING, 1, None),
            lambda store: store.release("no", "A", NOTHING),
            lambda store: store.definition("no"),
        ],
    )
    def test_what_is_not_there_is_not_found(self, store: TaskStore, call: Callable[[TaskStore], object]) -> None:
        with pytest.raises(NotFound, match="'no'"):
            call(store)

    def test_a_list_is_newest_first_in_pages(self, store: TaskStore) -> None:
        for number in (3, 1, 5, 2, 4):
            store.create(new(f"t{number}"))
        pages = _pages(lambda cursor: store.list(TaskFilter(), limit=2, cursor=cursor))
        assert [[task.task_id for task in page] for page in pages] == [["t5", "t4"], ["t3", "t2"], ["t1"]]
        assert store.list(TaskFilter(), limit=5).next_cursor is None

    def test_a_list_shows_what_is_asked_for(self, store: TaskStore) -> None:
        store.create(new("t1", workflow_id="other", labels={"team": "red", "n": "1"}))
        store.create(new("t2", queue="fast", labels={"team": "red", "n": "2"}))
        store.create(new("t3", external_id="x", delay=5, labels={"team": "blue"}))
        for only, wanted in [
            (TaskFilter(workflow_id="other"), ["t1"]),
            (TaskFilter(queue="fast"), ["t2"]),
            (TaskFilter(external_id="x"), ["t3"]),
            (TaskFilter(status=Status.QUEUED), ["t2", "t1"]),
            (TaskFilter(labels={"team": "red"}), ["t2", "t1"]),
            (TaskFilter(labels={"team": "red", "n": "2"}), ["t2"]),
            (TaskFilter(labels={"team": "2"}), []),
            (TaskFilter(status=Status.PENDING, queue="fast"), []),
        ]:
            page = store.list(only)
            assert [task.task_id for task in page.items] == wanted, only
            assert all(task == store.get(task.task_id) for task in page.items)

    def test_steps_come_in_order_in_pages(self, store: TaskStore) -> None:
        running(store)
        steps = [step(f"s{number}", position=f"000{number // 2}") for number in range(5)]
        store.commit("t1", "A", Commit(steps=steps[::-1]))
        pages = _pages(lambda cursor: store.steps("t1", limit=2, cursor=cursor))
        assert [record for page in pages for record in page] == steps
        assert [len(page) for page in pages] == [2, 2, 1]

    @pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "W10=", "WzFd", "eyJhIjoxfQ==", "\0", "WyJhXHUwMDAwIl0="])
    def test_a_malformed_cursor_is_refused(self, store: TaskStore, cursor: str) -> None:
        running(store)
        with pytest.raises(InvalidInput, match="cursor"):
            store.list(TaskFilter(), cursor=cursor)
        with pytest.raises(InvalidInput, match="cursor"):
            store.steps("t1", cursor=cursor)

    def test_events_are_read_on_from_an_id(self, store: TaskStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(events=[NewEvent(f"e{number}") for number in range(5)]))
        first = store.events("t1", limit=4)
        rest = store.events("t1", after=first[-1].id)
        assert [event.kind for event in [*first, *rest]] == kinds(store)
        assert store.events("t1", after=rest[-1].id) == []
        assert {event.task_id for event in rest} == {"t1"}

    def test_a_store_that_answers_says_so(self, store: TaskStore) -> None:
        store.ping()


class TestCounts:
    def test_states_and_totals(self, store: TaskStore) -> None:
        assert store.counts() == {}
        ended(store, "t1")
        running(store, "t2")
        store.finish("t2", "A", NOTHING, Status.FAILED, None, Error("timeout", "too slow"))
        ended(store, "t3", Status.FAILED)
        store.retry("t3", [])
        running(store, "t4")
        store.suspend("t4", "A", NOTHING, 1, None)
        store.create(new("t5", queue="other"))
        store.cancel("t5")
        zero = dict.fromkeys(
            [*Status, "completed_total", "failed_total", "timeout_total", "cancelled_total", "retried_total"], 0
        )
        line = {"queued": 1, "waiting": 1, "completed": 1, "failed": 1}
        totals = {"completed_total": 1, "failed_total": 2, "timeout_total": 1, "retried_total": 2}
        assert store.counts() == {
            "line": {**zero, **line, **totals},
            "other": {**zero, "cancelled": 1, "cancelled_total": 1},
        }


class TestPurge:
    def test_old_ended_tasks_go_with_all_that_is_theirs(self, store: TaskStore, clock: Clock) -> None:
        large = encode("x" * APART_SIZE)
        running(store, "t1", variables=large, labels={"a": "1"}, idempotency_key="k")
        store.finish("t1", "A", Commit(steps=[step(output=large)]), Status.COMPLETED, large, None)
        clock.advance(60)
        ended(store, "t2", definition="hash-2")
        assert store.purge(60) == Purged(0, [])
        clock.advance(1)
        assert store.purge(60) == Purged(1, [])
        with pytest.raises(NotFound):
            store.get("t1")
        with pytest.raises(NotFound):
            store.definition("hash-1")
        assert store.definition("hash-2")
        assert store.list(TaskFilter(labels={"a": "1"})).items == []
        assert (store.counts()["line"]["completed"], store.counts()["line"]["completed_total"]) == (1, 2)
        store.create(new("t1", idempotency_key="k", labels={"a": "2"}))
        assert (list(store.steps("t1").items), len(store.events("t1"))) == ([], 2)
        assert store.list(TaskFilter(labels={"a": "1"})).items == []
        for key in ("variables", "outputs", "output:load"):
            with pytest.raises(NotFound):
                store.value("t1", key)

    def test_live_tasks_stay(self, store: TaskStore, clock: Clock) -> None:
        live = [status for status in Status if status not in {Status.COMPLETED, Status.FAILED, Status.CANCELLED}]
        for status in live:
            bring(store, status, task_id=status)
        ended(store, "retried")
        store.retry("retried", [])
        clock.advance(1_000_000)
        assert store.purge(0).tasks == 0
        assert len(store.list(TaskFilter()).items) == len(live) + 1

    def test_it_removes_no_more_than_asked_and_keeps_definitions_in_use(self, store: TaskStore, clock: Clock) -> None:
        for number in range(5):
            ended(store, f"t{number}")
        clock.advance(1)
        assert [store.purge(0, limit=2).tasks, store.purge(0, limit=2).tasks] == [2, 2]
        assert store.definition("hash-1")
        assert [store.purge(0, limit=2).tasks, store.purge(0, limit=2).tasks] == [1, 0]


class TestFiles:
    """Which files a task refers to: those in its variables, and all that its steps ever kept."""

    def test_files_that_only_purged_tasks_refer_to_are_named(self, store: TaskStore, clock: Clock) -> None:
        running(store, "t1", files=("upload", "shared-upload", "upload"))
        steps = [keeping("a", "kept", "shared"), keeping("b", "kept")]
        store.finish("t1", "A", Commit(steps=steps), Status.COMPLETED, None, None)
        clock.advance(1)
        running(store, "t2", files=("shared-upload",))
        store.commit("t2", "A", Commit(steps=[keeping("a", "shared")]))
        assert store.unused(["kept", "none", "upload"]) == ["none"]
        assert store.purge(0) == Purged(1, ["kept", "upload"])
        assert store.unused(["upload", "shared", "none", "kept", "shared-upload"]) == ["upload", "none", "kept"]

    def test_of_tasks_that_go_together_each_file_is_named_once(self, store: TaskStore, clock: Clock) -> None:
        ended(store, "t1", files=("b", "a"))
        ended(store, "t2", files=("b", "c"))
        clock.advance(1)
        assert store.purge(0) == Purged(2, ["a", "b", "c"])
        assert store.purge(0) == Purged(0, [])

    def test_a_file_that_a_later_purge_frees_is_named_then(self, store: TaskStore, clock: Clock) -> None:
        for task_id in ("t1", "t2"):
            ended(store, task_id, files=("shared",))
            clock.advance(1)
        assert [store.purge(0, limit=1), store.purge(0, limit=1)] == [Purged(1, []), Purged(1, ["shared"])]

    @pytest.mark.parametrize("status", Status)
    def test_a_task_of_any_age_refers_to_its_files(self, store: TaskStore, clock: Clock, status: Status) -> None:
        store.create(new("t1", files=("upload",), delay=5 if status is Status.PENDING else 0))
        bring(store, status)
        clock.advance(1_000_000)
        assert store.unused(["upload"]) == []
        assert store.purge(0).files == (["upload"] if status in ENDED else [])

    @pytest.mark.parametrize("call", ["commit", "finish", "suspend", "release"])
    def test_every_call_that_keeps_records_refers(self, store: TaskStore, call: str) -> None:
        running(store)
        commit = Commit(steps=[keeping("a", "kept")])
        if call == "commit":
            store.commit("t1", "A", commit)
        else:
            _end(store, call, "A", commit)
        assert store.unused(["kept"]) == []

    def test_what_was_not_written_refers_to_nothing(self, store: TaskStore) -> None:
        running(store, files=("upload",))
        with pytest.raises(ClaimLost):
            store.commit("t1", "B", Commit(steps=[keeping("a", "kept")]))
        store.create(new("t1", files=("another",)))
        assert store.unused(["upload", "kept", "another"]) == ["kept", "another"]

    def test_a_retry_and_a_repeat_give_no_file_up(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        commit = Commit(steps=[keeping("a", "kept")])
        store.commit("t1", "A", commit)
        store.commit("t1", "A", commit)
        store.finish("t1", "A", NOTHING, Status.FAILED, None, ERROR)
        store.retry("t1", ["a"])
        clock.advance(1_000_000)
        assert (store.purge(0), store.unused(["kept"])) == (Purged(0, []), [])

    def test_many_files(self, store: TaskStore, clock: Clock) -> None:
        names = [f"{number:05}" for number in range(3000)]
        running(store)
        store.finish("t1", "A", Commit(steps=[keeping("a", *names)]), Status.COMPLETED, None, None)
        assert store.unused(iter(names)) == []
        clock.advance(1)
        assert store.purge(0) == Purged(1, names)

    def test_files_that_are_no_text_are_refused(self, store: TaskStore) -> None:
        with pytest.raises(InvalidInput, match="files"):
            store.create(new(files=("a\0b",)))


def keeping(path: str, *sha256s: str) -> StepRecord:
    return step(path, files={f"{number}.txt": {"size": 1, "sha256": one} for number, one in enumerate(sha256s)})


def _end(store: TaskStore, call: str, token: str, commit: Commit | None = None) -> Task:
    commit = commit or Commit(steps=[step()], events=[NewEvent("log")])
    if call == "finish":
        return store.finish("t1", token, commit, Status.COMPLETED, '{"x":1}', None)
    return store.suspend("t1", token, commit, 5, ERROR) if call == "suspend" else store.release("t1", token, commit)


def _pages(ask: Callable[[str | None], Page[T]]) -> Sequence[Sequence[T]]:
    pages, cursor = [], None
    while True:
        page = ask(cursor)
        pages.append(page.items)
        cursor = page.next_cursor
        if cursor is None:
            return pages
