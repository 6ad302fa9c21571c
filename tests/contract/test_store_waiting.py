"""Tasks that wait: for a time, for mail, or to be cancelled; nothing that comes for them is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.building import ERROR, NOTHING, bring, ended, kinds, running, step

from stepwell import lifecycle
from stepwell.errors import ClaimLost, Conflict, InvalidInput, NotFound
from stepwell.ports import Commit, Suspension, TaskStore
from stepwell.task import Mail, NewMail, Status, StepStatus, Task

if TYPE_CHECKING:
    from tests.contract.conftest import Clock

APPROVE = NewMail("approve", '{"approved":true}', sender="ann", once=True)


FOREVER = Suspension()


def suspended(store: TaskStore, suspension: Suspension = FOREVER, **changes: Any) -> Task:
    """A task that waits."""
    running(store, **changes)
    return store.suspend("t1", "A", NOTHING, suspension)


class TestSuspend:
    def test_it_waits_and_its_claim_ends(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        clock.advance(3)
        waits = step("approve", StepStatus.WAITING, wait={"kind": "approval", "due": None, "form": {"a": [1]}})
        task = store.suspend("t1", "A", Commit(steps=[waits]), FOREVER)
        assert task == store.get("t1")
        assert (task.status, task.wake_at, task.worker, task.ran_for) == (Status.WAITING, None, None, 3)
        assert (task.attempt, task.retry_count, task.crashes) == (1, 0, 0)
        assert store.step("t1", "approve") == waits
        assert kinds(store)[-2:] == ["step.waiting", "task.waiting"]
        with pytest.raises(ClaimLost):
            store.commit("t1", "A", NOTHING)
        assert store.counts()["line"]["waiting"] == 1

    def test_without_a_time_it_is_never_due(self, store: TaskStore, clock: Clock) -> None:
        suspended(store)
        assert store.due_in() is None
        clock.advance(1e9)
        assert store.wake() == []
        assert store.get("t1").status is Status.WAITING

    def test_it_wakes_at_its_time(self, store: TaskStore, clock: Clock) -> None:
        task = suspended(store, Suspension(due=clock() + 30))
        assert task.wake_at == clock() + 30
        assert store.due_in() == 30
        assert store.wake() == []
        clock.advance(30)
        assert [task.task_id for task in store.wake()] == ["t1"]
        assert store.get("t1").wake_at is None
        assert store.wake() == []

    def test_a_time_that_is_over_queues_it_at_once(self, store: TaskStore, clock: Clock) -> None:
        task = suspended(store, Suspension(due=clock()))
        assert task.status is Status.QUEUED
        assert kinds(store)[-1] == "task.queued"

    def test_a_requested_cancel_queues_it_at_once(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        store.cancel("t1", force=True)
        assert store.suspend("t1", "A", NOTHING, Suspension(due=clock() + 30)).status is Status.QUEUED

    def test_what_undoes_waits_in_spite_of_the_cancel(self, store: TaskStore) -> None:
        running(store, undo=True)
        store.cancel("t1", force=True)
        assert store.suspend("t1", "A", Commit(undoing=True), FOREVER).status is Status.WAITING
        assert store.cancel("t1", force=True).status is Status.WAITING
        store.send("t1", APPROVE)
        assert store.get("t1").status is Status.QUEUED

    def test_a_repeat_answers_again_and_does_nothing(self, store: TaskStore) -> None:
        task = suspended(store)
        told = kinds(store)
        assert store.suspend("t1", "A", Commit(steps=[step()]), FOREVER) == task
        store.send("t1", APPROVE)
        assert store.suspend("t1", "A", NOTHING, FOREVER).status is Status.QUEUED
        assert kinds(store) == [*told, "task.queued"]
        assert list(store.steps("t1").items) == []

    def test_the_token_that_suspended_it_claims_it_no_more(self, store: TaskStore) -> None:
        suspended(store)
        store.send("t1", APPROVE)
        assert store.claim("t1", "A", "host:1") is None
        assert store.claim("t1", "B", "host:1") is not None

    def test_only_who_holds_it_may(self, store: TaskStore) -> None:
        running(store)
        with pytest.raises(ClaimLost):
            store.suspend("t1", "B", NOTHING, FOREVER)
        with pytest.raises(NotFound):
            store.suspend("no", "A", NOTHING, FOREVER)

    @pytest.mark.parametrize("undo", [False, True])
    def test_a_cancel(self, store: TaskStore, undo: bool) -> None:
        suspended(store, undo=undo)
        task = store.cancel("t1")
        assert task.status is (Status.QUEUED if undo else Status.CANCELLED)
        assert (store.claim("t1", "B", "host:1") is not None) == undo

    def test_it_forgets_the_error_of_the_attempt_before(self, store: TaskStore, clock: Clock) -> None:
        bring(store, Status.WAITING)
        clock.advance(5)
        store.wake()
        store.claim("t1", "B", "host:1")
        assert store.suspend("t1", "B", NOTHING, FOREVER).error is None
        assert store.get("t1").error is None
        assert dict(store.events("t1")[-1].data) == {"attempt": 2}
        store.send("t1", APPROVE)
        assert store.get("t1").status is Status.QUEUED

    def test_it_is_not_lost_with_the_worker_that_began_to_wait(self, store: TaskStore, clock: Clock) -> None:
        suspended(store)
        clock.advance(1000)
        assert store.lose("host:1") == store.reap() == []
        assert store.get("t1").status is Status.WAITING


class TestMail:
    def test_what_is_sent_is_in_the_mailbox_and_in_the_claim(self, store: TaskStore, clock: Clock) -> None:
        suspended(store)
        first, is_new = store.send("t1", APPROVE)
        assert (first, is_new) == (Mail(1, "approve", '{"approved":true}', clock(), "ann"), True)
        clock.advance(1)
        second, _ = store.send("t1", NewMail("order", '"\\u0000é"', key="k"))
        assert second == Mail(2, "order", '"\\u0000é"', clock(), None, "k")
        assert list(store.mailbox("t1")) == [first, second]
        assert list(store.mailbox("t1", after=1)) == [second]
        claim = store.claim("t1", "B", "host:1")
        assert claim is not None
        assert list(claim.mail) == [first, second]

    @pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED, Status.RUNNING])
    def test_only_a_waiting_task_is_woken(self, store: TaskStore, status: Status) -> None:
        before = bring(store, status)
        store.send("t1", APPROVE)
        assert store.get("t1") == before
        assert len(store.mailbox("t1")) == 1

    def test_a_pause_before_a_retry_is_not_cut_short(self, store: TaskStore, clock: Clock) -> None:
        before = bring(store, Status.WAITING)
        sent, _ = store.send("t1", APPROVE)
        assert store.get("t1") == before
        assert store.due_in() == 5
        clock.advance(5)
        assert [task.task_id for task in store.wake()] == ["t1"]
        claim = store.claim("t1", "B", "host:1")
        assert claim is not None
        assert list(claim.mail) == [sent]

    def test_a_waiting_one_is_woken_once(self, store: TaskStore) -> None:
        suspended(store)
        for number in range(3):
            store.send("t1", NewMail("order", str(number)))
        assert store.get("t1").status is Status.QUEUED
        assert kinds(store).count("task.queued") == 2

    def test_mail_that_came_before_it_suspends_is_not_lost(self, store: TaskStore) -> None:
        running(store)
        store.send("t1", NewMail("order", "1"))
        assert store.suspend("t1", "A", NOTHING, Suspension(mail=0)).status is Status.QUEUED
        store.claim("t1", "B", "host:1")
        assert store.suspend("t1", "B", NOTHING, Suspension(mail=1)).status is Status.WAITING
        store.send("t1", NewMail("order", "2"))
        assert store.get("t1").status is Status.QUEUED

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
    def test_an_ended_task_takes_none(self, store: TaskStore, status: Status) -> None:
        ended(store, "t1", status)
        with pytest.raises(Conflict, match=f"{status} already") as caught:
            store.send("t1", APPROVE)
        assert caught.value.status == status
        assert list(store.mailbox("t1")) == []

    def test_an_unknown_task(self, store: TaskStore) -> None:
        for call in (lambda: store.send("no", APPROVE), lambda: store.mailbox("no")):
            with pytest.raises(NotFound):
                call()

    def test_a_key_makes_a_repeat(self, store: TaskStore, clock: Clock) -> None:
        suspended(store)
        mail = NewMail("order", "1", key="k")
        first = store.send("t1", mail)
        store.claim("t1", "B", "host:1")
        clock.advance(1)
        assert store.send("t1", replace(mail, payload="2", name="other")) == (first[0], False)
        assert len(store.mailbox("t1")) == 1
        store.finish("t1", "B", NOTHING, Status.COMPLETED, None, None)
        assert store.send("t1", mail) == (first[0], False), "its first sender may ask again"

    def test_without_a_key_each_is_one_of_its_own(self, store: TaskStore) -> None:
        running(store)
        assert [store.send("t1", NewMail("order", "1"))[0].id for _ in range(3)] == [1, 2, 3]

    def test_once_means_one_answer(self, store: TaskStore, clock: Clock) -> None:
        suspended(store)
        first, _ = store.send("t1", APPROVE)
        clock.advance(1)
        assert store.send("t1", APPROVE) == (first, False)
        for other in (replace(APPROVE, payload='{"approved":false}'), replace(APPROVE, sender="bob")):
            with pytest.raises(Conflict, match="'approve' was answered already by ann"):
                store.send("t1", other)
        assert store.send("t1", replace(APPROVE, name="again"))[1]
        assert [mail.name for mail in store.mailbox("t1")] == ["approve", "again"]

    def test_who_answered_is_not_named_if_nobody_knows(self, store: TaskStore) -> None:
        suspended(store)
        store.send("t1", replace(APPROVE, sender=None))
        with pytest.raises(Conflict, match=r"answered already$"):
            store.send("t1", APPROVE)

    def test_after_its_time_it_comes_too_late(self, store: TaskStore, clock: Clock) -> None:
        suspended(store)
        mail = replace(APPROVE, until=clock() + 5)
        clock.advance(5)
        first, _ = store.send("t1", mail)
        clock.advance(1)
        assert store.send("t1", mail) == (first, False), "a repeat of what came in time"
        with pytest.raises(Conflict, match="waits no longer") as caught:
            store.send("t1", replace(mail, name="other"))
        assert caught.value.status == Status.QUEUED
        assert len(store.mailbox("t1")) == 1

    def test_a_full_mailbox(self, store: TaskStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lifecycle, "MAX_MAIL", 3)
        running(store)
        for number in range(3):
            store.send("t1", NewMail("order", str(number), key=str(number)))
        with pytest.raises(Conflict, match="messages, which is the most it keeps"):
            store.send("t1", NewMail("order", "3"))
        assert not store.send("t1", NewMail("order", "2", key="2"))[1], "a repeat needs no room"
        assert len(store.mailbox("t1")) == 3

    @pytest.mark.parametrize("field", ["name", "payload", "key", "sender"])
    @pytest.mark.parametrize("text", ["\0", "\ud800"])
    def test_what_is_no_text(self, store: TaskStore, field: str, text: str) -> None:
        running(store)
        changes: dict[str, Any] = {field: text}
        with pytest.raises(InvalidInput, match=field):
            store.send("t1", replace(APPROVE, **changes))
        assert list(store.mailbox("t1")) == []

    def test_many_and_large_ones(self, store: TaskStore) -> None:
        running(store)
        payload = '"' + "é" * 1_000_000 + '"'
        store.send("t1", NewMail("order", payload))
        for number in range(500):
            store.send("t1", NewMail("order", str(number)))
        assert [mail.id for mail in store.mailbox("t1", after=490)] == list(range(491, 502))
        assert store.mailbox("t1")[0].payload == payload

    def test_it_goes_with_its_task(self, store: TaskStore, clock: Clock) -> None:
        running(store)
        store.send("t1", replace(APPROVE, key="k"))
        store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        clock.advance(1)
        store.purge(0)
        running(store)
        assert list(store.mailbox("t1")) == []
        assert store.send("t1", replace(APPROVE, key="k", payload="1"))[0].id == 1


class TestRetry:
    def test_mail_for_what_begins_afresh_goes_and_its_number_with_it(self, store: TaskStore) -> None:
        running(store)
        for name in ("approve", "other", "approve[1]"):
            store.send("t1", replace(APPROVE, name=name))
        store.finish("t1", "A", NOTHING, Status.FAILED, None, ERROR)
        store.retry("t1", ["approve", "approve[1]"], 1)
        assert [(mail.id, mail.name) for mail in store.mailbox("t1")] == [(2, "other")]
        assert store.send("t1", replace(APPROVE, payload="2"))[0].id == 4

    def test_what_went_wakes_nobody(self, store: TaskStore) -> None:
        running(store)
        store.send("t1", APPROVE)
        store.finish("t1", "A", NOTHING, Status.FAILED, None, ERROR)
        store.retry("t1", ["approve"], 1)
        claim = store.claim("t1", "B", "host:1")
        assert claim is not None
        assert list(claim.mail) == []
        assert store.suspend("t1", "B", NOTHING, FOREVER).status is Status.WAITING

    def test_a_wait_is_forgotten(self, store: TaskStore) -> None:
        running(store)
        waited = step("approve", StepStatus.FAILED, wait={"kind": "event", "due": 5.0}, winner="x", ran_before=0.0)
        store.finish("t1", "A", Commit(steps=[waited]), Status.FAILED, None, ERROR)
        assert store.step("t1", "approve") == waited
        store.retry("t1", ["approve"], 1)
        record = store.step("t1", "approve")
        assert (record.wait, record.winner, record.ran_before) == (None, None, None)


def test_the_record_of_one_step(store: TaskStore) -> None:
    running(store)
    records = [step("a", output='"x"'), step("b", StepStatus.WAITING, wait={"kind": "time", "due": 1.5})]
    store.commit("t1", "A", Commit(steps=records))
    assert [store.step("t1", path) for path in "ab"] == records
    with pytest.raises(NotFound, match="step"):
        store.step("t1", "c")
    with pytest.raises(NotFound, match="task"):
        store.step("no", "a")
