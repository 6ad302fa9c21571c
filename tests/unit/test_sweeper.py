"""What is old goes, tasks and files and work folders, and nothing that somebody may need."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from tests.acceptance.serving import eventually

from stepwell.engine import sweeper as sweeper_module
from stepwell.engine import workfolder
from stepwell.engine.expiry import Expiry
from stepwell.engine.sweeper import Sweeper
from stepwell.engine.workfolder import WorkFolder, remove_abandoned
from stepwell.errors import NotFound, Unavailable
from stepwell.lifecycle import CRASH_DELAY, MAX_CRASHES
from stepwell.loader import Catalog
from stepwell.ports import Commit, Purged, Suspension, TaskStore
from stepwell.queues.silent import SilentQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Submission
from stepwell.stores.files import FsspecFileStore
from stepwell.stores.memory import MemoryStore
from stepwell.stores.sql import SqlStore
from stepwell.task import Crew, NewTask, Status, StepRecord, StepStatus, Task

DAY = 86400.0
TTL = 7 * DAY
ROUNDS = 16
"""After so many sweeps every file was looked at."""


class Noting(SilentQueue):
    """A queue whose bells are all lost, and which notes those that are rung again."""

    def __init__(self) -> None:
        self.rung: list[Task] = []

    def ring_again(self, tasks: Sequence[Task]) -> int:
        self.rung.extend(tasks)
        return len(tasks)


@dataclass
class World:
    """A store, its files, and the time that both go by."""

    store: TaskStore
    folder: Path
    time: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.files = FsspecFileStore(str(self.folder / "kept"), now=lambda: self.time)

    def put(self, content: str) -> str:
        """Keep a file at the world's time."""
        source = self.folder / "source"
        source.write_text(content)
        sha256: str = self.files.put(source)["sha256"]
        os.utime(self.path(sha256), (self.time, self.time))
        return sha256

    def path(self, sha256: str) -> Path:
        return self.folder / "kept" / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def submit(self, task_id: str, *files: str, delay: float = 0.0) -> None:
        new = NewTask(task_id, "w", "h", "steps: []", "line", 1, "{}", timeout=60, max_retries=3)
        self.store.create(replace(new, files=files, delay=delay))

    def run(self, task_id: str, *kept: str, until: Status = Status.COMPLETED) -> None:
        """Have a task keep these files and come to this state."""
        files = {sha256: {"size": 1, "sha256": sha256} for sha256 in kept}
        commit = Commit(steps=[StepRecord("a", "0001", StepStatus.COMPLETED, "call", files=files)])
        assert self.store.claim(task_id, "A", "host:1")
        if until is Status.RUNNING:
            self.store.commit(task_id, "A", commit)
        elif until is Status.WAITING:
            self.store.back_off(task_id, "A", commit, 1e9, None)
        else:
            self.store.finish(task_id, "A", commit, until, None, None)

    def sweep(self, ttl: float = TTL) -> None:
        """So many sweeps, by a process that has just started, that every file was looked at."""
        expiry = Expiry(self.store, self.files, ttl)
        for _ in range(ROUNDS):
            expiry.sweep()


