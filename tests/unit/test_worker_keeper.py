"""The keeper on a memory store: leases, dead work-horses, and what others are shown."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.acceptance.serving import eventually
from tests.tasks import queued

from stepwell import lifecycle
from stepwell.engine.sweeper import Sweeper
from stepwell.errors import Unavailable
from stepwell.ports import Commit, Lease, Suspension, WorkerView
from stepwell.queues.silent import SilentQueue
from stepwell.stores.files import FsspecFileStore
from stepwell.stores.memory import MemoryStore
from stepwell.task import Crew, NewTask, Status, Task
from stepwell.worker.board import Board, Horse, Work
from stepwell.worker.keeper import Keeper, Tools
from stepwell.worker.pipes import Link, Lost, Rein, as_order

LEASE = 0.2


class Store(MemoryStore):
    """Leases are counted, and the store may be away."""

    def __init__(self) -> None:
        super().__init__(lease_seconds=3600)
        self.renewed: list[Mapping[str, str]] = []
        self.away = False

    def renew(self, claims: Mapping[str, str]) -> dict[str, Lease]:
        self.renewed.append(dict(claims))
        return super().renew(claims)

    def lose(self, worker: str, crashed: bool = True) -> list[Task]:
        if self.away:
            raise Unavailable("gone fishing")
        return super().lose(worker, crashed)


class Shown:
    """What others see."""

    def __init__(self) -> None:
        self.views: list[WorkerView | None] = []

    def beat(self, view: WorkerView) -> bool:
        self.views.append(view)
        return True

    def gone(self) -> None:
        self.views.append(None)


class Bells(SilentQueue):
    """The ids of the tasks that were rung for."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self, task: Task) -> None:
        self.rung.append(task.task_id)


class Stage:
    """A keeper on a thread of its own, and all that it works with."""

    def __init__(self, folder: Path) -> None:
        self.store, self.shown, self.bells = Store(), Shown(), Bells()
        self.board, self.reins, self.link = Board(horses=2, lanes=2), [Rein(), Rein()], Link()
        self.rein = self.reins[0]
        files = FsspecFileStore(str(folder / "files"))
        sweeper = Sweeper(self.store, files, SilentQueue(), lease_seconds=3600, result_ttl=3600)
        tools = Tools(self.store, self.bells, sweeper, self.shown)
        view = WorkerView("worker", "host", 1, "running", ("q",), started_at=0.0, heartbeat_at=0.0)
        self.keeper = Keeper(view, self.board, self.reins, self.link, LEASE)
        self.codes: list[int] = []
        self.thread = threading.Thread(target=lambda: self.codes.append(self.keeper.run(lambda: tools)), daemon=True)
        self.thread.start()

    def claimed(self, task_id: str, lane: int = 0) -> str:
        """A task that the work-horse of our own process runs; its token."""
        model, text = queued(task_id), '{"steps": [{"output": 1}]}'
        self.store.create(NewTask(task_id, "w", model.definition, text, model.queue, 1, "{}", 60.0, 0))
        token = f"token-{task_id}"
        assert self.store.claim(task_id, token, "horse")
        place = self.board.places[0]
        place.introduce(Horse("horse", os.getpid(), ready=True))
        place.lanes[lane].show(Work(task_id, token, 0.0, "step", 60.0))
        return token

    def status(self, task_id: str) -> tuple[Status, int]:
        task = self.store.get(task_id)
        return task.status, task.crashes


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.store.away = False
    if stage.thread.is_alive():
        stage.link.order(stop=True)
        stage.thread.join(20)
    stage.link.close()


def test_all_that_work_horses_show_is_renewed_in_one_call(stage: Stage) -> None:
    first, second = stage.claimed("a", lane=0), stage.claimed("b", lane=1)
    eventually(lambda: {"a": first, "b": second} in stage.store.renewed)
    lanes = stage.board.places[0].lanes
    eventually(lambda: lanes[0].granted(first) and lanes[1].granted(second))


def test_the_work_horse_is_told_what_the_store_says(stage: Stage) -> None:
    token = stage.claimed("a")
    stage.store.cancel("a", force=True)
    assert eventually(lambda: stage.rein.hear(0)) == [("cancel", token)]
    stage.store.lose("horse")
    eventually(lambda: ("lose", token) in (stage.rein.hear(0) or []))


