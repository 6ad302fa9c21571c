"""What all stores share: JSON forms of records, values set apart, cursors, and checks of what callers send."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any

import pydantic_core

from stepwell.errors import Conflict, FieldProblem, InvalidInput
from stepwell.task import (
    Apart,
    Attempt,
    AuditEntry,
    Error,
    NewEvent,
    NewMail,
    NewTask,
    StepRecord,
    StepStatus,
    Stored,
    Task,
)
from stepwell.values import APART_SIZE

AUDIT_KEPT = 100_000
"""How many entries of the audit log are kept."""

REDELIVERY = 30.0
"""Seconds after which a publication that nobody said was delivered goes to the next consumer who asks."""


def to_json(value: object) -> str:
    """Compact JSON; NUL and halves of surrogate pairs, which no column can hold, are escaped in it."""
    try:
        return pydantic_core.to_json(value).decode()
    except pydantic_core.PydanticSerializationError:  # it has no form for half of a surrogate pair
        return json.dumps(value, separators=(",", ":"))


def copied(value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping as it comes back from JSON, so that nobody shares what the store keeps."""
    return json.loads(to_json(value)) if value else {}


def output_key(path: str) -> str:
    """The key under which `TaskStore.value` reads a step's output."""
    return f"output:{path}"


def set_apart(text: str | None) -> Stored | None:
    """The text itself, or the mark that it has to be stored apart."""
    if text is None or len(text) * 4 <= APART_SIZE:
        return text
    size = len(text) if text.isascii() else len(text.encode())
    return Apart(size) if size > APART_SIZE else text


def split_output(record: StepRecord) -> tuple[StepRecord, str | None]:
    """The record as it is kept, and its output's text if that is to be stored apart."""
    if not isinstance(record.output, str):
        return record, None
    kept = set_apart(record.output)
    return (record, None) if kept is record.output else (replace(record, output=kept), record.output)


def files_of(steps: Iterable[StepRecord]) -> set[str]:
    """The sha256 of the files that the steps kept."""
    return {about["sha256"] for record in steps for about in record.files.values()}


def error_to_json(error: Error | None) -> str | None:
    """An error as text; all of it, unlike `Error.as_json`, which is for people."""
    return None if error is None else to_json(asdict(error))


def error_from_json(text: str | None) -> Error | None:
    """The inverse of `error_to_json`."""
    return None if text is None else _error_from(json.loads(text))


def step_to_json(record: StepRecord) -> str:
    """What a row keeps of a step besides its path, position, status and output; defaults are left out."""
    form: dict[str, Any] = {
        "kind": record.kind,
        "attempts": record.attempts,
        "tries": record.tries,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
    }
    optional = {
        "id": record.id,
        "inputs": record.inputs,
        "error": record.error and asdict(record.error),
        "tolerated": record.tolerated,
        "stopped": record.stopped,
        "failures": record.failures,
        "files": record.files,
        "history": [_attempt_form(attempt) for attempt in record.history],
        "wait": record.wait,
        "winner": record.winner,
    }
    form.update((key, value) for key, value in optional.items() if value)
    if record.ran_before is not None:
        form["ran_before"] = record.ran_before
    return to_json(form)


def step_from_json(path: str, position: str, status: str, form: str, output: Stored | None) -> StepRecord:
    """The inverse of `step_to_json`."""
    found = json.loads(form)
    found["error"] = _error_from(found.get("error"))
    found["failures"] = tuple(found.get("failures", ()))
    found["history"] = tuple(
        Attempt(**_known(Attempt, {**attempt, "error": _error_from(attempt.get("error"))}))
        for attempt in found.get("history", ())
    )
    known = _known(StepRecord, found)
    return StepRecord(path=path, position=position, status=StepStatus(status), output=output, **known)


def audit_to_json(entry: AuditEntry) -> str:
    """An entry of the audit log as text."""
    return to_json(asdict(entry))


def audit_from_json(text: str) -> AuditEntry:
    """The inverse of `audit_to_json`."""
    return AuditEntry(**_known(AuditEntry, json.loads(text)))


