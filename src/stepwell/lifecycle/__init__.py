"""The state machine of tasks and steps, as pure functions that every store applies: record in, record out.

A store reads a `Task`, asks one function here what it becomes, and writes the answer together with
`task_events` and `count_changes` of the pair (before, after), in one transaction.
"""

from stepwell.lifecycle.counts import COUNTERS, QUEUED_BY_PRIORITY, count_changes
from stepwell.lifecycle.events import step_event, task_events
from stepwell.lifecycle.pauses import TASK_RETRY_BACKOFF, TASK_RETRY_DELAY, TASK_RETRY_MAX_DELAY, pause_before
from stepwell.lifecycle.steps import allowed, ancestors, reset, to_reset
from stepwell.lifecycle.tables import STEP_MOVES, TASK_MOVES, move, move_step
from stepwell.lifecycle.tasks import (
    CRASH_DELAY,
    MAX_CRASHES,
    cancelled,
    committed,
    created,
    discarded,
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
    "QUEUED_BY_PRIORITY",
    "STEP_MOVES",
    "TASK_MOVES",
    "TASK_RETRY_BACKOFF",
    "TASK_RETRY_DELAY",
    "TASK_RETRY_MAX_DELAY",
    "allowed",
    "ancestors",
    "cancelled",
    "committed",
    "count_changes",
    "created",
    "discarded",
    "finished",
    "handed_back",
    "lost",
    "move",
    "move_step",
    "pause_before",
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
