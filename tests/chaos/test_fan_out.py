"""One step whose items are spread over workers that are killed: all results, in order, each committed once."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.acceptance.cluster import TASKS, Cluster, cluster
from tests.acceptance.serving import eventually
from tests.chaos import processes
from tests.chaos.inside import effects
from tests.chaos.judge import leftovers
from tests.chaos.load import LEAVE, settings_for
from tests.chaos.many import inside, most_at_once, problems, sized
from tests.servers import RedisServer

from stepwell.ports import TaskFilter, TaskStore
from stepwell.task import Event, Status, Task

AT_ONCE = 5
"""Items at once: fewer than there are work-horses."""

PAGE_SECONDS = 0.05
"""For the first page of the items."""

TRIES = 20
"""Of so many tries to read that page the best counts: the machine does other things, too."""

STALLED = 60.0
"""Seconds without any progress after which something is taken for broken."""

SEARCHED = 1000
"""So many children are searched for in what must not name them any more."""

SPREAD = f"""
variables: {{log: {{type: string, required: true}}, count: {{type: integer, required: true}}}}
steps:
  - id: each
    queue: workflow_execute
    foreach: {{in: range(variables.count), max_parallel: {AT_ONCE}}}
    {LEAVE}
    with: {{log: "${{{{ variables.log }}}}", value: "${{{{ item * 2 }}}}"}}
  - id: after
    {LEAVE}
    with: {{log: "${{{{ variables.log }}}}", value: "${{{{ steps.each.output | length }}}}"}}
outputs: {{doubled: "${{{{ steps.each.output }}}}", total: "${{{{ steps.after.output }}}}"}}
"""

FAILING = f"""
max_retries: 0
variables: {{log: {{type: string, required: true}}, gate: {{type: string, required: true}}, allowed: {{type: integer}}}}
steps:
  - id: each
    queue: workflow_execute
    foreach: {{in: range(12), max_parallel: {AT_ONCE}, max_failed: "${{{{ variables.allowed }}}}"}}
    steps:
      - id: mark
        {LEAVE}
        with: {{log: "${{{{ variables.log }}}}", value: "${{{{ item }}}}"}}
      - id: check
        if: item % 4 == 3
        run: test -e "$GATE"
        env: {{GATE: "${{{{ variables.gate }}}}"}}
      - id: done
        output: "${{{{ steps.mark.output }}}}"
