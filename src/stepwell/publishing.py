"""Events by name, published for whoever waits for them: checked, and with the topics that they are found by."""

from __future__ import annotations

from collections.abc import Mapping

from stepwell.errors import Conflict, Fail, FieldProblem, InvalidInput
from stepwell.ports import TaskStore
from stepwell.task import Publication
from stepwell.topics import MAX_FIELDS, topics_of
from stepwell.values import decode, encode
from stepwell.workflow import event_name

MAX_PAYLOAD = 1024 * 1024
"""Characters of JSON of one event."""


class Publisher:
    """Publishes into a store."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    def publish(
        self, name: str, payload: object, key: str | None = None, sender: str | None = None
    ) -> tuple[Publication, bool]:
        """Publish an event; the same `key` again answers the first one and False. Raises `InvalidInput`."""
        try:
            event_name(name)
        except ValueError as error:
            raise InvalidInput([FieldProblem("name", str(error))]) from error
        if isinstance(payload, Mapping) and len(payload) > MAX_FIELDS:
            message = f"{len(payload):,} fields at the top are more than {MAX_FIELDS}: put them into one of them"
            raise InvalidInput([FieldProblem("payload", message)])
        return self._store.publish(name, _text(payload), topics_of(name, payload), key, sender)


def check_repeat(first: Publication, name: str, payload: object) -> None:
    """Raise `Conflict` if a key of one event is used again for another one."""
    if (first.name, decode(first.payload)) != (name, payload):
        raise Conflict(f"this idempotency key belongs to another event, {first.name!r}: use a new key")


def _text(payload: object) -> str:
    try:
        text = encode(payload, "the payload")
    except Fail as error:
        raise InvalidInput([FieldProblem("payload", error.message)]) from error
    if len(text) > MAX_PAYLOAD:
        message = f"{len(text):,} characters of JSON are more than {MAX_PAYLOAD:,}: send the name of a file"
        raise InvalidInput([FieldProblem("payload", message)])
    return text