@pytest.mark.parametrize("place", [0, 1])
def test_a_task_that_a_sibling_took_over_is_lost_to_the_first_alone(stage: Stage, place: int) -> None:
    token = stage.claimed("a")
    held, stale = stage.board.places[place], stage.board.places[1 - place]
    for one in (held, stale):
        one.introduce(Horse("horse", os.getpid(), ready=True))
    stale.lanes[0].show(Work("a", "stale", 0.0, "step", 60.0))
    held.lanes[0].show(Work("a", token, 0.0, "step", 60.0))
    eventually(lambda: ("lose", "stale") in (stage.reins[1 - place].hear(0) or []))
    eventually(lambda: held.lanes[0].granted(token))
    assert ("lose", token) not in (stage.reins[place].hear(0) or [])
    assert stale.lanes[0].granted("stale") == 0.0


def test_tasks_that_are_gone_with_all_data_end_no_keeper(stage: Stage) -> None:
    stage.link.order(**as_order(Lost("horse", True, (("gone", "token"),))))
    assert eventually(stage.link.done) == ["horse"]
    assert stage.codes == []


@pytest.mark.parametrize(("crashed", "crashes"), [(True, 1), (False, 0)])
def test_the_tasks_of_a_dead_work_horse_are_taken_and_rung_for(stage: Stage, crashed: bool, crashes: int) -> None:
    stage.claimed("a")
    stage.link.order(**as_order(Lost("horse", crashed)))
    assert eventually(stage.link.done) == ["horse"]
    assert stage.status("a") == (Status.QUEUED, crashes)
    assert stage.bells.rung == ["a"]


def test_children_of_a_task_that_is_given_up_are_cancelled(stage: Stage) -> None:
    token, store = stage.claimed("a"), stage.store
    for number in range(1, lifecycle.MAX_CRASHES):
        store.lose("horse")
        later, token = time.time() + 60 * number, f"token-{number}"
        store.now = partial(float, later)
        store.wake()
        assert store.claim("a", token, "horse")
    child = NewTask("c", "w", "h", "{}", "line", 1, "{}", 60.0, 0, ancestors=("a",), place="each", index=0)
    store.spawn("a", token, "each", Crew(2, at_once=1, allowed=2, wanted=2), [child, replace(child, task_id="held")])
    assert store.claim("c", "C", "other")
    store.suspend("c", "C", Commit(), Suspension())
    stage.link.order(**as_order(Lost("horse", True)))
    assert eventually(stage.link.done) == ["horse"]
    assert [stage.status(task_id)[0] for task_id in ("a", "c", "held")] == [
        Status.FAILED,
        Status.CANCELLED,
        Status.CANCELLED,
    ]


def test_of_a_killed_work_horse_only_the_guilty_task_crashed(stage: Stage) -> None:
    stage.claimed("guilty", lane=0)
    token = stage.claimed("victim", lane=1)
    stage.link.order(**as_order(Lost("horse", True, (("victim", token),))))
    eventually(stage.link.done)
    assert (stage.status("guilty"), stage.status("victim")) == ((Status.QUEUED, 1), (Status.QUEUED, 0))


def test_a_store_that_is_away_is_asked_again(stage: Stage) -> None:
    stage.claimed("a")
    stage.store.away = True
    stage.link.order(**as_order(Lost("horse", True)))
    eventually(lambda: "horse" in stage.keeper._lost)
    stage.store.away = False
    assert eventually(stage.link.done) == ["horse"]


def test_others_see_what_is_done(stage: Stage) -> None:
    stage.claimed("a")
    view = eventually(lambda: next((view for view in stage.shown.views if view and view.horses), None))
    (horse,) = view.horses
    assert (horse.name, horse.state, horse.task_id, horse.path) == ("horse", "busy", "a", "step")
    stage.board.places[0].lanes[0].rest(1.0)
    eventually(lambda: (last := stage.shown.views[-1]) and last.horses[0].state == "idle")
    eventually(lambda: (last := stage.shown.views[-1]) and last.state == "suspended")
    stage.link.order(state="draining")
    eventually(lambda: (last := stage.shown.views[-1]) and last.state == "draining")


def test_at_the_end_nothing_of_it_is_shown(stage: Stage) -> None:
    eventually(lambda: stage.shown.views)
    stage.link.order(stop=True)
    stage.thread.join(20)
    assert stage.codes == [0]
    assert stage.shown.views[-1] is None
