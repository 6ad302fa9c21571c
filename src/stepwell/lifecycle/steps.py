"""Records of steps: which of them a commit may write, and which a retry begins afresh."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from stepwell.task import StepRecord, StepStatus

_TASK_BLOCKS = ("on_failure/", "on_cancel/", "finally/")
_BEGUN = frozenset({StepStatus.RUNNING, StepStatus.WAITING})
_DONE = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})
_UNDONE = frozenset({StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.RUNNING, StepStatus.WAITING})
_INSIDE = re.compile(r"[/\[]")
_FINAL_BLOCK = re.compile(r"/(?:workflow\.)?(?:on_failure|on_cancel|finally)(?=/)")
_COMPENSATE = re.compile(r"/compensate(?=/)")


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

    These are the steps that failed for good, were cancelled or were left running, the final blocks inside them, and
    the task's own; nothing inside what completed, was skipped or was tolerated. Of a `foreach` that failed these are
    all items that failed, also those that would have been tolerated. Steps that were compensated, and
    further ones named by `paths`, are reset whatever became of them: they, all inside them, and all around them.
    """
    by_path = {record.path: record for record in records}
    chosen = {*(paths or ()), *compensated(records)}
    around = {ancestor for path in chosen for ancestor in ancestors(path)}
    return [
        record.path
        for record in records
        if record.path in around or _is_within(record.path, chosen) or _is_undone(record, by_path, around)
    ]


def compensated(records: Iterable[StepRecord]) -> set[str]:
    """The paths of the steps whose `compensate` was begun."""
    by_path = {record.path: record for record in records}
    return {
        owner
        for path, record in by_path.items()
        if (record.started_at is not None or record.ended) and (owner := _owner(path, _COMPENSATE, by_path))
    }


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
        stopped=None,
        failures=(),
        files={},
        wait=None,
        winner=None,
        ran_before=None,
    )


def ancestors(path: str) -> Iterator[str]:
    """The paths around a step, from the outermost: `a`, `a/b`, `a/b[3]` for `a/b[3]/c`."""
    return (path[: found.start()] for found in _INSIDE.finditer(path))


def _owner(path: str, block: re.Pattern[str], by_path: Mapping[str, StepRecord]) -> str | None:
    """The step whose block a path lies in, if it does; a step that is itself called like a block has a record."""
    starts = ((found.start(), found.end()) for found in block.finditer(path))
    return next((path[:start] for start, end in starts if path[:start] in by_path and path[:end] not in by_path), None)


def _is_within(path: str, chosen: set[str]) -> bool:
    return path in chosen or not chosen.isdisjoint(ancestors(path))


def _is_undone(record: StepRecord, by_path: Mapping[str, StepRecord], again: Collection[str]) -> bool:
    """Whether it is to be done still; what is inside of steps that are begun `again` anyway is no longer settled."""
    if record.path.startswith(_TASK_BLOCKS):
        return True
    if (owner := _owner(record.path, _FINAL_BLOCK, by_path)) is not None:
        return _is_undone(by_path[owner], by_path, again)
    around = [by_path[path] for path in ancestors(record.path) if path in by_path and path not in again]
    if any(_is_settled(outer, by_path, again) for outer in around):
        return False
    return record.status in _UNDONE and not _is_settled(record, by_path, again)


def _is_settled(record: StepRecord, by_path: Mapping[str, StepRecord], again: Collection[str]) -> bool:
    """Whether what came of it stands: it is done, or its failure was accepted; that of an item is not any more if all
    items together failed."""
    if record.status in _DONE or not record.tolerated:
        return record.status in _DONE
    whole = by_path.get(record.path.rpartition("[")[0]) if record.path.endswith("]") else None
    return whole is None or not _is_undone(whole, by_path, again)
