"""A work-horse with a feed that fails: tokens, patience, and when it ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.serving import eventually
from tests.unit.engine_harness import PATIENCE, Harness, use

from stepwell.engine.engine import Engine
from stepwell.errors import NotDelivered, Unavailable
from stepwell.ports import Claim
from stepwell.task import Status, Task
from stepwell.worker import board, horse
from stepwell.worker.horse import WorkHorse
from stepwell.worker.lanes import Lanes
from stepwell.worker.pipes import Rein


class Feed:
    """Takes what is queued in a memory store. `losses` are errors of the next takes: after `Unavailable` the claim was
    made nevertheless, and only its reply is lost."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.losses: list[Exception] = []
        self.tokens: list[str] = []
        self.ends: list[Status] = []
        self._claims: dict[str, Claim] = {}

    def take(self, token: str, worker: str) -> Claim | None:
        self.tokens.append(token)
        loss = self.losses.pop(0) if self.losses else None
        if isinstance(loss, NotDelivered):
            raise loss
        claim = self._claims.get(token) or self._claim(token, worker)
        if loss is not None:
            raise loss
        return claim

    def wait(self, seconds: float) -> None:
        threading.Event().wait(0.005)

    def ended(self, task: Task, token: str) -> None:
        self.ends.append(task.status)

    def _claim(self, token: str, worker: str) -> Claim | None:
        for task in self.harness.store.queued(0):
            if claim := self.harness.store.claim(task.task_id, token, worker):
                self._claims[token] = claim
                return claim
        return None


class Stable:
    """A work-horse on a thread of its own."""

    def __init__(self, folder: Path, max_tasks: int = 1000, lanes: int = 1) -> None:
        self.harness = Harness(folder, real_time=True)
        self.feed, self.rein = Feed(self.harness), Rein()
        self.place = board.Board(horses=1, lanes=lanes).places[0]
        self.codes: list[int] = []
        self.horse = WorkHorse("horse", self.place, self.rein, max_tasks, PATIENCE, self.codes.append)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def make(self, on_abandoned: Callable[[], None]) -> Any:
        lanes = Lanes(self.harness.store, self.place.lanes, 3600)
        means = self.harness.engine._means
        engine = Engine(type(means)(**{**vars(means), "claims": lanes, "on_abandoned": on_abandoned}))
        return horse.Harness(engine, self.feed, lanes)

    def ended(self, task: Task) -> bool:
        return self.harness.store.get(task.task_id).ended

    def _run(self) -> None:
        self.codes.append(self.horse.run(self.make))


@pytest.fixture
def stable(tmp_path: Path) -> Stable:
    return Stable(tmp_path)


ONE = "steps: [{id: a, output: 1}]"


def stop(stable: Stable) -> None:
    stable.rein.say("drain")
    stable.thread.join(PATIENCE)
    assert not stable.thread.is_alive()


def test_a_reply_that_was_lost_is_asked_for_with_the_same_token(stable: Stable) -> None:
    task = stable.harness.create(ONE)
    stable.feed.losses = [Unavailable("no reply"), Unavailable("no reply")]
    stable.thread.start()
    eventually(lambda: stable.ended(task))
    assert len(set(stable.feed.tokens[:3])) == 1
    stop(stable)


def test_a_store_that_is_away_is_waited_for(stable: Stable) -> None:
    stable.feed.losses = [NotDelivered("refused")] * 3
    task = stable.harness.create(ONE)
    stable.thread.start()
    eventually(lambda: stable.ended(task))
    horse_now = stable.place.horse
    assert horse_now is not None
    assert horse_now.ready
    stop(stable)


def test_it_is_not_ready_before_the_first_answer(stable: Stable) -> None:
    stable.feed.losses = [NotDelivered("refused")] * 1000
    stable.thread.start()
    eventually(lambda: len(stable.feed.tokens) > 2)
    assert stable.place.horse is not None
    assert not stable.place.horse.ready
    stable.rein.say("hurry")
    stable.thread.join(PATIENCE)
    assert stable.codes


