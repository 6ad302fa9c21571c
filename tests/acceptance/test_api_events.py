"""Events by name: they wake tasks and start workflows, inline and with workers, each once, also over a restart."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.cluster import TASKS, cluster
from tests.acceptance.serving import Server, eventually, start
from tests.servers import RedisServer

PAYING = """
variables: {order: {type: integer, required: true}}
steps:
  - id: paid
    wait: {event: order.paid, match: event.order == variables.order}
outputs: {amount: "${{ steps.paid.output.amount }}"}
"""
SHIPPING = """
variables: {order: {type: integer, required: true}}
triggers:
  - {event: order.paid, if: event.amount > 0, with: {order: "${{ event.order }}"}}
  - {event: order.gift, with: {order: "${{ trigger.payload }}"}}
steps:
  - {id: ship, output: "${{ variables.order }}"}
  - {id: tell, uses: event.emit, with: {name: order.shipped, payload: {order: "${{ variables.order }}"}}}
outputs: {shipped: "${{ steps.ship.output }}"}
"""
LISTENING = """
import pathlib
from stepwell import on

@on("step.completed")
def write(told):
    with pathlib.Path("told.log").open("a") as log:
        log.write(f"{told.workflow_id} {told.path}\\n")

@on("*")
def breaks(told):
    raise RuntimeError("a listener of no use")
"""
FILES = {"paying": PAYING, "shipping": SHIPPING}


@pytest.fixture(params=["inline", "queued"])
def serving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that runs tasks itself, or one with a worker."""
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "listening.py").write_text(LISTENING)  # before anything starts
    if request.param == "inline":
        server = start(tmp_path, FILES, LISTENERS="listening", INLINE_ASYNC="background")
        yield server
        server.close()
        return
    with RedisServer(tmp_path / "redis") as redis, cluster(tmp_path, redis, FILES, LISTENERS="listening") as made:
        yield made.api


def waits(server: Server, order: int) -> str:
    """The id of a task that waits for its order to be paid."""
    answer = server.post("/workflows/paying/execute?async_execute=true", {"variables": {"order": order}})
    assert answer.status_code == 202, answer.text
    task_id: str = answer.json()["task_id"]
    eventually(lambda: server.get(f"{TASKS}/{task_id}").json()["status"] == "waiting")
    return task_id


def of(server: Server, workflow: str) -> Callable[[], list[dict[str, Any]]]:
    """What lists the ended tasks of a workflow."""
    return lambda: server.get(f"{TASKS}?workflow={workflow}&status=completed").json()["items"]


def test_an_event_wakes_who_waits_for_it_and_starts_workflows(serving: Server) -> None:
    first, second = waits(serving, 1), waits(serving, 2)
    published = serving.post("/events/order.paid", {"order": 2, "amount": 5}, headers={"Idempotency-Key": "p-2"})
    assert published.status_code == 202
    again = serving.post("/events/order.paid", {"order": 2, "amount": 5}, headers={"Idempotency-Key": "p-2"})
    assert (published.json()["repeated"], again.json()["repeated"]) == (False, True)
    assert again.json()["id"] == published.json()["id"]
    other = serving.post("/events/order.paid", {"order": 3, "amount": 5}, headers={"Idempotency-Key": "p-2"})
    assert other.status_code == 409
    assert serving.ended(second)["result"]["outputs"] == {"amount": 5}
    assert serving.get(f"{TASKS}/{first}").json()["status"] == "waiting"
    [shipping] = eventually(of(serving, "shipping"))
    assert shipping["status"] == "completed"
    record = serving.get(f"{TASKS}/{shipping['task_id']}").json()
    assert record["result"]["outputs"] == {"shipped": 2}
    assert serving.post("/events/order.gift", 7).status_code == 202
    eventually(lambda: len(of(serving, "shipping")()) == 2)

    names = {one["name"]: one for one in serving.get("/events").json()["items"]}
    assert names["order.paid"] == {
        "name": "order.paid", "published": 1, "received": 2, "listening": 1, "workflows": ["shipping"]
    }  # fmt: skip
    assert names["order.shipped"]["published"] == 2
    told = serving.folder / "told.log"
    eventually(lambda: told.exists() and "paying paid" in told.read_text().split("\n"))


@pytest.mark.parametrize(("name", "status"), [("order paid", 422), ("a" * 201, 422)])
def test_a_name_that_is_none_is_refused(shared: Server, name: str, status: int) -> None:
    assert shared.post(f"/events/{name}", {}).status_code == status


def test_too_large_a_payload_is_refused(shared: Server) -> None:
    answer = shared.post("/events/large", "x" * (1024 * 1024 + 1))
    assert answer.status_code == 422
    assert "characters of JSON are more than" in answer.text


def test_what_was_published_while_nobody_ran_is_delivered_later(tmp_path: Path) -> None:
    server = start(tmp_path, {"paying": PAYING, "shipping": SHIPPING})
    task_id = waits(server, 3)
    server.post("/events/order.paid", {"order": 3, "amount": 1})
    server.stop(signal.SIGKILL)
    server.close()
    again = start(tmp_path, {})
    try:
        assert again.ended(task_id)["result"]["outputs"] == {"amount": 1}
        assert len(eventually(of(again, "shipping"))) == 1
    finally:
        again.close()
