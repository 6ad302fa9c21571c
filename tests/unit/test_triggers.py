"""Triggers: an event starts the workflows that want it, and one that cannot start holds up nothing."""

from __future__ import annotations

from pathlib import Path

import stepwell.actions  # noqa: F401 - registers the built-in actions
from stepwell.engine.courier import Courier
from stepwell.loader import Catalog
from stepwell.ports import TaskFilter
from stepwell.publishing import Publisher
from stepwell.queues.silent import SilentQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Triggers
from stepwell.stores.memory import MemoryStore

WORKFLOWS = {
    "hidden": """
        triggers: [{event: paid, with: {token: "${{ event.token }}"}}]
        variables: {token: {type: secret, required: true}}
        steps: [{id: a, output: 1}]""",
    "numbered": """
        triggers: [{event: paid, with: {number: "${{ event.number }}"}}]
        variables: {number: {type: integer}}
        steps: [{id: a, output: 1}]""",
    "picky": """
        triggers: [{event: paid, if: event.missing > 1}]
        steps: [{id: a, output: 1}]""",
    "shipping": """
        triggers: [{event: paid}, {event: shipped}]
        steps: [{id: a, output: 1}]""",
}


def test_what_cannot_start_holds_up_neither_others_nor_later_events(tmp_path: Path) -> None:
    for name, text in WORKFLOWS.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    store, queue, catalog = MemoryStore(), SilentQueue(), Catalog(tmp_path, registry=actions)
    service = Service(store, queue, queue, catalog, Cipher(None), Defaults())  # no key: nothing can be encrypted
    courier = Courier(store, queue, "test", Triggers(service, catalog).fire)
    publisher = Publisher(store)
    publisher.publish("paid", {"token": "hunter2hunter2", "number": "many"})
    publisher.publish("shipped", None)
    courier.deliver()
    assert [task.workflow_id for task in store.list(TaskFilter()).items] == ["shipping", "shipping"]
    assert not store.undelivered("triggers", "test")
