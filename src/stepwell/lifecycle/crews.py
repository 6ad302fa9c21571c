"""Crews: the child tasks of one step, as a whole. What a crew becomes when one of them starts or ends."""

from __future__ import annotations

from dataclasses import replace

from stepwell.task import Crew, NewTask, Status, Task


def recrewed(before: Crew | None, wanted: Crew) -> Crew:
    """The crew of a step for a call of `spawn`: a new one, the same, or in a later round the same begun again, in which
    only what has completed counts."""
    if before is None:
        return replace(wanted, active=0, completed=0, failed=0, closed=wanted.wanted == 0)
    if wanted.round <= before.round:
        return before
    done = before.completed
    return replace(wanted, active=before.active, completed=done, failed=0, closed=done >= wanted.wanted)


def has_place(crew: Crew) -> bool:
    """Whether another child may be queued; else it is held, as `pending`, or in a closed crew not made at all."""
    return not crew.closed and crew.active < crew.at_once


def joined(crew: Crew) -> Crew:
    """A child was queued."""
    return replace(crew, active=crew.active + 1)


def left(crew: Crew, before: Task, after: Task) -> Crew:
    """A child has ended; one that was held had taken no place."""
    completed = crew.completed + (after.status is Status.COMPLETED)
    failed = crew.failed + (after.status is not Status.COMPLETED)
    closed = crew.closed or failed > crew.allowed or completed >= crew.wanted
    active = crew.active - (before.status is not Status.PENDING)
    return replace(crew, active=active, completed=completed, failed=failed, closed=closed)


def begins_again(child: Task, new: NewTask) -> bool:
    """Whether a child that exists is retried in this round."""
    return child.ended and child.status is not Status.COMPLETED and child.attempt < new.attempt


def crew_mail(path: str) -> str:
    """The name of the mail that tells a parent that the crew of a step is over; its payload is the round."""
    return f"crew:{path}"
