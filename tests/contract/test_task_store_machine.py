"""Random moves: the SQL store answers what its twin in memory answers, and its counters equal a recount."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stepwell import lifecycle
from stepwell.errors import StepwellError
from stepwell.ports import Commit, TaskFilter, TaskStore
from stepwell.stores.memory import MemoryStore
from stepwell.stores.sql import SqlStore
from stepwell.task import Error, Event, NewEvent, NewTask, Status, StepRecord, StepStatus

IDS = st.sampled_from(["t1", "t2", "t3"])
TOKENS = st.sampled_from(["A", "B", "C", "D"])
PATHS = st.sampled_from(["a", "b", "b/on_failure/c", "finally/d"])
TIMES = st.sampled_from([0.0, 1.0, 5.0, 11.0, -7.0])
ERRORS = st.sampled_from([None, Error("timeout", "too slow"), Error("step_failed", "no disk", path="a")])
UPLOADS = st.sampled_from(["upload", "both"])
KEPT = st.sampled_from(["both", "kept"])
STEPS = st.builds(
    lambda path, status, size, attempts, files: StepRecord(
        path,
        f"0{path}",
        status,
        "call",
        output=_text(size),
        attempts=attempts,
        tries=attempts,
        files={name: {"size": 1, "sha256": name} for name in files},
    ),
    PATHS,
    st.sampled_from(list(StepStatus)),
    st.sampled_from([0, 1, 70_000]),
    st.integers(0, 2),
    st.sets(KEPT),
)
COMMITS = st.builds(
    Commit,
    steps=st.lists(STEPS, max_size=3),
    events=st.lists(st.builds(NewEvent, st.just("log"), PATHS), max_size=2),
    progress=st.sampled_from([None, {"percent": 1}]),
    undoing=st.booleans(),
)


class TwoStores(RuleBasedStateMachine):
    """Both stores get the same calls at the same times."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_700_000_000.0
        self.folder = tempfile.TemporaryDirectory(prefix="stepwell-twin-")
        url = f"sqlite:///{Path(self.folder.name) / 'twin.db'}"
        self.memory: TaskStore = MemoryStore(lambda: self.time)
        self.sql: TaskStore = SqlStore(url, clock=lambda: self.time)

    def teardown(self) -> None:
        self.sql.close()
        self.folder.cleanup()

    def both(self, call: Callable[[TaskStore], Any]) -> None:
        assert _answer(call, self.sql) == _answer(call, self.memory)

    @rule(
        task_id=IDS, key=st.sampled_from([None, "k"]), delay=TIMES, undo=st.booleans(), queue=st.sampled_from("xy"),
        size=st.sampled_from([1, 2, 40_000]), definition=st.sampled_from(["h1", "h2"]), file=UPLOADS,
    )  # fmt: skip
    def create(
        self, task_id: str, key: str | None, delay: float, undo: bool, queue: str, size: int, definition: str, file: str
    ) -> None:
        new = NewTask(
            task_id, "w", definition, f"text of {definition}", queue, 1, _text(size) or "", 60, 3, undo=undo,
            delay=max(0.0, delay), idempotency_key=key, labels={"queue": queue}, files=(file,),
        )  # fmt: skip
        self.both(lambda store: store.create(new))

    @rule(task_id=IDS, token=TOKENS)
    def claim(self, task_id: str, token: str) -> None:
        self.both(lambda store: store.claim(task_id, token, "host"))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS)
    def commit(self, task_id: str, token: str, commit: Commit) -> None:
        self.both(lambda store: store.commit(task_id, token, commit))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS, status=st.sampled_from(list(Status)), error=ERRORS)
    def finish(self, task_id: str, token: str, commit: Commit, status: Status, error: Error | None) -> None:
        self.both(lambda store: store.finish(task_id, token, commit, status, '{"x":1}', error))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS, pause=TIMES, error=ERRORS)
    def suspend(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> None:
        self.both(lambda store: store.suspend(task_id, token, commit, max(0.0, pause), error))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS)
    def release(self, task_id: str, token: str, commit: Commit) -> None:
        self.both(lambda store: store.release(task_id, token, commit))

    @rule(claims=st.dictionaries(IDS, TOKENS))
    def renew(self, claims: dict[str, str]) -> None:
        self.both(lambda store: store.renew(claims))

    @rule(grace=st.booleans())
    def reap(self, grace: bool) -> None:
        self.both(lambda store: store.reap(grace))

    @rule()
    def wake(self) -> None:
        self.both(lambda store: store.wake())

    @rule(task_id=IDS, force=st.booleans())
    def cancel(self, task_id: str, force: bool) -> None:
        self.both(lambda store: store.cancel(task_id, force))

    @rule(task_id=IDS, paths=st.sets(PATHS))
    def retry(self, task_id: str, paths: set[str]) -> None:
        self.both(lambda store: store.retry(task_id, sorted(paths)))

    @rule(older_than=st.sampled_from([0.0, 5.0, 1000.0]), limit=st.sampled_from([1, 1000]))
    def purge(self, older_than: float, limit: int) -> None:
        self.both(lambda store: store.purge(older_than, limit))

    @rule(seconds=TIMES)
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(older_than=st.sampled_from([0.0, 5.0]), status=st.sampled_from([None, *Status]), queue=st.sampled_from("xy"))
    def look(self, older_than: float, status: Status | None, queue: str) -> None:
        self.both(lambda store: store.due_in())
        self.both(lambda store: store.queued(older_than))
        self.both(lambda store: store.list(TaskFilter(status=status, labels={"queue": queue})))

    @rule(task_id=IDS, key=st.sampled_from(["variables", "outputs", "output:a", "output:b"]))
    def inspect(self, task_id: str, key: str) -> None:
        self.both(lambda store: store.get(task_id))
        self.both(lambda store: list(store.steps(task_id).items))
        self.both(lambda store: [_without_id(event) for event in store.events(task_id)])
        self.both(lambda store: store.value(task_id, key))

    @invariant()
    def unused_files_are_the_same(self) -> None:
        self.both(lambda store: store.unused(["upload", "both", "kept"]))

    @invariant()
    def counters_equal_a_recount(self) -> None:
        tasks = self.sql.list(TaskFilter(), limit=1000).items
        counted = Counter((task.queue, str(task.status)) for task in tasks)
        kept = {
            (queue, name): number
            for queue, numbers in self.sql.counts().items()
            for name, number in numbers.items()
            if name in set(Status) and number
        }
        assert kept == dict(counted)
        assert self.sql.counts() == self.memory.counts()
        assert {name for numbers in self.sql.counts().values() for name in numbers} <= set(lifecycle.COUNTERS)


def _answer(call: Callable[[TaskStore], Any], store: TaskStore) -> Any:
    try:
        return call(store)
    except StepwellError as error:
        return type(error), str(error), getattr(error, "status", None)


def _text(size: int) -> str | None:
    return '"' + "é" * size + '"' if size else None


def _without_id(event: Event) -> Event:
    return replace(event, id=0)


TwoStores.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestTwoStores = TwoStores.TestCase
