"""Workflows that published events start."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping

from stepwell.errors import Conflict, ExpressionError, Fail, InvalidInput, QueueFull, SettingsError
from stepwell.expressions import compile_expression, compile_template
from stepwell.loader import Catalog, Definition
from stepwell.service.service import Service
from stepwell.service.submission import Submission
from stepwell.task import Publication, Task
from stepwell.values import decode
from stepwell.workflow import EventTrigger

log = logging.getLogger(__name__)


class Triggers:
    """Starts the workflows of a catalog that have `triggers: - event:`; each trigger once for each publication."""

    def __init__(self, service: Service, catalog: Catalog) -> None:
        self._service, self._catalog = service, catalog

    def fire(self, publication: Publication) -> list[Task]:
        """Start what this event starts; again it answers the same tasks. Raises `Unavailable`, and `QueueFull` once all
        for which there is room have started.

        What cannot start, because its variables do not fit, its condition fails or a secret of it cannot be encrypted
        here, is logged and holds up nothing.
        """
        payload = decode(publication.payload)
        trigger = {"kind": "event", "event": publication.name, "id": publication.id, "payload": payload}
        names = {"event": payload, "trigger": trigger}
        tasks, full = [], None
        for definition, number, wanted in self._of(publication.name):
            key = f"event/{publication.id}/{definition.workflow_id}/{number}"
            try:
                if _holds(wanted, names):
                    asked = Submission(_variables(wanted, names), trigger=trigger, idempotency_key=key)
                    tasks.append(self._service.submit(definition, asked))
            except Conflict:  # it was started before, by another text of the file
                continue
            except QueueFull as error:
                full = error
            except (InvalidInput, ExpressionError, Fail, SettingsError) as error:
                log.warning("event %s starts no %s: %s", publication.name, definition.workflow_id, error)
        if full is not None:
            raise full
        return tasks

    def subscribers(self) -> Mapping[str, list[str]]:
        """The ids of the workflows that each name of an event starts."""
        found: dict[str, list[str]] = {}
        for definition in self._definitions():
            for trigger in definition.workflow.triggers:
                found.setdefault(trigger.event, []).append(definition.workflow_id)
        return found

    def _of(self, name: str) -> Iterator[tuple[Definition, int, EventTrigger]]:
        for definition in self._definitions():
            for number, trigger in enumerate(definition.workflow.triggers):
                if trigger.event == name:
                    yield definition, number, trigger

    def _definitions(self) -> Iterator[Definition]:
        return (found for found in self._catalog.all() if isinstance(found, Definition))


def _holds(trigger: EventTrigger, names: Mapping[str, object]) -> bool:
    if trigger.if_ is None or isinstance(trigger.if_, bool):
        return trigger.if_ is not False
    return bool(compile_expression(trigger.if_)(names))


def _variables(trigger: EventTrigger, names: Mapping[str, object]) -> Mapping[str, object]:
    return {name: compile_template(value)(names) for name, value in (trigger.with_ or {}).items()}
