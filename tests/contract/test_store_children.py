"""Children of a task: made once, so many at once, counted as a crew, and gone with their root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.building import (
    ERROR,
    NOTHING,
    all_pages,
    child,
    crew_of,
    ended,
    finish,
    keeping,
    kinds,
    new,
    running,
    step,
)

from stepwell import lifecycle
from stepwell.errors import ClaimLost, Conflict, InvalidInput, NotFound
from stepwell.ports import Commit, Lease, Purged, Suspension, TaskFilter, TaskStore
from stepwell.stores import records
from stepwell.task import Crew, Mail, NewTask, Status, StepStatus, Task

if TYPE_CHECKING:
    from tests.contract.conftest import Clock

CHILDREN = TaskFilter(parent="t1")
OVER = lifecycle.crew_mail("each")


def spawn(store: TaskStore, crew: Crew, children: list[NewTask], token: str = "A") -> Crew:
    return store.spawn("t1", token, "each", crew, children)


def family(store: TaskStore, total: int, **changes: Any) -> list[str]:
    """A running `t1` with children in a crew; answers their ids."""
    running(store)
    children = [child(index) for index in range(total)]
    spawn(store, crew_of(total, **changes), children)
    return [one.task_id for one in children]


def states(store: TaskStore) -> str:
    """The first letters of the states of all children, in their order."""
    return "".join(task.status[0] for task in store.list(CHILDREN, limit=1000).items)


def told(store: TaskStore) -> list[str]:
    """Of which rounds the parent was told that they are over."""
    return [mail.payload for mail in store.mailbox("t1") if mail.name == OVER]


class TestSpawn:
    def test_children_are_tasks_of_their_own(self, store: TaskStore) -> None:
        running(store)
        large = '"' + "x" * 100_000 + '"'
        asked = child(3, part=True, undoing=True, variables=large, queue="other", priority=2, labels={"a": "1"})
        crew = spawn(store, crew_of(1), [asked])
        assert crew == Crew(1, 1, 0, 1, active=1) == store.crew("t1", "each")
        task = store.get(asked.task_id)
        assert (task.ancestors, task.parent, task.place, task.index) == (("t1",), "t1", "each", 3)
        assert (task.part, task.undoing, task.attempt, task.status) == (True, True, 1, Status.QUEUED)
        assert (task.queue, task.priority, task.labels) == ("other", 2, {"a": "1"})
        assert store.value(task.task_id, "variables") == large
        assert kinds(store, task.task_id) == ["task.created", "task.queued"]
        assert store.counts()["other"]["queued"] == 1
        claim = store.claim(task.task_id, "B", "host:2")
        assert claim is not None
        assert (claim.definition_text, claim.task.ancestors) == ("steps: []", ("t1",))

    def test_only_so_many_at_once_in_order_of_their_indices(self, store: TaskStore) -> None:
        ids = family(store, 5, at_once=2)
        assert states(store) == "qqppp"
        assert kinds(store, ids[2]) == ["task.created"]
        finish(store, ids[1])
        assert states(store) == "qcqpp"
        assert kinds(store, ids[2]) == ["task.created", "task.queued"]
        finish(store, ids[2])
        finish(store, ids[0])
        assert states(store) == "cccqq"
        assert store.crew("t1", "each") == Crew(5, 2, 0, 5, active=2, completed=3)

    def test_held_children_are_not_woken_by_time(self, store: TaskStore, clock: Clock) -> None:
        family(store, 2, at_once=1)
        clock.advance(1e6)
        assert store.due_in() is None
        assert store.wake() == []
        assert states(store) == "qp"

    def test_a_repeat_makes_nothing_twice(self, store: TaskStore) -> None:
        ids = family(store, 3, at_once=2)
        assert spawn(store, crew_of(3, at_once=2), [child(index) for index in range(3)]).active == 2
        finish(store, ids[0])
        assert spawn(store, crew_of(3, at_once=2), [child(index) for index in range(3)]).completed == 1
        assert states(store) == "cqq"

    def test_in_batches(self, store: TaskStore) -> None:
        running(store)
        crew = crew_of(7, at_once=5)
        for begin in range(0, 7, 3):
            answer = spawn(store, crew, [child(index) for index in range(begin, min(7, begin + 3))])
        assert answer == Crew(7, 5, 0, 7, active=5)
        assert states(store) == "qqqqqpp"

    def test_a_crew_is_over_only_when_all_were_made(self, store: TaskStore) -> None:
        running(store)
        spawn(store, crew_of(2), [child(0)])
        finish(store, "each-0000")
        assert not store.crew("t1", "each").over
        spawn(store, crew_of(2), [child(1)])
        finish(store, "each-0001")
        assert store.crew("t1", "each").over
        assert told(store) == ["1"]

    def test_nobody_at_all(self, store: TaskStore) -> None:
        running(store)
        assert spawn(store, crew_of(0), []).over
        assert spawn(store, crew_of(0), []).over
        assert told(store) == ["1"]

    def test_a_thousand_at_once(self, store: TaskStore) -> None:
        family(store, 1000, at_once=10)
        counts = store.counts()["line"]
        assert (counts["queued"], counts["pending"]) == (10, 990)

    def test_only_who_holds_the_parent_may(self, store: TaskStore) -> None:
        running(store)
        with pytest.raises(ClaimLost):
            spawn(store, crew_of(1), [child()], token="B")
        with pytest.raises(NotFound):
            store.crew("t1", "each")
        with pytest.raises(NotFound):
            store.get("each-0000")
        with pytest.raises(InvalidInput):
            spawn(store, crew_of(1), [child(external_id="\0")])

    @pytest.mark.parametrize("undoing", [False, True])
    def test_after_a_cancel_only_what_undoes_is_made(self, store: TaskStore, undoing: bool) -> None:
        running(store)
        store.cancel("t1", force=True)
        assert spawn(store, crew_of(1), [child(undoing=undoing)]).active == undoing
        assert states(store) == ("q" if undoing else "")

    def test_each_step_has_its_own_crew(self, store: TaskStore) -> None:
        running(store)
        store.spawn("t1", "A", "a", crew_of(1), [child(0, "a")])
        store.spawn("t1", "A", "b", crew_of(2), [child(0, "b"), child(1, "b")])
        finish(store, "a-0000")
        assert (store.crew("t1", "a").over, store.crew("t1", "b").completed) == (True, 0)
        assert [mail.name for mail in store.mailbox("t1")] == [lifecycle.crew_mail("a")]
        with pytest.raises(NotFound, match="crew"):
            store.crew("t1", "c")
        with pytest.raises(NotFound, match="task"):
            store.crew("no", "a")


class TestEnds:
    """A crew learns of every end of a child, whatever brought it about."""

    def test_the_parent_is_told_once_and_woken(self, store: TaskStore, clock: Clock) -> None:
        ids = family(store, 2)
        store.suspend("t1", "A", NOTHING, Suspension())
        clock.advance(1)
        finish(store, ids[0])
        assert store.get("t1").status is Status.WAITING
        finish(store, ids[1])
        assert store.get("t1").status is Status.QUEUED
        assert list(store.mailbox("t1")) == [Mail(1, OVER, "1", clock())]
        assert kinds(store)[-2:] == ["task.waiting", "task.queued"]

    def test_a_parent_that_pauses_before_a_retry_is_told_and_not_woken(self, store: TaskStore, clock: Clock) -> None:
        [only] = family(store, 1)
        store.back_off("t1", "A", NOTHING, 5, ERROR)
        finish(store, only)
        assert (told(store), store.get("t1").status, store.due_in()) == (["1"], Status.WAITING, 5)
        clock.advance(5)
        assert [task.task_id for task in store.wake()] == ["t1"]

    def test_a_parent_that_suspends_afterwards_goes_on_at_once(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        finish(store, only)
        assert store.suspend("t1", "A", NOTHING, Suspension()).status is Status.QUEUED

    def test_a_repeated_finish_counts_once(self, store: TaskStore) -> None:
        ids = family(store, 2)
        finish(store, ids[0])
        store.finish(ids[0], "A", NOTHING, Status.COMPLETED, None, None)
        assert store.crew("t1", "each") == Crew(2, 2, 0, 2, active=1, completed=1)

    @pytest.mark.parametrize("way", ["finish", "cancel", "forced cancel", "lost", "reaped"])
    def test_a_failure_closes_it(self, store: TaskStore, clock: Clock, way: str) -> None:
        ids = family(store, 3, at_once=2)
        _end_badly(store, clock, ids[0], way)
        assert store.crew("t1", "each") == Crew(3, 2, 0, 3, active=1, failed=1, closed=True)
        assert states(store)[1:] == "qp"
        assert told(store) == []
        finish(store, ids[1])
        assert states(store)[1:] == "cp"
        assert told(store) == ["1"]

    def test_more_failures_may_be_allowed(self, store: TaskStore) -> None:
        ids = family(store, 4, at_once=1, allowed=1)
        finish(store, ids[0], Status.FAILED)
        assert states(store) == "fqpp"
        finish(store, ids[1], Status.FAILED)
        assert (states(store), told(store)) == ("ffpp", ["1"])

    def test_enough_completed_ones_close_it(self, store: TaskStore) -> None:
        ids = family(store, 5, at_once=2, wanted=2, allowed=5)
        finish(store, ids[0])
        finish(store, ids[1], Status.FAILED)
        finish(store, ids[2])
        assert store.crew("t1", "each").closed
        assert states(store) == "cfcqp"
        finish(store, ids[3])
        assert (states(store), told(store)) == ("cfccp", ["1"])

    def test_a_closed_crew_takes_no_further_children(self, store: TaskStore) -> None:
        running(store)
        spawn(store, crew_of(2), [child(0)])
        finish(store, "each-0000", Status.FAILED)
        assert spawn(store, crew_of(2), [child(1)]) == Crew(2, 2, 0, 2, failed=1, closed=True)
        assert states(store) == "f"
        assert told(store) == ["1"]

    @pytest.mark.parametrize("call", ["back_off", "suspend", "release"])
    def test_a_child_that_waits_keeps_its_place(self, store: TaskStore, clock: Clock, call: str) -> None:
        ids = family(store, 2, at_once=1)
        store.claim(ids[0], "B", "host:2")
        if call == "back_off":
            store.back_off(ids[0], "B", NOTHING, 5, ERROR)
        elif call == "suspend":
            store.suspend(ids[0], "B", NOTHING, Suspension(due=clock() + 5))
        else:
            store.release(ids[0], "B", NOTHING, 5)
        assert states(store) == "wp"
        clock.advance(5)
        assert [task.task_id for task in store.wake()] == [ids[0]]
        assert store.crew("t1", "each").active == 1

    def test_no_child_is_a_dead_letter(self, store: TaskStore, clock: Clock) -> None:
        ids = family(store, 2, allowed=2)
        assert not finish(store, ids[0], Status.FAILED).dead
        _end_badly(store, clock, ids[1], "lost")
        assert store.get(ids[1]).error is not None
        assert store.list(TaskFilter(dead=True)).items == []
        assert store.counts()["line"]["dead"] == 0

    def test_grandchildren_tell_their_parent(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        store.claim(only, "B", "host:1")
        store.spawn(only, "B", "deep", crew_of(1), [child(0, "deep", ancestors=("t1", only))])
        store.suspend(only, "B", NOTHING, Suspension())
        finish(store, "deep-0000")
        assert store.get(only).status is Status.QUEUED
        assert [mail.name for mail in store.mailbox(only)] == [lifecycle.crew_mail("deep")]
        assert list(store.mailbox("t1")) == []


class TestRounds:
    """A step that is begun afresh: what has completed stays, the others are tried again."""

    def failed_round(self, store: TaskStore) -> list[str]:
        ids = family(store, 5, at_once=3)
        finish(store, ids[0])
        store.cancel(ids[1])
        finish(store, ids[2], Status.FAILED)
        finish(store, ids[3])
        store.cancel_children("t1")
        assert states(store) == "ccfcc"
        assert [store.get(id_).status for id_ in (ids[1], ids[4])] == [Status.CANCELLED] * 2
        return ids

    def test_what_did_not_complete_is_tried_again(self, store: TaskStore) -> None:
        ids = self.failed_round(store)
        assert told(store) == ["1"]
        crew = spawn(store, crew_of(5, at_once=2, round=2), [child(index, attempt=2) for index in range(5)])
        assert crew == Crew(5, 2, 0, 5, round=2, active=2, completed=2)
        assert states(store) == "cqqcp"
        assert [store.get(id_).attempt for id_ in ids] == [1, 2, 2, 1, 2]
        assert kinds(store, ids[2])[-2:] == ["task.retried", "task.queued"]
        assert kinds(store, ids[4])[-1] == "task.retried"
        for id_ in (ids[1], ids[2], ids[4]):
            finish(store, id_, token="B")
        assert told(store) == ["1", "2"]
        assert store.crew("t1", "each") == Crew(5, 2, 0, 5, round=2, completed=5, closed=True)

    def test_a_repeat_within_a_round_tries_nothing_again(self, store: TaskStore) -> None:
        ids = self.failed_round(store)
        for _ in range(2):
            spawn(store, crew_of(5, round=2, allowed=5), [child(index, attempt=2) for index in range(5)])
            if store.get(ids[1]).status is Status.QUEUED:
                finish(store, ids[1], Status.FAILED, token="B")
        assert states(store) == "cfqcq"
        assert store.crew("t1", "each").failed == 1

    def test_an_earlier_round_changes_nothing(self, store: TaskStore) -> None:
        self.failed_round(store)
        children = [child(index, attempt=2) for index in range(5)]
        crew = spawn(store, crew_of(5, round=2), children)
        assert spawn(store, crew_of(5, at_once=9), []) == crew

    def test_held_children_of_an_earlier_round_get_their_turn(self, store: TaskStore) -> None:
        ids = family(store, 3, at_once=1)
        finish(store, ids[0], Status.FAILED)
        assert states(store) == "fpp"
        spawn(store, crew_of(3, round=2, at_once=2), [child(index, attempt=2) for index in range(3)])
        assert states(store) == "pqq"
        finish(store, ids[1])
        assert states(store) == "qcq"

    def test_a_round_of_which_all_is_done(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        finish(store, only)
        assert spawn(store, crew_of(1, round=2), [child(0, attempt=2)]).over
        assert (states(store), told(store)) == ("c", ["1", "2"])

    def test_its_retries_its_error_and_its_outputs_are_gone(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        store.claim(only, "B", "host:1")
        large = '"' + "x" * 100_000 + '"'
        store.finish(only, "B", Commit(steps=[step()]), Status.FAILED, large, ERROR)
        spawn(store, crew_of(1, round=2), [child(0, attempt=2)])
        task = store.get(only)
        assert (task.error, task.outputs, task.completed_at, task.retry_count) == (None, None, None, 0)
        with pytest.raises(NotFound):
            store.value(only, "outputs")
        assert [record.status for record in store.steps(only).items] == [StepStatus.COMPLETED]

    @pytest.mark.parametrize("ending", [Status.FAILED, Status.CANCELLED])
    def test_it_takes_what_it_is_given_now(self, store: TaskStore, ending: Status) -> None:
        running(store)
        first: dict[str, Any] = {
            "definition": "old",
            "definition_text": "old text",
            "labels": {"a": "\u00e9"},
            "timeout": 7.5,
        }
        given: dict[str, Any] = {
            "definition": "new",
            "definition_text": "new text",
            "labels": {"a": "b"},
            "timeout": 8.5,
        }
        large, small = '"' + "x" * 100_000 + '"', '"\\ud800 \u00e9"'
        again = [child(0, attempt=2, variables=large, undo=True, files=("kept",), **given)]
        spawn(store, crew_of(1), [child(0, variables=small, files=("before",), **first)])
        before = finish(store, "each-0000", ending)
        spawn(store, crew_of(1, round=2), again)
        task = store.get("each-0000")
        assert (task.status, task.attempt, task.definition, task.undo) == (Status.QUEUED, 2, "new", True)
        assert (task.labels, task.timeout) == (before.labels, before.timeout)
        assert store.value("each-0000", "variables") == large
        assert store.unused(["before", "kept"]) == []
        claim = store.claim("each-0000", "C", "host:1")
        assert claim is not None
        assert (claim.task.variables, claim.definition_text) == (task.variables, "new text")
        store.finish("each-0000", "C", NOTHING, ending, None, None)
        spawn(store, crew_of(1, round=3), [child(0, attempt=3, variables=small, **given)])
        assert store.get("each-0000").variables == small
        assert not store.get("each-0000").undo
        with pytest.raises(NotFound):
            store.value("each-0000", "variables")

    def test_one_that_is_not_begun_again_keeps_what_it_has(self, store: TaskStore) -> None:
        running(store)
        given: dict[str, Any] = {"variables": '"1"', "definition": "old", "definition_text": "old text"}
        spawn(store, crew_of(2, allowed=2), [child(index, **given) for index in range(2)])
        finish(store, "each-0000")
        before = store.list(CHILDREN).items
        again: dict[str, Any] = {"variables": '"2"', "definition": "new", "definition_text": "new text"}
        spawn(store, crew_of(2, round=2), [child(index, attempt=2, **again) for index in range(2)])
        assert store.list(CHILDREN).items == before

    def test_a_child_is_not_retried_by_hand(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        finish(store, only, Status.FAILED)
        with pytest.raises(Conflict, match="t1"):
            store.retry(only, [], 1)
        assert store.get(only).status is Status.FAILED


class TestCancel:
    def test_all_that_have_not_ended(self, store: TaskStore, clock: Clock) -> None:
        ids = family(store, 6, at_once=4)
        finish(store, ids[0])
        store.claim(ids[1], "B", "host:1")
        store.claim(ids[2], "C", "host:1")
        store.suspend(ids[2], "C", NOTHING, Suspension(due=clock() + 50))
        answer = store.cancel_children("t1", "each")
        assert [task.task_id for task in answer] == ids[1:]
        assert [task.status for task in answer] == [Status.RUNNING, *[Status.CANCELLED] * 4]
        assert [store.get(task.task_id) for task in answer] == list(answer)
        assert answer[0].cancel_requested
        assert store.crew("t1", "each") == Crew(6, 4, 0, 6, active=1, completed=1, failed=4, closed=True)
        assert store.cancel_children("t1") == []
        assert told(store) == []
        store.finish(ids[1], "B", NOTHING, Status.CANCELLED, None, None)
        assert told(store) == ["1"]

    def test_what_has_something_to_undo_is_queued(self, store: TaskStore) -> None:
        running(store)
        spawn(store, crew_of(1), [child(undo=True)])
        store.claim("each-0000", "B", "host:1")
        store.suspend("each-0000", "B", NOTHING, Suspension())
        [task] = store.cancel_children("t1", "each")
        assert (task.status, task.cancel_requested) == (Status.QUEUED, True)
        assert store.cancel_children("t1", "each") == []

    def test_what_is_held_again_was_undone_before(self, store: TaskStore) -> None:
        running(store)
        spawn(store, crew_of(2, at_once=1, allowed=2), [child(index, undo=True) for index in range(2)])
        finish(store, "each-0000", Status.FAILED)
        finish(store, "each-0001", Status.FAILED)
        spawn(store, crew_of(2, at_once=1, round=2), [child(index, undo=True, attempt=2) for index in range(2)])
        assert states(store) == "qp"
        store.cancel_children("t1")
        assert store.get("each-0001").status is Status.CANCELLED

    def test_of_one_step_only(self, store: TaskStore) -> None:
        running(store)
        for place in "abc":
            store.spawn("t1", "A", place, crew_of(1), [child(0, place)])
        assert [task.task_id for task in store.cancel_children("t1", "b")] == ["b-0000"]
        assert not store.crew("t1", "a").closed
        assert [task.task_id for task in store.cancel_children("t1")] == ["a-0000", "c-0000"]
        assert sorted(mail.name for mail in store.mailbox("t1")) == ["crew:a", "crew:b", "crew:c"]

    def test_a_crew_of_which_nothing_was_made_yet_is_over(self, store: TaskStore) -> None:
        running(store)
        spawn(store, crew_of(3), [])
        assert store.cancel_children("t1") == []
        assert store.crew("t1", "each").over
        assert told(store) == ["1"]

    def test_where_there_are_none(self, store: TaskStore) -> None:
        running(store)
        assert store.cancel_children("t1") == store.cancel_children("t1", "each") == []
        with pytest.raises(NotFound):
            store.cancel_children("no")

    def test_many_in_batches(self, store: TaskStore) -> None:
        running(store)
        for begin in (0, 600):
            spawn(store, crew_of(1200, at_once=3), [child(index) for index in range(begin, begin + 600)])
        assert [len(store.cancel_children("t1")) for _ in range(3)] == [1000, 200, 0]
        assert store.counts()["line"]["cancelled"] == 1200
        assert told(store) == ["1"]


class TestDisowned:
    """A child whose ancestor was cancelled or has ended learns it wherever it looks."""

    @pytest.fixture(params=["cancelled", "failed"])
    def orphan(self, request: pytest.FixtureRequest, store: TaskStore) -> str:
        [only] = family(store, 1)
        store.claim(only, "B", "host:2")
        store.spawn(only, "B", "deep", crew_of(1), [child(0, "deep", ancestors=("t1", only))])
        store.claim("deep-0000", "C", "host:3")
        if request.param == "cancelled":
            store.cancel("t1", force=True)
        else:
            store.finish("t1", "A", NOTHING, Status.FAILED, None, ERROR)
        return only

    def test_at_renew(self, store: TaskStore, orphan: str) -> None:
        claims = {orphan: "B", "deep-0000": "C"}
        assert store.renew(claims) == dict.fromkeys(claims, Lease(held=True, cancelled=True))

    def test_at_commit(self, store: TaskStore, orphan: str) -> None:
        for task_id, token in ((orphan, "B"), ("deep-0000", "C")):
            commit = Commit(steps=[step("a"), step("b", StepStatus.RUNNING)])
            assert store.commit(task_id, token, commit).cancelled
            assert [record.path for record in store.steps(task_id).items] == ["a"]

    def test_at_claim(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        store.cancel("t1", force=True)
        claim = store.claim(only, "B", "host:2")
        assert claim is not None
        assert claim.task.cancel_requested
        assert kinds(store, only)[-2:] == ["task.cancel_requested", "task.started"]

    def test_it_does_not_begin_to_wait(self, store: TaskStore, clock: Clock, orphan: str) -> None:
        later = Suspension(due=clock() + 1000)
        assert store.suspend("deep-0000", "C", NOTHING, later).status is Status.QUEUED
        assert store.back_off(orphan, "B", NOTHING, 1000, ERROR).wake_at == clock()

    def test_it_can_end(self, store: TaskStore, orphan: str) -> None:
        store.finish("deep-0000", "C", NOTHING, Status.CANCELLED, None, None)
        assert store.crew(orphan, "deep").over
        store.finish(orphan, "B", NOTHING, Status.CANCELLED, None, None)
        assert store.crew("t1", "each").over

    def test_what_undoes_goes_on_until_its_ancestor_has_ended(self, store: TaskStore) -> None:
        running(store)
        store.cancel("t1", force=True)
        spawn(store, crew_of(1), [child(undoing=True)])
        claim = store.claim("each-0000", "B", "host:1")
        assert claim is not None
        assert not claim.task.cancel_requested
        assert not store.commit("each-0000", "B", NOTHING).cancelled
        store.finish("t1", "A", NOTHING, Status.CANCELLED, None, None)
        assert store.commit("each-0000", "B", NOTHING).cancelled
        assert store.renew({"each-0000": "B"})["each-0000"].cancelled

    def test_others_are_left_alone(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        claim = store.claim(only, "B", "host:2")
        assert claim is not None
        assert not claim.task.cancel_requested
        assert not store.commit(only, "B", NOTHING).cancelled
        assert store.renew({only: "B", "t1": "A"}) == dict.fromkeys((only, "t1"), Lease(held=True))


class TestList:
    def test_roots_are_listed_alone(self, store: TaskStore) -> None:
        family(store, 2)
        store.create(new("t2"))
        assert [task.task_id for task in store.list(TaskFilter()).items] == ["t2", "t1"]
        assert [task.task_id for task in store.list(TaskFilter(queue="line")).items] == ["t2", "t1"]
        assert store.list(TaskFilter(parent="t2")).items == []
        assert store.list(TaskFilter(parent="no")).items == []

    def test_children_by_place_and_index_in_pages(self, store: TaskStore) -> None:
        running(store)
        for place in ("b", "a", "a[0]/x"):
            children = [child(index, place) for index in (11, 2, 100, 0, 10)]
            store.spawn("t1", "A", place, crew_of(5), children)
        pages = all_pages(lambda cursor: store.list(CHILDREN, limit=4, cursor=cursor))
        found = [(task.place, task.index) for page in pages for task in page]
        assert found == [(place, index) for place in ("a", "a[0]/x", "b") for index in (0, 2, 10, 11, 100)]
        assert [len(page) for page in pages] == [4, 4, 4, 3]
        only_b = TaskFilter(parent="t1", place="b")
        pages = all_pages(lambda cursor: store.list(only_b, limit=2, cursor=cursor))
        assert [[task.index for task in page] for page in pages] == [[0, 2], [10, 11], [100]]

    def test_with_other_filters(self, store: TaskStore) -> None:
        ids = family(store, 4, allowed=4)
        finish(store, ids[1])
        finish(store, ids[2], Status.FAILED)
        completed = TaskFilter(parent="t1", status=Status.COMPLETED)
        assert [task.task_id for task in store.list(completed).items] == [ids[1]]
        queued = TaskFilter(parent="t1", place="each", status=Status.QUEUED, queue="line")
        assert [task.task_id for task in store.list(queued).items] == [ids[0], ids[3]]

    def test_grandchildren_belong_to_their_parent(self, store: TaskStore) -> None:
        [only] = family(store, 1)
        store.claim(only, "B", "host:2")
        store.spawn(only, "B", "deep", crew_of(1), [child(0, "deep", ancestors=("t1", only))])
        assert [task.task_id for task in store.list(CHILDREN).items] == [only]
        assert [task.task_id for task in store.list(TaskFilter(parent=only)).items] == ["deep-0000"]

    @pytest.mark.parametrize(
        "cursor", ["no", records.encode_cursor("a"), records.encode_cursor("a", "x", "t"), records.encode_cursor("1")]
    )
    def test_a_cursor_that_no_list_gave(self, store: TaskStore, cursor: str) -> None:
        with pytest.raises(InvalidInput, match="cursor"):
            store.list(CHILDREN, cursor=cursor)


class TestPurge:
    def test_children_go_with_their_root(self, store: TaskStore, clock: Clock) -> None:
        running(store, files=("root-file",))
        spawn(store, crew_of(2), [child(0, files=("child-file",)), child(1, definition="hash-2")])
        store.claim("each-0000", "B", "host:1")
        store.finish("each-0000", "B", Commit(steps=[keeping("a", "kept")]), Status.COMPLETED, None, None)
        finish(store, "each-0001")
        clock.advance(1000)
        assert store.purge(0) == Purged(0, [])
        store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        clock.advance(1)
        assert store.purge(0) == Purged(3, ["child-file", "kept", "root-file"])
        for task_id in ("t1", "each-0000", "each-0001"):
            with pytest.raises(NotFound):
                store.get(task_id)
        for hash_ in ("hash-1", "hash-2"):
            with pytest.raises(NotFound):
                store.definition(hash_)
        assert store.counts()["line"]["completed"] == 0
        running(store)
        with pytest.raises(NotFound):
            store.crew("t1", "each")
        assert store.list(CHILDREN).items == []

    def test_the_root_goes_last(self, store: TaskStore, clock: Clock) -> None:
        for id_ in family(store, 3):
            finish(store, id_)
        store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        clock.advance(1)
        ended(store, "young")
        assert store.purge(0, limit=2).tasks == 2
        assert store.get("t1").status is Status.COMPLETED
        assert len(states(store)) == 1
        assert [store.purge(0, limit=2).tasks, store.purge(0, limit=2).tasks] == [2, 0]
        with pytest.raises(NotFound):
            store.get("t1")

    def test_with_all_that_descend_from_it(self, store: TaskStore, clock: Clock) -> None:
        [only] = family(store, 1)
        store.claim(only, "B", "host:2")
        store.spawn(only, "B", "deep", crew_of(2), [child(n, "deep", ancestors=("t1", only)) for n in range(2)])
        for task_id in ("deep-0000", "deep-0001"):
            finish(store, task_id)
        store.finish(only, "B", NOTHING, Status.COMPLETED, None, None)
        store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        clock.advance(1)
        assert [store.purge(0, limit=3).tasks, store.purge(0, limit=3).tasks] == [3, 1]

    def test_a_child_that_nobody_ended_goes_too(self, store: TaskStore, clock: Clock) -> None:
        family(store, 2, at_once=1)
        store.finish("t1", "A", NOTHING, Status.FAILED, None, ERROR)
        clock.advance(1)
        assert store.purge(0).tasks == 3
        counts = store.counts()["line"]
        assert (counts["queued"], counts["pending"], counts["failed"]) == (0, 0, 0)
        assert store.queued(0) == []


def _end_badly(store: TaskStore, clock: Clock, task_id: str, way: str) -> Task:
    """A queued child ends without success, in one of the ways that there are."""
    if way == "cancel":
        return store.cancel(task_id)
    if way == "finish":
        return finish(store, task_id, Status.FAILED)
    if way == "forced cancel":
        store.claim(task_id, "B", "host:2")
        store.cancel(task_id, force=True)
        return store.finish(task_id, "B", NOTHING, Status.CANCELLED, None, None)
    for number in range(lifecycle.MAX_CRASHES):
        clock.advance(100)
        store.renew({"t1": "A"})
        store.wake()
        assert store.claim(task_id, f"B{number}", "host:2") is not None
        if way == "reaped":
            clock.advance(100)
            store.renew({"t1": "A"})
            store.reap()
        else:
            store.lose("host:2")
    assert store.get(task_id).status is Status.FAILED
    return store.get(task_id)
