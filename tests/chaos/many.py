"""More tasks than can be asked for one by one over HTTP: submitted in batches, counted and read in the store."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.acceptance.cluster import Cluster

from stepwell.definitions import open_catalog
from stepwell.ports import TaskStore
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Submission
from stepwell.settings import load
from stepwell.task import Event
from stepwell.wiring.shared import open_shared

FULL = os.environ.get("STEPWELL_CHAOS_FULL") == "1"
"""Whether the first seed of a test has the size that is promised, which takes many minutes."""

QUEUE = "workflow_execute"
BATCH = 500


def sized(seed: int, small: int, full: int) -> int:
    """How many tasks or items the test with this seed has."""
    return full if FULL and seed == 1 else small


@dataclass(frozen=True)
class Inside:
    """A deployment past its API, which on a machine that is too busy would run tasks itself."""

    store: TaskStore
    service: Service

    def submit(self, workflow: str, count: int) -> list[str]:
        """Submit so many tasks to the queue; their ids."""
        definition, ids = self.service.catalog.get(workflow), list[str]()
        while len(ids) < count:
            batch = [Submission()] * min(BATCH, count - len(ids))
            ids += [task.task_id for task in self.service.submit_many(definition, batch)]
        return ids


@contextmanager
def inside(deployed: Cluster) -> Iterator[Inside]:
    """The store of a deployment, and what submits to it."""
    places = {"WORKFLOWS_DIR": str(deployed.folder / "workflows")}
    settings = load({**deployed.settings, **places}, deployed.folder)
    shared = open_shared(settings)
    try:
        defaults = Defaults(settings.task_timeout, settings.task_max_retries)
        cipher, queue = Cipher(settings.secret_key), shared.queue
        yield Inside(shared.store, Service(shared.store, queue, queue, open_catalog(settings), cipher, defaults))
    finally:
        shared.close()


def problems(events: Sequence[Event], paths: Sequence[str]) -> list[str]:
    """What the events of a completed task tell against it: something of it was told never, or too often."""
    told = Counter(event.kind if event.path is None else f"{event.kind} {event.path}" for event in events)
    once = ["task.created", "task.completed", *(f"step.completed {path}" for path in paths)]
    found = [f"{kind} was told {told[kind]} times" for kind in once if told[kind] != 1]
    if told["task.queued"] != told["task.started"]:
        found.append(f"it was queued {told['task.queued']} and started {told['task.started']} times")
    return [f"task {event.task_id}: {problem}" for event in events[:1] for problem in found]


def most_at_once(begins: Sequence[float], ends: Sequence[float]) -> int:
    """How many of these overlapped at most."""
    most = now = 0
    for _, change in sorted([*((end, -1) for end in ends), *((begin, 1) for begin in begins)]):
        now += change
        most = max(most, now)
    return most