@pytest.fixture(params=["memory", "sqlite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made: list[World] = []

    def now() -> float:
        return made[0].time

    memory = request.param == "memory"
    store: TaskStore = MemoryStore(now) if memory else SqlStore(f"sqlite:///{tmp_path}/sweeper.db", clock=now)
    with closing(store):
        made.append(World(store, tmp_path))
        yield made[0]


def test_files_go_with_the_last_task_that_refers_to_them(world: World) -> None:
    upload, kept, shared = world.put("upload"), world.put("kept"), world.put("shared")
    world.submit("t1", upload)
    world.run("t1", kept, shared)
    world.time += DAY
    world.submit("t2", shared)
    world.run("t2")
    world.time += TTL - 60
    world.sweep()
    assert (world.has(upload), world.has(kept), world.has(shared)) == (False, False, True)
    with pytest.raises(NotFound):
        world.store.get("t1")
    world.time += 120
    world.sweep()
    assert not world.has(shared)


def test_one_sweep_removes_the_files_of_all_tasks_that_it_purges(world: World) -> None:
    files = [world.put(str(number)) for number in range(250)]
    for number, sha256 in enumerate(files):
        world.submit(f"t{number}", sha256)
        world.run(f"t{number}")
    world.time += TTL + 60
    Expiry(world.store, world.files, TTL).sweep()
    assert [sha256 for sha256 in files if world.has(sha256)] == []
    assert world.store.unused(files) == files


@pytest.mark.parametrize("status", [Status.PENDING, Status.QUEUED, Status.RUNNING, Status.WAITING])
def test_a_live_task_of_any_age_keeps_its_files(world: World, status: Status) -> None:
    upload, kept = world.put("upload"), world.put("kept")
    world.submit("t1", upload, delay=1e9 if status is Status.PENDING else 0.0)
    if status in (Status.RUNNING, Status.WAITING):
        world.run("t1", kept, until=status)
    world.time += 10 * TTL
    world.sweep()
    assert world.has(upload)
    assert world.has(kept) == (status in (Status.RUNNING, Status.WAITING))


def test_a_retried_task_keeps_what_its_steps_had_kept(world: World) -> None:
    kept = world.put("kept")
    world.submit("t1")
    world.run("t1", kept, until=Status.FAILED)
    world.store.retry("t1", ["a"], 1)
    world.time += 2 * TTL
    world.sweep()
    assert world.has(kept)


def test_an_upload_waits_for_its_task_as_long_as_a_task_is_kept(world: World) -> None:
    upload = world.put("upload")
    world.time += TTL - 60
    world.sweep()
    assert world.has(upload)
    world.time += 120
    world.sweep()
    assert not world.has(upload)


def test_what_was_put_again_outlives_the_task_that_had_it(world: World) -> None:
    """A running step has put the content of an old task's file, and its record is on its way."""
    kept = world.put("kept")
    world.submit("t1", kept)
    world.run("t1")
    world.submit("t2")
    world.time += TTL + 60
    world.put("kept")
    world.sweep()
    with pytest.raises(NotFound):
        world.store.get("t1")
    assert world.has(kept)
    world.run("t2", kept)
    world.time += TTL - 60
    world.sweep()
    assert world.has(kept)


def test_short_lives_of_tasks_do_not_endanger_files_that_were_just_put(world: World) -> None:
    upload = world.put("upload")
    world.time += 1800
    world.sweep(ttl=1.0)
    assert world.has(upload)
    world.time += 3600
    world.sweep(ttl=1.0)
    assert not world.has(upload)


@pytest.mark.parametrize("unused_before_crash", [False, True])
def test_files_of_a_purge_that_was_cut_short_are_found_later(world: World, unused_before_crash: bool) -> None:
    kept, other = world.put("kept"), world.put("other")
    world.submit("t1", kept, other)
    world.run("t1")
    world.time += TTL + 60
    assert world.store.purge(TTL).files == sorted([kept, other])
    if unused_before_crash:
        world.files.remove(kept)
    world.sweep()
    assert [world.has(kept), world.has(other)] == [False, False]


def test_a_file_store_that_does_not_answer_is_asked_again_later(world: World) -> None:
    kept = world.put("kept")
    world.submit("t1", kept)
    world.run("t1")
    world.time += TTL + 60
    away, here = world.folder / "away", world.folder / "kept"
    here.rename(away)
    here.write_text("in the way")
    with pytest.raises(Unavailable, match="kept"):
        world.sweep()
    here.unlink()
    away.rename(here)
    world.sweep()
    assert not world.has(kept)


def test_what_a_dead_upload_left_goes_after_a_day(world: World) -> None:
    world.put("x")
    left = world.folder / "kept" / "incoming" / "left"
    left.write_text("half")
    os.utime(left, (world.time, world.time))
    world.time += DAY - 60
    world.sweep()
    assert left.exists()
    world.time += 120
    world.sweep()
    assert not left.exists()


def test_a_process_that_ends_removes_nothing_more(world: World) -> None:
    upload = world.put("upload")
    world.submit("t1", upload)
    world.run("t1")
    world.time += TTL + 60
    Expiry(world.store, world.files, TTL, stopped=lambda: True).sweep()
    assert world.has(upload)
    assert world.store.get("t1").ended


def test_a_started_sweeper_rings_and_expires(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    world.submit("old")
    world.run("old")
    world.time += TTL + 60
    world.submit("new")
    queue = Noting()
    sweeper = Sweeper(world.store, world.files, queue, lease_seconds=10.0, result_ttl=TTL)
    sweeper.sweep()
    assert [task.task_id for task in queue.rung] == ["new"]
    sweeper.start()
    try:
        deadline = time.monotonic() + 20
        while _is_there(world.store, "old"):
            assert time.monotonic() < deadline
    finally:
        sweeper.stop()


def test_an_unexpected_error_ends_no_expiry(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sweeper_module, "PURGE_EVERY", 0.01)
    world.submit("old")
    world.run("old")
    world.time += TTL + 60
    purge, failures = world.store.purge, [OSError("no room"), ValueError("nobody expects it")]

    def failing(older_than: float, limit: int) -> Purged:
        if failures:
            raise failures.pop()
        return purge(older_than, limit)

    monkeypatch.setattr(world.store, "purge", failing)
    sweeper = Sweeper(world.store, world.files, SilentQueue(), lease_seconds=10.0, result_ttl=TTL)
    sweeper.start()
    try:
        eventually(lambda: not _is_there(world.store, "old"))
    finally:
        sweeper.stop()
    assert [record.message for record in caplog.records] == ["removing what is old failed"] * 2


@pytest.fixture
def bereaved(world: World) -> TaskStore:
    """A store with a task whose lease is over for the last time, and three of its children: one has begun to wait, so
    has one that has something to undo, and one is held."""
    store, parent = world.store, NewTask("t1", "w", "h", "steps: []", "line", 1, "{}", timeout=60, max_retries=3)
    store.create(parent)
    for number in range(MAX_CRASHES):
        assert store.claim("t1", f"A{number}", "host:1")
        if number == MAX_CRASHES - 1:
            break
        store.lose("host:1")
        world.time += CRASH_DELAY * 2**MAX_CRASHES
        store.wake()
    children = [
        replace(parent, task_id=f"c{number}", ancestors=("t1",), place="each", index=number, undo=number == 1)
        for number in range(3)
    ]
    store.spawn("t1", f"A{MAX_CRASHES - 1}", "each", Crew(3, at_once=2, allowed=3, wanted=3), children)
    for child in ("c0", "c1"):
        assert store.claim(child, "B", "host:2")
        store.suspend(child, "B", Commit(), Suspension())
    world.time += 3600
    return store


class Rung(SilentQueue):
    """A queue that notes for whom it rang."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self, task: Task) -> None:
        self.rung.append(task.task_id)


def test_children_of_a_task_that_is_given_up_are_cancelled(world: World, bereaved: TaskStore) -> None:
    queue = Rung()
    bereaved.rings_with(queue.ring)
    Sweeper(bereaved, world.files, queue, lease_seconds=10.0, result_ttl=TTL, elapsed=lambda: 0.0).sweep()
    assert bereaved.get("t1").status is Status.FAILED
    children = [bereaved.get(f"c{number}") for number in range(3)]
    assert [child.status for child in children] == [Status.CANCELLED, Status.QUEUED, Status.CANCELLED]
    assert (children[1].cancel_requested, queue.rung) == (True, ["c1"])


def test_children_are_cancelled_although_the_store_was_away(
    world: World, bereaved: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeper = Sweeper(bereaved, world.files, Rung(), lease_seconds=10.0, result_ttl=TTL, elapsed=lambda: 0.0)
    with monkeypatch.context() as away:
        away.setattr(bereaved, "cancel_children", Mock(side_effect=Unavailable("gone fishing")))
        with pytest.raises(Unavailable):
            sweeper.sweep()
    assert bereaved.get("c0").status is Status.WAITING
    sweeper.sweep()
    assert bereaved.get("c0").status is Status.CANCELLED


FILES = """
variables:
  one: {type: file}
  many: {type: list, items: {type: file}}
  deep: {type: object, fields: {report: {type: file}, rows: {type: list}, name: {type: string}}}
  none: {type: file}
  text: {type: string}
  whatever: {type: any}
steps: [{id: a, output: 1}]
"""


def test_a_submitted_task_refers_to_the_files_in_its_variables(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(FILES)
    a, b, c, d = (letter * 64 for letter in "abcd")
    store = MemoryStore()
    catalog = Catalog(tmp_path, registry=actions)
    service = Service(store, SilentQueue(), SilentQueue(), catalog, Cipher(None), Defaults())
    given = {
        "one": a,
        "many": [{"sha256": b, "name": "b.csv", "size": 1}, a],
        "deep": {"report": c, "rows": [1], "name": "n"},
        "text": d,
        "whatever": {"sha256": d},
    }
    service.submit(catalog.get("w"), Submission(variables=given))
    assert store.unused([a, b, c, d]) == [d]


HOST = workfolder._HOST


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _left(path: Path, age: float = 3600.0) -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_text("x")
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_work_folder_names_its_process(temporary: Path) -> None:
    folder = WorkFolder(FsspecFileStore(str(temporary / "kept")))
    assert folder.path.parent == temporary
    assert folder.path.name.startswith(f"stepwell-{os.getpid()}-")
    folder.remove()
    assert not folder.path.exists()


def test_folders_of_dead_processes_go(temporary: Path, dead: int) -> None:
    left = _left(temporary / f"stepwell-{dead}-{HOST}-abc_1234")
    remove_abandoned()
    assert not left.exists()


def test_a_process_takes_over_the_number_of_the_one_before(temporary: Path) -> None:
    before = _left(temporary / f"stepwell-{os.getpid()}-{HOST}-before")
    ours = _left(temporary / f"stepwell-{os.getpid()}-{HOST}-ours", age=-1)
    os.utime(before, (workfolder._STARTED - 61, workfolder._STARTED - 61))
    remove_abandoned()
    assert (before.exists(), ours.exists()) == (False, True)


@pytest.mark.parametrize(
    "name",
    [
        f"stepwell-{os.getppid()}-{HOST}-alive",
        "stepwell-{dead}-another-host-abc_1234",
        "stepwell-{dead}-abc_1234",
        "stepwell-abc_1234",
        "stepwell-twin-abc",
        f"stepwell-99999999999999999999-{HOST}-abc",
        f"another-{{dead}}-{HOST}-abc",
    ],
)
def test_other_folders_stay(temporary: Path, dead: int, name: str) -> None:
    left = _left(temporary / name.format(dead=dead))
    remove_abandoned()
    assert (left / "inner" / "file").exists()


def test_young_folders_files_and_links_stay(temporary: Path, dead: int) -> None:
    young = _left(temporary / f"stepwell-{dead}-{HOST}-young", age=30)
    target = _left(temporary / "target")
    link = temporary / f"stepwell-{dead}-{HOST}-link"
    link.symlink_to(target)
    file = temporary / f"stepwell-{dead}-{HOST}-file"
    file.write_text("x")
    for path in (link, file):
        os.utime(path, (time.time() - 3600, time.time() - 3600), follow_symlinks=False)
    remove_abandoned()
    assert young.exists()
    assert link.is_symlink()
    assert (target / "inner" / "file").exists()
    assert file.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_folders_of_others_stay(temporary: Path, dead: int) -> None:
    theirs = _left(temporary / f"stepwell-{dead}-{HOST}-theirs")
    os.chown(theirs, 12345, 12345)
    remove_abandoned()
    assert theirs.exists()


def _is_there(store: TaskStore, task_id: str) -> bool:
    try:
        store.get(task_id)
    except NotFound:
        return False
    return True