outputs: {{items: "${{{{ steps.each.output }}}}"}}
"""
REFUSED = {3, 7, 11}
"""The items of `failing` that fail as long as there is no file `gate`: one more than may at most."""

WORKFLOWS = {"spread": SPREAD, "failing": FAILING}


def children(store: TaskStore, parent: str) -> Iterator[Task]:
    """All children of a task, in order of the items."""
    cursor = None
    while True:
        page = store.list(TaskFilter(parent=parent, place="each"), 500, cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def events_of(store: TaskStore, task_id: str) -> Iterator[Event]:
    """All events of a task with very many of them."""
    after = 0
    while page := store.events(task_id, after):
        yield from page
        after = page[-1].id


def until_completed(store: TaskStore, parent: str, wanted: int) -> None:
    """Wait until so many items have completed, as long as there are ever more of them."""
    best, since = -1, time.monotonic()
    while (number := store.crew(parent, "each").completed) < wanted:
        if number > best:
            best, since = number, time.monotonic()
        assert time.monotonic() < since + STALLED, f"{best} of {wanted} items have completed, and no more do"
        time.sleep(0.01)


def best_page(deployed: Cluster, parent: str) -> float:
    """Seconds for the first page of the items, over HTTP."""
    took = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        answer = deployed.api.get(f"{TASKS}/{parent}/children?place=each&limit=50")
        took.append(time.perf_counter() - begin)
        assert [item["index"] for item in answer.json()["items"]] == [*range(50)]
    return min(took)


def kill(deployed: Cluster, chance: random.Random) -> None:
    """Kill all processes of a worker, or its parent alone; nobody starts it again."""
    victim = chance.choice([worker for worker in deployed.workers if worker.running])
    processes.kill(chance.choice([processes.tree(victim.pid), [victim.pid]]))
    victim.stop(signal.SIGKILL)


def judge_items(store: TaskStore, parent: str, count: int) -> None:
    """Every item is a child that completed and committed its step once; never too many ran at once."""
    begins, ends, found = [], [], []
    for index, child in enumerate(children(store, parent)):
        assert (child.index, child.status) == (index, Status.COMPLETED)
        events = store.events(child.task_id)
        found += problems(events, [f"each[{index}]"])
        begins.append(next(event.at for event in events if event.kind == "task.started"))
        ends.append(child.completed_at or 0.0)
    assert len(ends) == count
    assert not found, "\n".join(found)
    assert 1 < most_at_once(begins, ends) <= AT_ONCE


def test_very_many_items_on_workers_that_are_killed(
    tmp_path: Path, redis: RedisServer, seed: int, record_property: Callable[[str, object], None]
) -> None:
    count, kills = sized(seed, 500, 10_000), sized(seed, 1, 2)
    chance, log = random.Random(seed), tmp_path / "effects"
    settings = {**settings_for(tmp_path), "QUEUE_MAX_SIZE": "100000"}
    with (
        cluster(tmp_path / "app", redis, WORKFLOWS, workers=3, **settings) as deployed,
        inside(deployed) as within,
    ):
        store = within.store
        memory, begin = redis.client().info("memory")["used_memory"], time.monotonic()
        parent = deployed.submit("spread", {"log": str(log), "count": count})["task_id"]
        deployed.until(parent, "waiting")
        for moment in sorted(chance.randrange(count // 5, count * 4 // 5) for _ in range(kills)):
            until_completed(store, parent, moment)
            kill(deployed, chance)
        until_completed(store, parent, count)
        spread = time.monotonic() - begin
        task = deployed.until(parent, "completed")
        seconds, page = time.monotonic() - begin, best_page(deployed, parent)
        memory = (redis.client().info("memory")["used_memory"] - memory) // count
        figures = {"spread": spread, "seconds": seconds, "items/s": count / seconds, "page": page, "bytes": memory}
        record_property("fan-out", figures)

        assert task["result"]["outputs"] == {"doubled": [2 * number for number in range(count)], "total": count}
        told = Counter((event.kind, event.path) for event in events_of(store, parent))
        assert told["task.started", None] == 2
        assert [told["step.completed", path] for path in ("each", "after")] == [1, 1]
        assert all(told["step.completed", f"each[{number}]"] == 1 for number in range(count))
        judge_items(store, parent, count)
        runs = Counter(effect.path for effect in effects.read(log))
        assert set(runs) == {"after", *(f"each[{number}]" for number in range(count))}
        assert max(runs.values()) <= 1 + kills
        assert page <= PAGE_SECONDS
        some = [parent, *(child.task_id for child, _ in zip(children(store, parent), range(SEARCHED), strict=False))]
        assert eventually(lambda: not leftovers(redis.client(), some))


@pytest.mark.parametrize("allowed", [0, 2])
def test_items_that_failed_are_retried_alone(tmp_path: Path, redis: RedisServer, allowed: int) -> None:
    """As many failures as may be are tolerated; the one too many ends the step, and then all of them are retried."""
    log, gate = tmp_path / "effects", tmp_path / "gate"
    with (
        cluster(tmp_path / "app", redis, WORKFLOWS, workers=3, **settings_for(tmp_path)) as deployed,
        inside(deployed) as within,
    ):
        store = within.store
        variables = {"log": str(log), "gate": str(gate), "allowed": allowed}
        parent = deployed.submit("failing", variables)["task_id"]
        task = deployed.until(parent, "failed")
        assert task["error"]["path"] in {f"each[{number}]/check" for number in REFUSED}
        failed = {child.index for child in children(store, parent) if child.status is Status.FAILED}
        assert failed <= REFUSED
        assert len(failed) > allowed
        done = completed(store, parent)

        gate.touch()
        assert deployed.api.post(f"{TASKS}/{parent}/retry").status_code == 202
        items = deployed.until(parent, "completed")["result"]["outputs"]["items"]
        assert items == [*range(12)]
        runs = Counter(effect.path for effect in effects.read(log))
        assert set(runs) == {f"each[{number}]/mark" for number in range(12)}
        again = completed(store, parent)
        assert {index: again[index] for index in done} == done
        assert all(runs[f"each[{index}]/mark"] == 1 for index in {*done, *failed})


def completed(store: TaskStore, parent: str) -> dict[int | None, float | None]:
    """When the items completed that did."""
    found = children(store, parent)
    return {child.index: child.completed_at for child in found if child.status is Status.COMPLETED}