def test_what_became_of_each_task_is_told(stable: Stable) -> None:
    tasks = [stable.harness.create(ONE), stable.harness.create("steps: [{uses: fail, with: {message: no}}]")]
    stable.thread.start()
    eventually(lambda: all(stable.ended(task) for task in tasks))
    stop(stable)
    assert sorted(stable.feed.ends) == [Status.COMPLETED, Status.FAILED]


def test_a_drain_takes_nothing_more_and_hands_back(stable: Stable) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def held() -> None:
        inside.set()
        go_on.wait(PATIENCE)

    use("held", held)
    first = stable.harness.create("steps: [{id: a, uses: held}, {id: b, output: 1}]")
    stable.thread.start()
    assert inside.wait(PATIENCE)
    second = stable.harness.create(ONE)
    stable.rein.say("drain")
    eventually(stable.horse._stopping.is_set)
    go_on.set()
    stable.thread.join(PATIENCE)
    assert {stable.harness.store.get(task.task_id).status for task in (first, second)} == {Status.QUEUED}
    assert stable.place.horse is not None
    assert stable.place.horse.leaving


def test_after_so_many_tasks_it_ends_by_itself(tmp_path: Path) -> None:
    stable = Stable(tmp_path, max_tasks=3)
    tasks = [stable.harness.create(ONE) for _ in range(5)]
    stable.thread.start()
    stable.thread.join(PATIENCE)
    assert sum(stable.ended(task) for task in tasks) == 3
    assert stable.place.horse is not None
    assert stable.place.horse.leaving


def test_memory_that_grows_ends_it(stable: Stable, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter([10, 10 + horse.GROWTH, 11 + horse.GROWTH])
    monkeypatch.setattr(horse, "size", lambda: next(sizes))
    monkeypatch.setattr(horse, "MEASURE_EVERY", 1)
    tasks = [stable.harness.create(ONE) for _ in range(5)]
    stable.thread.start()
    stable.thread.join(PATIENCE)
    assert sum(stable.ended(task) for task in tasks) == 2


def test_a_defect_of_ours_ends_it_as_a_crash(stable: Stable, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Engine, "run_claimed", broken)
    stable.harness.create(ONE)
    stable.thread.start()
    stable.thread.join(PATIENCE)
    assert stable.codes[0] == 1
    assert stable.place.horse is not None
    assert not stable.place.horse.leaving


def test_the_next_task_begins_in_the_folder_of_the_project(stable: Stable, tmp_path: Path) -> None:
    home = Path.cwd()
    inside = tmp_path / "gone"

    def wander() -> None:
        inside.mkdir()
        os.chdir(inside)
        inside.rmdir()

    use("wander", wander)
    use("where", lambda: str(Path.cwd()))
    stable.harness.create("steps: [{uses: wander}]")
    second = stable.harness.create("steps: [{id: a, uses: where}]")
    stable.thread.start()
    eventually(lambda: stable.ended(second))
    stop(stable)
    assert stable.harness.output(second, "a") == str(home)


def test_a_lane_that_breaks_ends_it_when_the_others_are_done(tmp_path: Path) -> None:
    stable = Stable(tmp_path, lanes=2)
    inside, go_on = threading.Event(), threading.Event()

    def held() -> None:
        inside.set()
        go_on.wait(PATIENCE)

    use("held", held)
    task = stable.harness.create("steps: [{uses: held}]")
    stable.thread.start()
    assert inside.wait(PATIENCE)
    stable.feed.losses = [ValueError("a reply that nobody understands")]
    eventually(stable.horse._stopping.is_set)
    assert stable.codes == []
    go_on.set()
    stable.thread.join(PATIENCE)
    assert stable.codes[0] == 1
    assert stable.harness.store.get(task.task_id).status is Status.COMPLETED
