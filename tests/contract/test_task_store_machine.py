"""Random moves: every store answers what its twin in memory answers, and its counters equal a recount."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from tests.contract.twins import TWINS, Twins, plain, run, without_id

from stepwell.ports import Commit, Revision, TaskFilter
from stepwell.task import (
    AuditEntry,
    Error,
    NewEvent,
    NewTask,
    Status,
    StepRecord,
    StepStatus,
)

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
BOUNDS = st.sampled_from([None, 1, 3])
QUEUES = st.sampled_from("xy")
WORKERS = st.sampled_from(["host:1", "host:2"])
DEAD = st.sampled_from([None, None, True, False])
NEW = st.builds(
    lambda task_id, key, fingerprint, delay, undo, queue, priority, size, definition, file: NewTask(
        task_id, "w", definition, f"text of {definition}", queue, priority, _text(size) or "", 60, 3, undo=undo,
        delay=max(0.0, delay), idempotency_key=key, fingerprint=fingerprint, labels={"queue": queue}, files=(file,),
    ),
    IDS, st.sampled_from([None, "k"]), st.sampled_from(["f", "f", "g"]), TIMES, st.booleans(), QUEUES,
    st.integers(0, 3), st.sampled_from([1, 2, 40_000]), st.sampled_from(["h1", "h2"]), UPLOADS,
)  # fmt: skip
REVISIONS = st.sampled_from(
    [None, None, Revision('"1"'), Revision('"' + "x" * 70_000 + '"', "h2", "text of h2", True, ("both",))]
)


class TwoStores(Twins):
    """All that concerns one task, and what is counted."""

    @rule(new=NEW, bound=BOUNDS)
    def create(self, new: NewTask, bound: int | None) -> None:
        self.both(lambda store: store.create(new, bound))

    @rule(new=st.lists(NEW, max_size=4), bound=BOUNDS)
    def create_many(self, new: list[NewTask], bound: int | None) -> None:
        self.both(lambda store: store.create_many(new, bound))

    @rule(task_id=IDS, token=TOKENS, worker=WORKERS)
    def claim(self, task_id: str, token: str, worker: str) -> None:
        self.both(lambda store: plain(store.claim(task_id, token, worker)))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS)
    def commit(self, task_id: str, token: str, commit: Commit) -> None:
        self.both(lambda store: store.commit(task_id, token, commit))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS, status=st.sampled_from(list(Status)), error=ERRORS)
    def finish(self, task_id: str, token: str, commit: Commit, status: Status, error: Error | None) -> None:
        self.both(lambda store: store.finish(task_id, token, commit, status, '{"x":1}', error))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS, pause=TIMES, error=ERRORS)
    def back_off(self, task_id: str, token: str, commit: Commit, pause: float, error: Error | None) -> None:
        self.both(lambda store: store.back_off(task_id, token, commit, max(0.0, pause), error))

    @rule(task_id=IDS, token=TOKENS, commit=COMMITS, pause=TIMES)
    def release(self, task_id: str, token: str, commit: Commit, pause: float) -> None:
        self.both(lambda store: store.release(task_id, token, commit, pause))

    @rule(claims=st.dictionaries(IDS, TOKENS))
    def renew(self, claims: dict[str, str]) -> None:
        self.both(lambda store: store.renew(claims))

    @rule(grace=st.booleans())
    def reap(self, grace: bool) -> None:
        self.both(lambda store: store.reap(grace))

    @rule(worker=WORKERS, crashed=st.booleans())
    def lose(self, worker: str, crashed: bool) -> None:
        self.both(lambda store: store.lose(worker, crashed))

    @rule()
    def wake(self) -> None:
        self.both(lambda store: store.wake())

    @rule(task_id=IDS, force=st.booleans())
    def cancel(self, task_id: str, force: bool) -> None:
        self.both(lambda store: store.cancel(task_id, force))

    @rule(task_id=IDS, paths=st.sets(PATHS), attempt=st.sampled_from([1, 1, 2, 3]), revision=REVISIONS)
    def retry(self, task_id: str, paths: set[str], attempt: int, revision: Revision | None) -> None:
        self.both(lambda store: store.retry(task_id, sorted(paths), attempt, revision))

    @rule(task_id=IDS)
    def discard(self, task_id: str) -> None:
        self.both(lambda store: store.discard(task_id))

    @rule(queue=QUEUES, paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.both(lambda store: store.pause(queue) if paused else store.resume(queue))
        self.both(lambda store: set(store.paused()))

    @rule(account=st.sampled_from(["ann", "bob"]), amount=st.integers(0, 3), limit=st.integers(0, 5))
    def spend(self, account: str, amount: int, limit: int) -> None:
        self.both(lambda store: store.spend(account, amount, limit, 1e9))

    @rule(task_id=IDS, limit=st.integers(1, 3))
    def note(self, task_id: str, limit: int) -> None:
        self.both(lambda store: store.note(AuditEntry("ann", "admin", "task.get", task_id, 200)))
        self.both(lambda store: list(store.audit(limit).items))

    @rule(older_than=st.sampled_from([0.0, 5.0, 1000.0]), limit=st.sampled_from([1, 1000]))
    def purge(self, older_than: float, limit: int) -> None:
        self.both(lambda store: store.purge(older_than, limit))

    @rule(seconds=TIMES)
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule(older_than=st.sampled_from([0.0, 5.0]), status=st.sampled_from([None, *Status]), queue=QUEUES, dead=DEAD)
    def look(self, older_than: float, status: Status | None, queue: str, dead: bool | None) -> None:
        self.both(lambda store: store.due_in())
        self.both(lambda store: store.queued(older_than))
        self.both(lambda store: list(store.list(TaskFilter(status=status, labels={"queue": queue}, dead=dead)).items))
        self.both(lambda store: dict(store.ages()))
        self.both(lambda store: {name: dict(ended) for name, ended in store.pace().items() if any(ended.values())})

    @rule(task_id=IDS, key=st.sampled_from(["variables", "outputs", "output:a", "output:b"]))
    def inspect(self, task_id: str, key: str) -> None:
        self.both(lambda store: store.get(task_id))
        self.both(lambda store: list(store.steps(task_id).items))
        self.both(lambda store: [without_id(event) for event in store.events(task_id)])
        self.both(lambda store: store.value(task_id, key))

    @invariant()
    def unused_files_are_the_same(self) -> None:
        self.both(lambda store: store.unused(["upload", "both", "kept"]))


@pytest.mark.parametrize("kind", TWINS)
def test_a_store_answers_as_its_twin_in_memory(kind: str, request: pytest.FixtureRequest) -> None:
    run(TwoStores, kind, request)


def _text(size: int) -> str | None:
    return '"' + "é" * size + '"' if size else None
