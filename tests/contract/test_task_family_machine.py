"""Random moves of waiting tasks, their children and events: every store answers what its twin in memory answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from tests.contract.twins import TWINS, Twins, plain, run, without_id

from stepwell.ports import Commit, Suspension, TaskFilter, TaskStore
from stepwell.task import Crew, Error, NewMail, NewTask, Publication, Status, StepRecord, StepStatus, Task

PICKS = st.integers(0, 5)
ENDS = st.sampled_from([Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.CANCELLED])
TIMES = st.sampled_from([1.0, 5.0, 40.0, -7.0])
MAIL = st.builds(
    NewMail, st.sampled_from("ab"), st.sampled_from("12"), st.sampled_from([None, "ann"]),
    st.sampled_from([None, None, "k"]), st.booleans(), st.sampled_from([None, None, 1_700_000_010.0]),
)  # fmt: skip
PLACES = st.sampled_from("aab")
NAMES = st.sampled_from(["paid", "paid", "sent"])
TOPIC = st.sampled_from(["paid", "sent", "paid\0n\x001", "paid\0n\x002"])
TOPICS = st.lists(TOPIC, max_size=2, unique=True)
CREWS = st.builds(
    lambda total, at_once, allowed, wanted: Crew(total, at_once, allowed, min(total, wanted)),
    st.integers(0, 4), st.integers(1, 3), st.integers(0, 4), st.sampled_from([0, 1, 4, 4, 4]),
)  # fmt: skip


class Families(Twins):
    """Two tasks that run at first; `tokens` holds the newest token of each task."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[str, str] = {}
        self.claims = 0

    @initialize(undo=st.booleans())
    def begin(self, undo: bool) -> None:
        self.begin_anew(undo)

    @rule(undo=st.booleans())
    def begin_anew(self, undo: bool) -> None:
        for task_id in ("t1", "t2"):
            new = _new(task_id, undo=undo)
            self.both(partial(_create, new))
            self.claim_one(task_id)

    def picked(self, number: int, *statuses: Status) -> str:
        """The id of one of the tasks in these states, if there are any, or of `t1`."""
        found = sorted(task.task_id for task in self.tasks(self.memory) if task.status in statuses)
        return found[number % len(found)] if found else "t1"

    def running(self, number: int) -> tuple[str, str]:
        """A running task and its token."""
        task_id = self.picked(number, Status.RUNNING)
        return task_id, self.tokens.get(task_id, "none")

    def claim_one(self, task_id: str) -> None:
        self.claims += 1
        self.tokens[task_id] = token = f"k{self.claims}"
        self.both(lambda store: plain(store.claim(task_id, token, "host:1")))

    @rule(number=PICKS)
    def claim(self, number: int) -> None:
        self.claim_one(self.picked(number, Status.QUEUED))

    @rule(number=PICKS, status=ENDS)
    def finish(self, number: int, status: Status) -> None:
        task_id, token = self.running(number)
        self.both(lambda store: store.finish(task_id, token, Commit(), status, "1", None))

    @rule(ends=st.lists(ENDS, min_size=1, max_size=5), number=PICKS)
    def run_children(self, ends: list[Status], number: int) -> None:
        for status in ends:
            tasks = self.tasks(self.memory)
            queued = [task.task_id for task in tasks if task.ancestors and task.status is Status.QUEUED]
            if queued:
                task_id = sorted(queued)[number % len(queued)]
                self.claim_one(task_id)
                self.both(partial(_finish, task_id, self.tokens[task_id], status))

    @rule(number=PICKS, call=st.sampled_from(["commit", "back_off", "release"]))
    def write(self, number: int, call: str) -> None:
        task_id, token = self.running(number)
        commit = Commit([StepRecord("a", "a", StepStatus.RUNNING, "call", attempts=1)])
        calls = {
            "commit": lambda store: store.commit(task_id, token, commit),
            "back_off": lambda store: store.back_off(task_id, token, commit, 5, Error("x", "y")),
            "release": lambda store: store.release(task_id, token, commit),
        }
        self.both(calls[call])

    @rule(
        number=PICKS, due=st.sampled_from([None, None, 5.0]), seen=st.integers(0, 2), topics=TOPICS,
        reads=st.booleans(), undoing=st.booleans(),
    )  # fmt: skip
    def suspend(self, number: int, due: float | None, seen: int, topics: list[str], reads: bool, undoing: bool) -> None:
        task_id, token = self.running(number)
        when = None if due is None else self.time + due
        waits = StepRecord("b", "b", StepStatus.WAITING, "wait", wait={"kind": "event", "due": when})

        def wait(store: TaskStore) -> Task:
            positions = {topic: store.published(topic).position for topic in topics if reads}
            suspension = Suspension(when, max(0, len(store.mailbox(task_id)) - seen), topics, positions)
            return store.suspend(task_id, token, Commit([waits], undoing=undoing), suspension)

        self.both(wait)

    @rule(number=PICKS, mail=MAIL)
    def send(self, number: int, mail: NewMail) -> None:
        task_id = self.picked(number, Status.WAITING, Status.RUNNING, Status.COMPLETED)
        self.both(lambda store: store.send(task_id, mail))
        self.both(lambda store: list(store.mailbox(task_id, 1)))

    @rule(number=PICKS, place=PLACES, crew=CREWS, round_=st.sampled_from([1, 1, 2, 3]), undoing=st.booleans())
    def spawn(self, number: int, place: str, crew: Crew, round_: int, undoing: bool) -> None:
        parent, token = self.running(number)
        around = next((task.ancestors for task in self.tasks(self.memory) if task.task_id == parent), ())
        children = [
            _new(
                f"{parent}.{place}{index}", (*around, parent), place=place, index=index, attempt=round_, undoing=undoing
            )
            for index in range(crew.total)
        ]
        self.both(lambda store: store.spawn(parent, token, place, replace(crew, round=round_), children))

    @rule(number=PICKS, ends=st.lists(ENDS, min_size=1, max_size=5), crew=CREWS, round_=st.sampled_from([1, 2, 3]))
    def run_a_crew(self, number: int, ends: list[Status], crew: Crew, round_: int) -> None:
        self.spawn(number, "a", crew, round_, False)
        self.run_children(ends, number)

    @rule(number=PICKS, place=st.sampled_from([None, "a", "b"]))
    def cancel_children(self, number: int, place: str | None) -> None:
        parent = self.picked(number, Status.RUNNING, Status.WAITING)
        self.both(lambda store: sorted(store.cancel_children(parent, place), key=lambda task: task.task_id))

    @rule(number=PICKS, force=st.booleans())
    def cancel(self, number: int, force: bool) -> None:
        task_id = self.picked(number, *Status)
        self.both(lambda store: store.cancel(task_id, force))

    @rule(number=PICKS, paths=st.sets(st.sampled_from("ab")))
    def retry(self, number: int, paths: set[str]) -> None:
        task_id = self.picked(number, Status.FAILED, Status.CANCELLED)
        self.both(lambda store: store.retry(task_id, sorted(paths), store.get(task_id).attempt))

    @rule(seconds=TIMES)
    def time_passes(self, seconds: float) -> None:
        self.time += seconds
        self.both(lambda store: store.due_in())
        self.both(lambda store: store.wake())

    @rule(crashed=st.booleans())
    def lose(self, crashed: bool) -> None:
        self.both(lambda store: store.lose("host:1", crashed))

    @rule()
    def renew(self) -> None:
        self.both(lambda store: store.renew(self.tokens))
        self.both(lambda store: store.reap())

    @rule(older_than=st.sampled_from([0.0, 5.0]))
    def purge(self, older_than: float) -> None:
        self.both(lambda store: store.purge(older_than))

    @rule(name=NAMES, number=st.integers(1, 2), key=st.sampled_from([None, None, "k"]))
    def publish(self, name: str, number: int, key: str | None) -> None:
        topics = (name, f"{name}\0n\0{number}")

        def publish(store: TaskStore) -> tuple[Publication, bool]:
            publication, is_new = store.publish(name, str(number), topics, key, "ann")
            return replace(publication, id=""), is_new

        self.both(publish)

    @rule(topic=TOPIC, since=TIMES, limit=st.integers(1, 3))
    def published(self, topic: str, since: float, limit: int) -> None:
        self.both(lambda store: _without_ids(store.published(topic, None, self.time - since, limit).items))

    @rule(group=st.sampled_from(["waits", "triggers"]), deliver=st.booleans(), rouse=st.booleans())
    def courier(self, group: str, deliver: bool, rouse: bool) -> None:
        def work(store: TaskStore) -> list[object]:
            found = store.undelivered(group, "c", 2)
            roused = [task for publication in found if rouse for task in store.rouse(publication)]
            for publication in found if deliver else ():
                store.delivered(group, publication, 1)
            return [_without_ids(found), sorted(roused, key=lambda task: task.task_id)]

        self.both(work)

    @invariant()
    def all_is_alike(self) -> None:
        self.both(self.tasks)
        self.both(lambda store: {name: dict(n) for name, n in store.publications().items() if any(n.values())})

    @rule(number=PICKS, place=PLACES)
    def inspect(self, number: int, place: str) -> None:
        task_id = self.picked(number, *Status)
        self.both(lambda store: store.crew(task_id, place))
        self.both(lambda store: list(store.list(TaskFilter(parent=task_id, place=place)).items))
        self.both(lambda store: list(store.mailbox(task_id)))
        self.both(lambda store: store.step(task_id, place))
        self.both(lambda store: [without_id(event) for event in store.events(task_id)])


@pytest.mark.parametrize("kind", TWINS)
def test_a_store_answers_as_its_twin_in_memory(kind: str, request: pytest.FixtureRequest) -> None:
    run(Families, kind, request, examples=60)


def _new(task_id: str, ancestors: tuple[str, ...] = (), **changes: object) -> NewTask:
    base = NewTask(task_id, "w", "h1", "text of h1", "x", 1, "{}", 60, 3, files=("upload",), ancestors=ancestors)
    return replace(base, **changes)  # type: ignore[arg-type]


def _finish(task_id: str, token: str, status: Status, store: TaskStore) -> Task:
    return store.finish(task_id, token, Commit(), status, "1", None)


def _create(new: NewTask, store: TaskStore) -> Task:
    return store.create(new)[0]


def _without_ids(publications: Sequence[Publication]) -> list[Publication]:
    return [replace(publication, id="") for publication in publications]
