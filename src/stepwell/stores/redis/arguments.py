"""What the scripts are given: requests, commits, endings and filters as words, in the order in which Lua reads them.

A list of words begins with their number; words of one argument have NULs between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from types import MappingProxyType

from stepwell import lifecycle
from stepwell.ports import Commit, Revision, Suspension, TaskFilter
from stepwell.stores import records, submission
from stepwell.stores.redis import forms
from stepwell.task import FORMAT, Apart, Crew, Error, Mail, NewMail, NewTask, Status, StepRecord, StepStatus

UNREAD = "-1"
"""The position of who has read nothing of a topic, and whom only what is roused for later wakes."""

_MESSAGE_LENGTH = 1000
_BEGUN = (StepStatus.RUNNING, StepStatus.WAITING)


def requests(new: Sequence[NewTask], there: Mapping[str, bytes] = MappingProxyType({})) -> list[str]:
    """The definitions, each once, and the requests; of tasks that are `there` already their own, revised."""
    texts = {one.definition: one.definition_text for one in new}
    words = [str(len(texts)), *(word for pair in texts.items() for word in pair), str(len(new))]
    for one in new:
        words += _request(one, there.get(one.task_id))
    return words


def commit(asked: Commit) -> list[str]:
    """A commit; of each step its path, record, event, flag, output stored apart, and files."""
    progress = "" if asked.progress is None else records.to_json(asked.progress)
    words = [_flag(asked.undoing), progress, str(len(asked.steps))]
    for step in asked.steps:
        words += _step(step)
    return [*words, *_counted([forms.write_event(event) for event in asked.events])]


def ending(
    status: Status | None = None,
    outputs: str | None = None,
    error: Error | None = None,
    pause: float = 0.0,
    suspension: Suspension | None = None,
) -> list[str]:
    """What becomes of a task whose claim ends; with the size of outputs that are to be stored apart."""
    kept = records.set_apart(outputs)
    size = str(kept.size) if isinstance(kept, Apart) else ""
    return [status or "", outputs or "", size, *_error(error), str(pause), *_suspension(suspension or Suspension())]


def message(mail: NewMail) -> list[str]:
    """A message to a task."""
    until = "" if mail.until is None else str(mail.until)
    return [mail.name, mail.payload, mail.sender or "", mail.key or "", _flag(mail.once), until]


def forgotten(mailbox: Sequence[Mail], names: Set[str]) -> list[str]:
    """The id of the last message that has none of these names, and those that have, each by its id, name and key."""
    gone = [(str(mail.id), mail.name, mail.key or "") for mail in mailbox if mail.name in names]
    kept = [mail.id for mail in mailbox if mail.name not in names]
    return [str(kept[-1]) if kept else "", *_counted([word for mail in gone for word in mail])]


def crew(wanted: Crew) -> list[str]:
    """What a crew is to be."""
    return [str(number) for number in (wanted.round, wanted.total, wanted.at_once, wanted.allowed, wanted.wanted)]


def revision(asked: Revision | None, request: bytes, before: str) -> list[str]:
    """What a retry changes of a task with this request and definition: its request if it does, the definition before
    and after, and the variables, which may have to be stored apart."""
    if asked is None:
        return ["", "", "", "", "", "", "", "0"]
    is_apart = isinstance(records.set_apart(asked.variables), Apart)
    return [
        forms.revise_request(request, asked),
        before,
        asked.definition or before,
        asked.definition_text or "",
        "" if asked.undo is None else _flag(asked.undo),
        "" if asked.variables is None else "1",
        asked.variables or "" if is_apart else "",
        *_counted(sorted(set(asked.files))),
    ]


def topics(names: Iterable[str]) -> list[str]:
    """Topics."""
    return _counted([topic(name) for name in names])


def topic(name: str) -> str:
    """A topic, which may hold halves of surrogate pairs out of somebody's JSON."""
    return name.encode(errors="replace").decode()


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


def child_words(only: TaskFilter, after: str, wanted: int) -> list[str]:
    """Which children of a task a list shows, after a member of the list of children, and how many."""
    first, last = ("-", "+") if only.place is None else (f"[{only.place}\0", f"({only.place}\1")
    return [only.parent or "", f"({after}" if after else first, last, only.status or "", str(wanted)]


def child_member(place: str, index: int, task_id: str) -> str:
    """How a child is called in the list of children of its parent."""
    return f"{place}\0{index:010}\0{task_id}"


def _request(new: NewTask, before: bytes | None) -> list[str]:
    is_apart = isinstance(records.set_apart(new.variables), Apart)
    return [
        new.task_id,
        forms.write_request(new) if before is None else forms.revise_request(before, submission.revision_of(new)),
        new.definition,
        new.workflow_id,
        new.external_id or "",
        new.idempotency_key or "",
        new.fingerprint or "",
        "\0".join(word for label in sorted(new.labels.items()) for word in label),
        "\0".join(sorted(set(new.files))),
        new.variables if is_apart else "",
        _flag(new.bell),
        str(new.delay),
        str(new.run_at or 0.0),
        new.queue,
        str(new.priority),
        str(FORMAT),
        _flag(new.undo),
        str(new.attempt),
        "\0".join(new.ancestors),
        *(_child(new) if new.ancestors else ()),
    ]


def _child(new: NewTask) -> list[str]:
    index = "" if new.index is None else str(new.index)
    return [new.place or "", index, _flag(new.part), _flag(new.undoing)]


def _suspension(asked: Suspension) -> list[str]:
    """Until when, how many messages were seen, and topics by turns with what was read of them."""
    read = [(topic(name), asked.positions.get(name, UNREAD)) for name in asked.topics]
    due = "" if asked.due is None else str(asked.due)
    return [due, str(asked.mail), *_counted([word for pair in read for word in pair])]


def _step(step: StepRecord) -> list[str]:
    kept, apart = records.split_output(step)
    flag = "begun" if step.status in _BEGUN else "ended" if step.ended else ""
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
