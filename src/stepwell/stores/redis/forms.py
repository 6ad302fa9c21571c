"""The texts in which Redis keeps tasks, step records and events, from and to the frozen records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stepwell.ports import Revision
from stepwell.stores import records
from stepwell.task import (
    Apart,
    Crew,
    Event,
    Mail,
    NewEvent,
    NewTask,
    Publication,
    Status,
    StepRecord,
    Task,
)

FIELDS = (
    "status",
    "queue",
    "priority",
    "format",
    "created_at",
    "updated_at",
    "attempt",
    "started_at",
    "completed_at",
    "ran_for",
    "released",
    "step_count",
    "outputs",
    "token",
    "worker",
    "claimed_at",
    "undo",
    "wake_at",
    "retry_count",
    "crashes",
    "cancel_requested",
    "dead",
    "error",
    "error_code",
    "error_message",
    "progress",
    "ancestors",
    "place",
    "index",
    "part",
    "undoing",
    "mail",
    "listens",
)
"""The state of a task is a JSON array in this order, what is seldom there last; what is absent or false is 0.

`outputs`, `error` and `progress` hold JSON texts, `outputs` a size in bytes if the text is stored apart.
`released` is how and under which token the last claim ended, `index` a text, as 0 is nothing, `mail` the id of the last
message, `listens` topics by turns with what was read of them. New fields come at the end, as texts, numbers or lists
that are not empty: older versions keep them as they are.
"""

NUMBERS = ("priority", "attempt", "ran_for", "step_count", "retry_count", "crashes")
"""The fields that are 0 where others are absent."""

_TIMES = ("started_at", "completed_at", "wake_at")


def write_request(new: NewTask) -> str:
    """What never changes of a task, as a JSON object; texts of JSON stay texts in it."""
    kept = records.set_apart(new.variables)
    form = {
        "workflow_id": new.workflow_id,
        "definition": new.definition,
        "variables": kept.size if isinstance(kept, Apart) else kept,
        "timeout": new.timeout,
        "max_retries": new.max_retries,
    }
    optional = {
        "external_id": new.external_id,
        "idempotency_key": new.idempotency_key,
        "fingerprint": new.fingerprint,
        "labels": new.labels or None,
        "trigger": records.to_json(new.trigger) if new.trigger else None,
    }
    return records.to_json({**form, **{name: value for name, value in optional.items() if value is not None}})


def revise_request(request: bytes, revision: Revision) -> str:
    """The request with other variables and another definition."""
    kept = records.set_apart(revision.variables)
    changes = {
        "variables": kept.size if isinstance(kept, Apart) else kept,
        "definition": revision.definition,
    }
    changed = {name: value for name, value in changes.items() if value is not None}
    return records.to_json({**json.loads(request), **changed})


def read_task(reply: Sequence[bytes]) -> Task:
    """The task whose id, request and state (with what stands beside it) Redis answered."""
    task_id, request, state = reply
    asked = json.loads(request)
    values = json.loads(state.partition(b"\n")[0])
    kept: dict[str, Any] = dict.fromkeys(FIELDS)
    kept.update((name, value) for name, value in zip(FIELDS, values, strict=False) if value != 0)
    return Task(
        task_id=task_id.decode(),
        workflow_id=asked["workflow_id"],
        definition=asked["definition"],
        status=Status(kept["status"]),
        queue=kept["queue"],
        priority=kept["priority"] or 0,
        variables=_stored(asked["variables"]),
        created_at=float(kept["created_at"]),
        updated_at=float(kept["updated_at"]),
        timeout=asked["timeout"],
        max_retries=asked["max_retries"],
        ran_for=float(kept["ran_for"] or 0),
        attempt=kept["attempt"],
        retry_count=kept["retry_count"] or 0,
        crashes=kept["crashes"] or 0,
        undo=bool(kept["undo"]),
        cancel_requested=bool(kept["cancel_requested"]),
        worker=kept["worker"],
        outputs=_stored(kept["outputs"]),
        error=records.error_from_json(kept["error"]),
        progress=_decoded(kept["progress"]),
        dead=bool(kept["dead"]),
        external_id=asked.get("external_id"),
        idempotency_key=asked.get("idempotency_key"),
        fingerprint=asked.get("fingerprint"),
        labels=asked.get("labels", {}),
        trigger=_decoded(asked.get("trigger")) or {},
        ancestors=tuple(kept["ancestors"] or ()),
        place=kept["place"],
        index=None if kept["index"] is None else int(kept["index"]),
        part=bool(kept["part"]),
        undoing=bool(kept["undoing"]),
        format=kept["format"],
        **{name: None if (time := kept[name]) is None else float(time) for name in _TIMES},
    )


def write_step(kept: StepRecord) -> str:
    """A record, its output split already: position, status, output and the rest, with NULs between them, which no JSON
    holds. An output stored apart is `#` and its size."""
    output = f"#{kept.output.size}" if isinstance(kept.output, Apart) else kept.output or ""
    return "\0".join((kept.position, kept.status, output, records.step_to_json(kept)))


def read_steps(reply: Sequence[bytes]) -> list[StepRecord]:
    """The records of a reply of paths and texts by turns, in order of the definition."""
    texts = [one.decode() for one in reply]
    found = [read_step(path, text) for path, text in zip(texts[::2], texts[1::2], strict=True)]
    return sorted(found, key=lambda record: (record.position, record.path))


def read_step(path: str, text: str) -> StepRecord:
    """The inverse of `write_step`."""
    position, status, output, form = text.split("\0", 3)
    kept = Apart(int(output[1:])) if output.startswith("#") else output or None
    return records.step_from_json(path, position, status, form, kept)


def write_event(event: NewEvent) -> str:
    """An event as JSON without its beginning, `[` and the time, which the script writes."""
    is_attempt = event.data.keys() == {"attempt"} and isinstance(event.data["attempt"], int)
    data = event.data["attempt"] if is_attempt else event.data
    return records.to_json([event.kind, data] if event.path is None else [event.kind, data, event.path])[1:]


def read_event(task_id: str, number: int, text: bytes) -> Event:
    """An event, whose id is its place in the list."""
    at, kind, data, *rest = json.loads(text)
    [path] = rest or [None]
    return Event(number, task_id, float(at), kind, path, {"attempt": data} if isinstance(data, int) else data)


def read_crew(text: bytes) -> Crew:
    """A crew; what stands behind its numbers is for scripts."""
    round_, total, at_once, allowed, wanted, active, completed, failed, closed, *_ = map(int, text.split())
    return Crew(total, at_once, allowed, wanted, round_, active, completed, failed, closed == 1)


def read_mail(number: int, message: bytes) -> Mail:
    """A message: its name, time, sender, key and payload, with NULs between them."""
    name, sent_at, sender, key, payload = message.decode().split("\0", 4)
    return Mail(number, name, payload, float(sent_at), sender or None, key or None)


def read_mailbox(messages: Sequence[bytes], after: int = 0) -> list[Mail]:
    """The messages after the one with this id; those that were removed are empty."""
    return [read_mail(number, message) for number, message in enumerate(messages, after + 1) if message]


def read_publication(reply: Sequence[Any]) -> Publication:
    """A publication: its name, number and fields, among which its topics are one field each."""
    name, number, words = reply
    fields = list(zip(words[::2], (word.decode() for word in words[1::2]), strict=True))
    kept = {field: value for field, value in fields if field != b"topic"}
    topics = tuple(value for field, value in fields if field == b"topic")
    at, sender = float(kept[b"at"]), kept[b"sender"] or None
    return Publication(number.decode(), name.decode(), kept[b"payload"], at, topics, sender)


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _stored(value: str | int | None) -> Any:
    return Apart(value) if isinstance(value, int) else value
