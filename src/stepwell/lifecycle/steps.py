"""Records of steps: which of them a commit may write, and which a retry begins afresh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from stepwell.task import StepRecord, StepStatus

_TASK_BLOCKS = ("on_failure/", "on_cancel/", "finally/")
_BEGUN = frozenset({StepStatus.RUNNING, StepStatus.WAITING})
_DONE = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
_UNDONE = frozenset({StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.RUNNING, StepStatus.WAITING})
_INSIDE = re.compile(r"[/\[]")


def allowed(records: Sequence[StepRecord], cancelled: bool, undoing: bool) -> Sequence[StepRecord]:
    """The records of a commit that are written, the last one of each path.

    After a cancel was requested no step is announced, unless to undo.
    """
    if cancelled and not undoing:
        records = [record for record in records if record.status not in _BEGUN]
    by_path = {record.path: record for record in records}
    return records if len(by_path) == len(records) else list(by_path.values())


def to_reset(records: Sequence[StepRecord], paths: Iterable[str] | None = None) -> list[str]:
    """The paths of the records that a retry begins afresh.

    These are the steps that failed for good, were cancelled or were left running, the failure blocks inside
    them, and the task's own final blocks; nothing inside what completed, was skipped or was tolerated. `paths`
    names further steps: they, all inside them, and all around them are reset whatever became of them.
    """
    chosen = set(paths or ())
    around = {ancestor for path in chosen for ancestor in ancestors(path)}
    by_path = {record.path: record for record in records}
    return [
        record.path
        for record in records
        if record.path in around or _is_within(record.path, chosen) or _is_undone(record, by_path)
    ]


def reset(record: StepRecord) -> StepRecord:
    """The record as before its first try; attempts and history are kept."""
    return replace(
        record,
        status=StepStatus.PENDING,
        tries=0,
        started_at=None,
        inputs=None,
        completed_at=None,
        output=None,
        error=None,
        tolerated=False,
        failures=(),
        files={},
        wait=None,
        winner=None,
        ran_before=None,
    )


def ancestors(path: str) -> Iterator[str]:
    """The paths around a step, from the outermost: `a`, `a/b`, `a/b[3]` for `a/b[3]/c`."""
    return (path[: found.start()] for found in _INSIDE.finditer(path))


def _is_within(path: str, chosen: set[str]) -> bool:
    return path in chosen or not chosen.isdisjoint(ancestors(path))


def _is_undone(record: StepRecord, by_path: Mapping[str, StepRecord]) -> bool:
    if record.path.startswith(_TASK_BLOCKS):
        return True
    owner, block, _ = record.path.partition("/on_failure/")
    if block:
        return owner in by_path and _is_undone(by_path[owner], by_path)
    around = [by_path[path] for path in ancestors(record.path) if path in by_path]
    if any(outer.status in _DONE or outer.tolerated for outer in around):
        return False
    return record.status in _UNDONE and not record.tolerated
