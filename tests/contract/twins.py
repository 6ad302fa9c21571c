"""Two stores that get the same calls at the same times, for state machines: every store has its twin in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test
from tests.servers import RedisServer

from stepwell import lifecycle
from stepwell.errors import StepwellError
from stepwell.ports import Claim, TaskFilter, TaskStore
from stepwell.redis_client import RedisClient
from stepwell.stores.memory import MemoryStore
from stepwell.stores.redis import RedisStore
from stepwell.stores.sql import SqlStore
from stepwell.stores.sql.schema import TABLES, versions
from stepwell.task import Event, Status, Task

GAUGES = {*Status, *lifecycle.QUEUED_BY_PRIORITY, "dead"}
SETTINGS = settings(
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
Clock = Callable[[], float]
MakeStore = Callable[[Clock], TaskStore]
"""Makes an empty store with this clock."""


class Twins(RuleBasedStateMachine):
    """Both stores get the same calls at the same times; `make` makes the other one."""

    make: ClassVar[staticmethod[[Clock], TaskStore]]

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_700_000_000.0
        self.memory: TaskStore = MemoryStore(lambda: self.time)
        self.other = type(self).make(lambda: self.time)

    def teardown(self) -> None:
        self.other.close()

    def both(self, call: Callable[[TaskStore], Any]) -> None:
        assert _answer(call, self.other) == _answer(call, self.memory)

    def tasks(self, store: TaskStore) -> list[Task]:
        """All tasks, each after its parent."""
        found = list(store.list(TaskFilter(), limit=1000).items)
        for task in found:
            found.extend(store.list(TaskFilter(parent=task.task_id)).items)
        return found

    @invariant()
    def counters_equal_a_recount(self) -> None:
        counted: Counter[tuple[str, str]] = Counter()
        for task in self.tasks(self.other):
            counted.update((task.queue, str(name)) for name in lifecycle.count_changes(None, task))
        kept = {
            (queue, name): number
            for queue, numbers in self.other.counts().items()
            for name, number in numbers.items()
            if name in GAUGES and number
        }
        assert kept == {key: number for key, number in counted.items() if key[1] in GAUGES}
        self.both(lambda store: {queue: dict(numbers) for queue, numbers in store.counts().items()})


NAMESPACES = count()
"""All machines of a process use one Redis: each store has a namespace that no other had."""


def _sqlite(request: pytest.FixtureRequest) -> MakeStore:
    folder: Path = request.getfixturevalue("tmp_path")
    numbers = count()
    return lambda clock: SqlStore(f"sqlite:///{folder}/{next(numbers)}.db", clock=clock)


def _postgres(request: pytest.FixtureRequest) -> MakeStore:
    url: str = request.getfixturevalue("postgres_url")
    names = ", ".join(table.name for table in TABLES.sorted_tables if table is not versions)

    def make(clock: Clock) -> TaskStore:
        store = SqlStore(url, clock=clock)
        store._db.write(lambda session: session.do(f"TRUNCATE {names}", {}))
        return store

    return make


def _redis(request: pytest.FixtureRequest) -> MakeStore:
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda clock: RedisStore(RedisClient(server.url), f"twin{next(NAMESPACES)}", clock=clock)


TWINS = {"sqlite": _sqlite, "postgres": _postgres, "redis": _redis}


def run(machine: type[Twins], kind: str, request: pytest.FixtureRequest, examples: int = 25) -> None:
    """Run a state machine over a store of this kind and its twin in memory."""

    class Run(machine):  # type: ignore[misc, valid-type]
        make = staticmethod(TWINS[kind](request))

    run_state_machine_as_test(Run, settings=settings(SETTINGS, max_examples=examples))


def without_id(event: Event) -> Event:
    return replace(event, id=0)


def plain(claim: Claim | None) -> Claim | None:
    return claim and replace(claim, steps=list(claim.steps), mail=list(claim.mail))


def _answer(call: Callable[[TaskStore], Any], store: TaskStore) -> Any:
    try:
        return call(store)
    except StepwellError as error:
        return type(error), str(error), getattr(error, "status", None)
