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
from stepwell.service import Defaults, Service, Submission, Triggers
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


def test_a_full_queue_holds_up_only_what_goes_into_it(tmp_path: Path) -> None:
    texts = {
        "busy": "triggers: [{event: paid}]\nsteps: [{output: 1}]",
        "quiet": "triggers: [{event: paid}, {event: shipped}]\nqueue: other\nsteps: [{output: 1}]",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    clock = [1000.0]
    store, queue, catalog = MemoryStore(now=lambda: clock[0]), SilentQueue(), Catalog(tmp_path, registry=actions)
    defaults = Defaults(queues=["workflow_execute", "other"], max_queued=2)
    service = Service(store, queue, queue, catalog, Cipher(None), defaults)
    before = [service.submit(catalog.get("busy"), Submission()) for _ in range(2)]
    courier = Courier(store, queue, "test", Triggers(service, catalog).fire)
    for name in ("paid", "shipped"):
        Publisher(store).publish(name, None)
    courier.deliver()
    assert [task.workflow_id for task in store.list(TaskFilter()).items] == ["quiet", "quiet", "busy", "busy"]
    store.cancel(before[0].task_id)
    clock[0] += 31
    courier.deliver()
    assert store.list(TaskFilter()).items[0].workflow_id == "busy"
    assert not store.undelivered("triggers", "test")
