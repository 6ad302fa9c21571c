"""What the scripts are given: requests, commits, endings and filters as words, in the order in which Lua reads them.

A list of words begins with their number; words of one argument have NULs between them.
"""

from __future__ import annotations

from collections.abc import Sequence

from stepwell import lifecycle
from stepwell.ports import Commit, TaskFilter
from stepwell.stores import records
from stepwell.stores.redis import forms
from stepwell.task import FORMAT, Apart, Error, NewTask, Status, StepRecord, StepStatus

_MESSAGE_LENGTH = 1000


def requests(new: Sequence[NewTask]) -> list[str]:
    """The definitions, each once, and the requests."""
    texts = {one.definition: one.definition_text for one in new}
    words = [str(len(texts)), *(word for pair in texts.items() for word in pair), str(len(new))]
    for one in new:
        words += _request(one)
    return words


def commit(asked: Commit) -> list[str]:
    """A commit; of each step its path, record, event, flag, output stored apart, and files."""
    progress = "" if asked.progress is None else records.to_json(asked.progress)
    words = [_flag(asked.undoing), progress, str(len(asked.steps))]
    for step in asked.steps:
        words += _step(step)
    return [*words, *_counted([forms.write_event(event) for event in asked.events])]


def ending(
    status: Status | None = None, outputs: str | None = None, error: Error | None = None, pause: float = 0.0
) -> list[str]:
    """What becomes of a task whose claim ends; with the size of outputs that are to be stored apart."""
    kept = records.set_apart(outputs)
    size = str(kept.size) if isinstance(kept, Apart) else ""
    return [status or "", outputs or "", size, *_error(error), str(pause)]


def filter_words(only: TaskFilter, before: str, wanted: int, namespace: str) -> list[str]:
    """Which tasks a list shows, older than an id, and how many."""
    dead = "" if only.dead is None else _flag(only.dead)
    names = [f"label:{name}\0{value}" for name, value in only.labels.items()]
    if only.workflow_id is not None:
        names.append(f"workflow:{only.workflow_id}")
    if only.external_id is not None:
        names.append(f"external:{only.external_id}")
    lists = [f"{namespace}:{name}" for name in names]
    return [only.status or "", only.queue or "", dead, before, str(wanted), *_counted(lists)]


def _request(new: NewTask) -> list[str]:
    is_apart = isinstance(records.set_apart(new.variables), Apart)
    return [
        new.task_id,
        forms.write_request(new),
        new.definition,
        new.workflow_id,
        new.external_id or "",
        new.idempotency_key or "",
        new.fingerprint or "",
        "\0".join(word for label in sorted(new.labels.items()) for word in label),
        "\0".join(sorted(set(new.files))),
        new.variables if is_apart else "",
        _flag(new.bell),
        new.queue,
        str(new.priority),
        str(FORMAT),
        _flag(new.undo),
        str(new.delay),
        str(new.run_at or 0.0),
    ]


def _step(step: StepRecord) -> list[str]:
    kept, apart = records.split_output(step)
    flag = "running" if step.status is StepStatus.RUNNING else "ended" if step.ended else ""
    event = lifecycle.step_event(step)
    told = "" if event is None else forms.write_event(event)
    files = "\0".join(sorted(records.files_of([step])))
    return [step.path, forms.write_step(kept), told, flag, apart or "", files]


def _error(error: Error | None) -> list[str]:
    """All of it as JSON, then what events tell: its code and the beginning of its message."""
    if error is None:
        return ["", "", ""]
    message = error.message[:_MESSAGE_LENGTH].encode(errors="replace").decode()
    return [records.error_to_json(error) or "", error.code, message]


def _counted(words: Sequence[str]) -> list[str]:
    return [str(len(words)), *words]


def _flag(value: bool) -> str:
    return "1" if value else "0"