def same_attempt(task: Task, attempt: int) -> None:
    """Raise `Conflict` for a child, and unless a task is at this attempt still: of two who retry it, the first does."""
    if task.ancestors:
        raise Conflict(f"the task is a child: retry its root task, {task.ancestors[0]}", status=task.status)
    if task.attempt != attempt:
        raise Conflict(
            f"the task is at attempt {task.attempt} by now, not {attempt}: it was retried already", status=task.status
        )


def encode_cursor(*parts: str) -> str:
    """An opaque text that stands for the last row of a page."""
    return base64.urlsafe_b64encode(to_json(parts).encode()).decode()


def decode_cursor(cursor: str, count: int) -> list[str]:
    """The `count` parts of a cursor; raises `InvalidInput` for a text that `encode_cursor` never gave."""
    try:
        parts = json.loads(base64.b64decode(cursor, altchars="-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        parts = None
    if not (isinstance(parts, list) and len(parts) == count and all(isinstance(part, str) for part in parts)):
        raise _no_cursor(cursor)
    check_text(("cursor", part) for part in parts)
    return parts


def decode_number(cursor: str) -> int:
    """The number in a cursor; raises `InvalidInput` as `decode_cursor` does."""
    [text] = decode_cursor(cursor, 1)
    return _number(cursor, text)


def place_of(child: Task) -> tuple[str, int, str]:
    """By what the children of one task are sorted."""
    return child.place or "", child.index or 0, child.task_id


def encode_place(child: Task) -> str:
    """The cursor for the children after this one."""
    place, index, task_id = place_of(child)
    return encode_cursor(place, str(index), task_id)


def decode_place(cursor: str) -> tuple[str, int, str]:
    """What `place_of` said of the child that a cursor stands for; raises `InvalidInput` as `decode_cursor` does."""
    place, index, task_id = decode_cursor(cursor, 3)
    return place, _number(cursor, index), task_id


def own(new: NewTask) -> NewTask:
    """The request with mappings of its own; raises `InvalidInput` for names that no database can hold as text."""
    named = {
        "task_id": new.task_id,
        "workflow_id": new.workflow_id,
        "queue": new.queue,
        "external_id": new.external_id,
        "idempotency_key": new.idempotency_key,
        "definition_text": new.definition_text,
        "files": "".join(new.files),
    }
    check_text([*named.items(), *((f"labels.{name}", f"{name}{value}") for name, value in new.labels.items())])
    return replace(new, labels=copied(new.labels), trigger=copied(new.trigger))


def check_text(fields: Iterable[tuple[str, str | None]]) -> None:
    """Raise `InvalidInput` that names every text with a NUL or half of a surrogate pair in it."""
    message = "holds a NUL or half of a surrogate pair, which is no text"
    if problems := [FieldProblem(name, message) for name, text in fields if text and not _is_text(text)]:
        raise InvalidInput(problems)


def check_mail(mail: NewMail) -> None:
    """Raise `InvalidInput` for a message that no database can hold."""
    check_text([("name", mail.name), ("payload", mail.payload), ("key", mail.key), ("sender", mail.sender)])


def plain_event(event: NewEvent) -> NewEvent:
    """The event with data of its own."""
    return NewEvent(event.kind, event.path, copied(event.data))


def _number(cursor: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise _no_cursor(cursor)
    return int(text)


def _no_cursor(cursor: str) -> InvalidInput:
    return InvalidInput([FieldProblem("cursor", f"{cursor!r} is none that a list answered: leave it out to begin")])


def _is_text(text: str) -> bool:
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _attempt_form(attempt: Attempt) -> dict[str, Any]:
    form: dict[str, Any] = {"number": attempt.number, "started_at": attempt.started_at, "worker": attempt.worker}
    if attempt.completed_at is not None:
        form["completed_at"] = attempt.completed_at
    if attempt.error is not None:
        form["error"] = asdict(attempt.error)
    return form


def _error_from(form: dict[str, Any] | None) -> Error | None:
    return None if form is None else Error(**_known(Error, form))


def _known(kind: type, form: dict[str, Any]) -> dict[str, Any]:
    """The fields that this version knows: a newer one beside it may have written more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in form.items() if name in names}
