"""Children, crews and mail: when a child is disowned, who has a place, when a crew is over, and what is a repeat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stepwell import lifecycle
from stepwell.errors import Conflict
from stepwell.task import Crew, Mail, NewMail, NewTask, Status, Task

PENDING, QUEUED, RUNNING, WAITING = Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING
COMPLETED, FAILED, CANCELLED = Status.COMPLETED, Status.FAILED, Status.CANCELLED


def task(status: Status = QUEUED, **changes: Any) -> Task:
    new = NewTask("t1", "w", "h", "text", "line", 1, "{}", timeout=60, max_retries=3)
    return replace(lifecycle.created(new, 100.0), status=status, **changes)


def test_no_child_is_a_dead_letter() -> None:
    child = task(RUNNING, ancestors=("root",), crashes=2)
    assert not lifecycle.finished(child, 110, 5, FAILED, None, None).dead
    lost = lifecycle.lost(child, 110, 5)
    assert (lost.status, lost.dead) == (FAILED, False)


def test_a_child_that_is_made() -> None:
    new = NewTask(
        "c", "w", "h", "text", "line", 1, "{}", timeout=60, max_retries=0,
        ancestors=("r", "p"), place="each", index=3, part=True, undoing=True, attempt=2,
    )  # fmt: skip
    made = lifecycle.created(new, 100.0)
    assert (made.status, made.parent, made.attempt) == (QUEUED, "p", 2)
    assert (made.place, made.index, made.part, made.undoing) == ("each", 3, True, True)
    held = lifecycle.created(new, 100.0, held=True)
    assert held == replace(made, status=PENDING)
    assert held.wake_at is None


@pytest.mark.parametrize(
    ("ancestor", "undoing", "disowned"),
    [
        ({}, False, False),
        ({"status": WAITING}, False, False),
        ({"cancel_requested": True}, False, True),
        ({"cancel_requested": True}, True, False),
        ({"status": COMPLETED}, False, True),
        ({"status": CANCELLED}, True, True),
    ],
)
def test_who_has_lost_an_ancestor_is_to_be_cancelled(ancestor: dict[str, Any], undoing: bool, disowned: bool) -> None:
    around = [replace(task(RUNNING), **ancestor), task(RUNNING)]
    for order in (around, around[::-1]):
        assert lifecycle.disowned(task(RUNNING, undoing=undoing), order).cancel_requested == disowned
    assert not lifecycle.disowned(task(COMPLETED), around).cancel_requested


class TestCrews:
    """Places, and the end of a crew."""

    CREW = Crew(total=4, at_once=2, allowed=1, wanted=3)

    def test_a_new_one_counts_from_nothing(self) -> None:
        wanted = replace(self.CREW, active=9, completed=9, failed=9, closed=True)
        assert lifecycle.recrewed(None, wanted) == self.CREW
        assert lifecycle.recrewed(None, replace(self.CREW, wanted=0)).closed

    @pytest.mark.parametrize("round_", [1, 2])
    def test_the_same_or_an_earlier_round_changes_nothing(self, round_: int) -> None:
        before = replace(self.CREW, round=2, active=1, failed=1)
        assert lifecycle.recrewed(before, replace(self.CREW, round=round_, total=9)) == before

    def test_in_a_later_round_what_has_completed_counts(self) -> None:
        before = replace(self.CREW, active=1, completed=2, failed=2, closed=True)
        wanted = replace(self.CREW, round=2, total=9, allowed=0)
        assert lifecycle.recrewed(before, wanted) == replace(wanted, active=1, completed=2)
        assert lifecycle.recrewed(replace(before, completed=3), wanted).closed

    def test_places(self) -> None:
        one = lifecycle.joined(self.CREW)
        assert (one.active, lifecycle.has_place(one), lifecycle.has_place(lifecycle.joined(one))) == (1, True, False)
        assert not lifecycle.has_place(replace(one, closed=True))

    @pytest.mark.parametrize("before", [QUEUED, RUNNING, WAITING, PENDING])
    @pytest.mark.parametrize("after", [COMPLETED, FAILED, CANCELLED])
    def test_an_end(self, before: Status, after: Status) -> None:
        crew = lifecycle.left(replace(self.CREW, active=2), task(before), task(after))
        assert crew.active == (2 if before is PENDING else 1)
        assert (crew.completed, crew.failed) == ((1, 0) if after is COMPLETED else (0, 1))
        assert not crew.closed

    @pytest.mark.parametrize(
        ("crew", "end", "closed"),
        [
            ({"failed": 1}, FAILED, True),
            ({"failed": 1}, COMPLETED, False),
            ({"completed": 2}, COMPLETED, True),
            ({"completed": 2}, CANCELLED, False),
            ({"closed": True}, COMPLETED, True),
        ],
    )
    def test_what_closes_it(self, crew: dict[str, Any], end: Status, closed: bool) -> None:
        assert lifecycle.left(replace(self.CREW, active=1, **crew), task(RUNNING), task(end)).closed == closed

    @pytest.mark.parametrize(
        ("crew", "over"),
        [
            ({}, False),
            ({"completed": 3, "failed": 1}, True),
            ({"completed": 2, "failed": 1}, False),
            ({"closed": True}, True),
            ({"closed": True, "active": 1}, False),
            ({"total": 0}, True),
        ],
    )
    def test_when_it_is_over(self, crew: dict[str, Any], over: bool) -> None:
        assert replace(self.CREW, **crew).over == over

    @pytest.mark.parametrize(
        ("status", "attempt", "again"),
        [(FAILED, 1, True), (CANCELLED, 1, True), (FAILED, 2, False), (COMPLETED, 1, False), (RUNNING, 1, False)],
    )
    def test_who_is_tried_again(self, status: Status, attempt: int, again: bool) -> None:
        new = NewTask("c", "w", "h", "text", "line", 1, "{}", timeout=60, max_retries=0, attempt=2)
        assert lifecycle.begins_again(task(status, attempt=attempt), new) == again

    def test_the_mail_of_its_end_is_named_after_the_step(self) -> None:
        assert lifecycle.crew_mail("group/each") == "crew:group/each"


class TestMail:
    """What a task takes, and what is a repeat."""

    OLD = Mail(1, "approve", "1", 100.0, "ann", "k")

    @pytest.mark.parametrize(
        "new",
        [
            NewMail("other", "2", key="k"),
            NewMail("approve", "1", "ann", once=True),
            NewMail("approve", "2", "bob", key="k", once=True),
        ],
    )
    @pytest.mark.parametrize("status", [RUNNING, COMPLETED])
    def test_a_repeat(self, new: NewMail, status: Status) -> None:
        assert lifecycle.answered(task(status), replace(new, until=1.0), [self.OLD], 110) is self.OLD

    @pytest.mark.parametrize("new", [NewMail("approve", "2", "ann", once=True), NewMail("approve", "1", once=True)])
    def test_another_answer(self, new: NewMail) -> None:
        with pytest.raises(Conflict, match="'approve' was answered already by ann"):
            lifecycle.answered(task(RUNNING), new, [self.OLD], 110)

    @pytest.mark.parametrize(
        "new",
        [NewMail("approve", "1", "ann"), NewMail("other", "1", "ann", once=True), NewMail("approve", "1", key="l")],
    )
    def test_what_is_new(self, new: NewMail) -> None:
        assert lifecycle.answered(task(WAITING), new, [self.OLD], 110) is None

    def test_what_comes_too_late(self) -> None:
        new = NewMail("approve", "1", until=110.0)
        assert lifecycle.answered(task(WAITING), new, [], 110) is None
        with pytest.raises(Conflict, match="time limit is over") as caught:
            lifecycle.answered(task(WAITING), new, [], 110.1)
        assert caught.value.status == WAITING
        with pytest.raises(Conflict, match="completed already"):
            lifecycle.answered(task(COMPLETED), new, [], 110)

    def test_a_full_mailbox(self) -> None:
        assert lifecycle.full(task(WAITING)).status == WAITING
