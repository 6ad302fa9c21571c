"""The state machine of tasks and steps, as pure functions that every store applies: record in, record out.

A store reads a `Task`, asks one function here what it becomes, and writes the answer together with
`task_events` and `count_changes` of the pair (before, after), in one transaction.
"""

from stepwell.lifecycle.counts import COUNTERS, QUEUED_BY_PRIORITY, count_changes
from stepwell.lifecycle.crews import begins_again, crew_mail, has_place, joined, left, recrewed
from stepwell.lifecycle.events import step_event, task_events
from stepwell.lifecycle.mail import MAX_MAIL, answered, full, listens
from stepwell.lifecycle.pauses import TASK_RETRY_BACKOFF, TASK_RETRY_DELAY, TASK_RETRY_MAX_DELAY, pause_before
from stepwell.lifecycle.steps import allowed, ancestors, compensated, reset, to_reset
from stepwell.lifecycle.tables import STEP_MOVES, TASK_MOVES, move, move_step
from stepwell.lifecycle.tasks import (
    CRASH_DELAY,
    MAX_CRASHES,
    backed_off,
    cancelled,
    committed,
    created,
    discarded,
    disowned,
    finished,
    handed_back,
    lost,
    retried,
    same_request,
    started,
    suspended,
    woken,
)

__all__ = [
    "COUNTERS",
    "CRASH_DELAY",
    "MAX_CRASHES",
    "MAX_MAIL",
    "QUEUED_BY_PRIORITY",
    "STEP_MOVES",
    "TASK_MOVES",
    "TASK_RETRY_BACKOFF",
    "TASK_RETRY_DELAY",
    "TASK_RETRY_MAX_DELAY",
    "allowed",
    "ancestors",
    "answered",
    "backed_off",
    "begins_again",
    "cancelled",
    "committed",
    "compensated",
    "count_changes",
    "created",
    "crew_mail",
    "discarded",
    "disowned",
    "finished",
    "full",
    "handed_back",
    "has_place",
    "joined",
    "left",
    "listens",
    "lost",
    "move",
    "move_step",
    "pause_before",
    "recrewed",
    "reset",
    "retried",
    "same_request",
    "started",
    "step_event",
    "suspended",
    "task_events",
    "to_reset",
    "woken",
]
