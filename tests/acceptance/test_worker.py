"""Workers that are killed, held and told to end: nothing is lost, nothing runs twice, nothing is counted wrongly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from tests.acceptance.cluster import Cluster, Worker, cluster
from tests.acceptance.serving import HELLO, PATIENCE, ROOT, environment, eventually
from tests.servers import RedisServer

from stepwell.settings import Settings
from stepwell.task import Task
from stepwell.wiring.shared import open_shared

CRASHING = ROOT / "tests" / "acceptance" / "crashing"
LONG = "600"
"""A lease that ends in no test: what is taken over was not taken over because of that."""

THREE = """
variables: {log: {type: string, required: true}}
steps:
  - {id: a, call: work:count, with: {log: "${{ variables.log }}", name: a}}
  - {id: b, call: work:count, with: {log: "${{ variables.log }}", name: b}}
  - {id: c, call: work:count, with: {log: "${{ variables.log }}", name: c}}
"""
DIES = """
variables: {flag: {type: string, required: true}}
steps: [{id: a, call: work:die_once, with: {flag: "${{ variables.flag }}"}}]
"""
POISON = "steps: [{id: a, call: work:die}]"
BLOCKS = """
variables: {flag: {type: string, required: true}}
steps: [{id: a, call: work:block_once, with: {flag: "${{ variables.flag }}"}, timeout: 0.2s}]
"""
STUBBORN = """
variables: {flag: {type: string, required: true}}
steps: [{id: a, call: work:resist_once, with: {flag: "${{ variables.flag }}"}, timeout: 0.2s, retry: 2}]
"""
HELD = """
variables: {log: {type: string, required: true}, gate: {type: string, required: true}}
steps:
  - {id: a, call: work:hold, with: {log: "${{ variables.log }}", gate: "${{ variables.gate }}"}}
  - {id: b, call: work:count, with: {log: "${{ variables.log }}", name: b}}
"""
RESISTS = """
variables: {flag: {type: string, required: true}}
steps: [{id: a, call: work:resist_once, with: {flag: "${{ variables.flag }}"}}]
"""
SPEAKS = "steps: [{id: sync, call: work:speak}, {id: async, call: work:speak_async}]"
NEWER = "steps: [{id: a, call: newer:work}]"
WORK = '''
"""Steps that do harm, most of them only the first time."""
import ctypes, logging, os, signal, time

def first(flag: str) -> bool:
    try:
        os.close(os.open(flag, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def count(log: str, name: str) -> str:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{name}\\n".encode())
    os.close(file)
    return name

def hold(log: str, gate: str) -> None:
    """Goes on once the file is there."""
    count(log, "begun")
    while not os.path.exists(gate):
        time.sleep(0.01)
    count(log, "held")

def speak() -> None:
    logging.getLogger("library").warning("from a library")

async def speak_async() -> None:
    speak()

def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

def die_once(flag: str) -> None:
    if first(flag):
        die()

def block_once(flag: str) -> None:
    """Holds the lock of the interpreter, so that nothing else in this process goes on."""
    if first(flag):
        ctypes.PyDLL(None).sleep(600)

def resist_once(flag: str) -> None:
    """Does not yield to its time limit."""
    if first(flag):
        while True:
            try:
                time.sleep(0.01)
            except BaseException:
                pass
'''

WORKFLOWS = {
    "hello": HELLO,
    "three": THREE,
    "dies": DIES,
    "poison": POISON,
    "blocks": BLOCKS,
    "stubborn": STUBBORN,
    "resists": RESISTS,
    "held": HELD,
    "newer": NEWER,
    "speaks": SPEAKS,
    "work.py": WORK,
}


@pytest.fixture
def redis(redis_server: RedisServer) -> RedisServer:
    redis_server.client().flushall()
    return redis_server


@pytest.fixture
def deployed(tmp_path: Path, redis: RedisServer) -> Iterator[Cluster]:
    """A server, and workers as a test starts them."""
    with cluster(tmp_path / "app", redis, WORKFLOWS, workers=0, LEASE_SECONDS=LONG) as made:
        yield made


def recorded(deployed: Cluster, task_id: str) -> Task:
    """A task as the store has it."""
    shared = open_shared(Settings(queue_enabled=True, redis_url=deployed.redis.url))
    try:
        return shared.store.get(task_id)
    finally:
        shared.close()


def children(worker: Worker, title: str) -> list[int]:
    """The work-horses (`stepwell-horse`) or the keeper (`stepwell-keeper`) of a worker."""
    found = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    return [int(pid) for pid in found if Path(f"/proc/{pid}/comm").read_text().strip() == title]


def horses(worker: Worker) -> list[int]:
    return children(worker, "stepwell-horse")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


STORE = "stepwell.stores.redis:RedisStore"
CRASH_POINTS = {
    "before the claim": f"{STORE}.take before 1",
    "after the claim": f"{STORE}.take after 1",
    "before the step starts": "stepwell.engine.flights:Flights.start before 1",
    "in the step": "stepwell.engine.attempt:Attempt._keep before 2",
    "after its effect and before the commit": f"{STORE}.commit before 2",
    "after the commit and before its reply": f"{STORE}.commit after 2",
    "between two steps": "stepwell.engine.flights:Flights.start before 2",
    "before the end is written": f"{STORE}.finish before 1",
    "after the end was written": f"{STORE}.finish after 1",
}


@pytest.mark.parametrize("place", CRASH_POINTS.values(), ids=CRASH_POINTS)
def test_a_work_horse_killed_anywhere_loses_and_repeats_nothing(deployed: Cluster, tmp_path: Path, place: str) -> None:
    once, log = tmp_path / "once", tmp_path / "log"
    path = f"{CRASHING}:{ROOT / 'src'}"
    deployed.worker(MAX_WORKERS="1", PYTHONPATH=path, CRASH_AT=place, CRASH_ONCE=str(once))
    task_id = deployed.submit("three", {"log": str(log)})["task_id"]
    deployed.until(task_id, "completed")
    assert once.exists(), "nothing was killed"
    ran = Counter(log.read_text().split())
    again = {"after its effect and before the commit": "a", "in the step": "b", "before the end is written": "c"}
    repeated = [CRASH_POINTS[name] == place for name in again]
    assert ran.keys() == {"a", "b", "c"}
    assert sum(ran.values()) == 3 + any(repeated), ran
    assert recorded(deployed, task_id).retry_count == 0


def test_the_task_of_a_killed_work_horse_goes_on_within_a_second(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="2")
    flag = tmp_path / "flag"
    task_id = deployed.submit("dies", {"flag": str(flag)})["task_id"]
    deployed.until(task_id, "completed")
    first, second = deployed.steps(task_id)[0]["history"]
    died_at = flag.stat().st_mtime
    assert first["error"]["code"] == "worker_lost"
    assert recorded(deployed, task_id).started_at is not None
    assert _seconds(second["started_at"]) - died_at <= 1.0
    assert eventually(lambda: len(horses(worker)) == 2)


def test_a_task_that_kills_its_workers_is_dead_after_three_and_others_go_on(deployed: Cluster) -> None:
    deployed.worker(MAX_WORKERS="1")
    poison = deployed.submit("poison")["task_id"]
    others = [deployed.submit("hello")["task_id"] for _ in range(5)]
    for task_id in others:
        assert deployed.until(task_id, "completed")["retry_count"] == 0
    failed = deployed.until(poison, "failed")
    assert failed["error"]["code"] == "worker_lost"
    assert recorded(deployed, poison).dead
    assert len(deployed.steps(poison)[0]["history"]) == 3


@dataclass
class Held:
    """A task whose first step runs until `let_go`; `lines` are what its steps wrote."""

    task_id: str
    log: Path
    gate: Path

    def let_go(self) -> None:
        self.gate.touch()

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().split()


def held(deployed: Cluster, folder: Path) -> Held:
    """A task whose first step runs by now."""
    log, gate = folder / "log", folder / "gate"
    task_id = deployed.submit("held", {"log": str(log), "gate": str(gate)})["task_id"]
    eventually(log.exists)
    return Held(task_id, log, gate)


def family(worker: Worker) -> list[int]:
    """All processes of a worker but the steps' own."""
    return [worker.pid, *horses(worker), *children(worker, "stepwell-keeper")]


def test_when_a_parent_is_killed_its_work_horses_die_and_others_take_their_tasks(
    deployed: Cluster, tmp_path: Path
) -> None:
    doomed = deployed.worker(MAX_WORKERS="2")
    task = held(deployed, tmp_path)
    deployed.worker(MAX_WORKERS="1")
    left = family(doomed)
    doomed.kill()
    eventually(lambda: task.lines == ["begun", "begun"])
    task.let_go()
    deployed.until(task.task_id, "completed")
    eventually(lambda: all(is_gone(pid) for pid in left))
    assert task.lines == ["begun", "begun", "held", "b"]


def test_when_all_of_a_worker_is_killed_its_lease_ends_and_others_take_its_tasks(
    deployed: Cluster, tmp_path: Path
) -> None:
    doomed = deployed.worker(MAX_WORKERS="1", LEASE_SECONDS="2")
    task = held(deployed, tmp_path)
    deployed.worker(MAX_WORKERS="1", LEASE_SECONDS="2")
    for pid in reversed(family(doomed)):  # first the keeper, which would take the tasks from the others
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: task.lines == ["begun", "begun"])
    task.let_go()
    assert deployed.until(task.task_id, "completed")["retry_count"] == 0


@pytest.mark.parametrize("whole", [True, False], ids=["the whole worker", "one work-horse"])
def test_what_is_held_past_its_lease_writes_nothing_and_starts_nothing(
    deployed: Cluster, tmp_path: Path, whole: bool
) -> None:
    worker = deployed.worker(MAX_WORKERS="1", LEASE_SECONDS="1")
    task = held(deployed, tmp_path)
    stopped = family(worker) if whole else horses(worker)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    deployed.worker(MAX_WORKERS="1", LEASE_SECONDS="1")
    eventually(lambda: task.lines == ["begun", "begun"])
    task.let_go()
    deployed.until(task.task_id, "completed")
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: f"task {task.task_id} is not ours any more" in worker.log)
    assert task.lines.count("b") == 1
    assert deployed.steps(task.task_id)[0]["attempts"] == 2
    assert recorded(deployed, task.task_id).status == "completed"
    eventually(lambda: len(horses(worker)) == 1)


def test_sigterm_lets_running_steps_end(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="2", SHUTDOWN_TIMEOUT="30", LOG_LEVEL="DEBUG")
    task = held(deployed, tmp_path)
    os.kill(worker.pid, signal.SIGTERM)
    eventually(lambda: worker.log.count("starts nothing more") == 2)
    task.let_go()
    assert worker.stop(signal.SIGCONT) == 0
    assert task.lines == ["begun", "held"]
    assert recorded(deployed, task.task_id).status == "queued"
    deployed.worker(MAX_WORKERS="1")
    assert deployed.until(task.task_id, "completed")["retry_count"] == 0
    assert task.lines == ["begun", "held", "b"]


def test_sigterm_hands_back_what_does_not_end_in_time(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="2", SHUTDOWN_TIMEOUT="0.5")
    task = held(deployed, tmp_path)
    assert worker.stop() == 0
    handed_back = recorded(deployed, task.task_id)
    assert (handed_back.status, handed_back.retry_count, handed_back.crashes) == ("queued", 0, 0)
    task.let_go()
    deployed.worker(MAX_WORKERS="1")
    assert deployed.until(task.task_id, "completed")["retry_count"] == 0
    assert task.lines == ["begun", "begun", "held", "b"]


def signal_again(worker: Worker, number: signal.Signals) -> None:
    """Send a signal until it counts as the second one."""

    def counts() -> bool:
        os.kill(worker.pid, number)
        return "handed back at once" in worker.log

    eventually(counts)


def test_a_second_signal_hands_everything_back_at_once(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="1")
    task = held(deployed, tmp_path)
    os.kill(worker.pid, signal.SIGINT)
    eventually(lambda: "no more tasks are taken" in worker.log)
    signal_again(worker, signal.SIGINT)
    assert worker.stop(signal.SIGCONT) == 0
    handed_back = recorded(deployed, task.task_id)
    assert (handed_back.status, handed_back.retry_count, handed_back.crashes) == ("queued", 0, 0)


def test_a_stubborn_step_is_killed_at_the_second_signal_and_no_crash_is_counted(
    deployed: Cluster, tmp_path: Path
) -> None:
    worker, flag = deployed.worker(MAX_WORKERS="1"), tmp_path / "flag"
    task_id = deployed.submit("resists", {"flag": str(flag)})["task_id"]
    eventually(flag.exists)
    os.kill(worker.pid, signal.SIGTERM)
    eventually(lambda: "no more tasks are taken" in worker.log)
    signal_again(worker, signal.SIGTERM)
    assert worker.stop(signal.SIGCONT) == 1
    handed_back = recorded(deployed, task_id)
    assert (handed_back.status, handed_back.retry_count, handed_back.crashes) == ("queued", 0, 0)


def test_ctrl_c_that_reaches_the_whole_group_kills_no_work_horse(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="2", LOG_LEVEL="DEBUG")
    task = held(deployed, tmp_path)
    for pid in reversed(family(worker)):
        os.kill(pid, signal.SIGINT)
    eventually(lambda: worker.log.count("starts nothing more") == 2)
    task.let_go()
    assert worker.stop(signal.SIGCONT) == 0
    assert task.lines == ["begun", "held"]


def test_a_step_that_blocks_the_interpreter_is_killed_after_its_time_limit(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="1")
    task_id = deployed.submit("blocks", {"flag": str(tmp_path / "flag")})["task_id"]
    deployed.until(task_id, "completed")
    assert "its interpreter is blocked, and the time limit was over for a of task" in worker.log
    assert deployed.steps(task_id)[0]["history"][0]["error"]["code"] == "worker_lost"


def test_a_step_that_does_not_yield_costs_its_work_horse_but_no_crash(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="1")
    (before,) = horses(worker)
    task_id = deployed.submit("stubborn", {"flag": str(tmp_path / "flag")})["task_id"]
    deployed.until(task_id, "completed")
    eventually(lambda: is_gone(before))
    history = deployed.steps(task_id)[0]["history"]
    assert history[0]["error"]["code"] == "timeout"
    assert recorded(deployed, task_id).crashes == 0


def lease_end(deployed: Cluster, task_id: str) -> float | None:
    """When the lease of a running task ends, as Redis has it."""
    with deployed.redis.client() as client:
        found: float | None = client.zscore("stepwell:running:workflow_execute", task_id)
        return found


def test_a_killed_keeper_is_replaced_before_leases_end(deployed: Cluster, tmp_path: Path) -> None:
    worker = deployed.worker(MAX_WORKERS="1", LEASE_SECONDS="5")
    task = held(deployed, tmp_path)
    (keeper,) = children(worker, "stepwell-keeper")
    os.kill(keeper, signal.SIGKILL)
    eventually(lambda: is_gone(keeper))
    before = lease_end(deployed, task.task_id)
    eventually(lambda: lease_end(deployed, task.task_id) != before)
    task.let_go()
    deployed.until(task.task_id, "completed")
    assert task.lines == ["begun", "held", "b"]


def is_queued(deployed: Cluster) -> bool:
    """Whether the server has noticed that Redis is back."""
    return deployed.api.post("/workflows/hello/execute?async_execute=true", {}).status_code == 202


class Early(Worker):
    """A worker that is started before there is a Redis."""

    def answers(self) -> bool:
        return "it is tried again" in self.log


def test_a_worker_waits_for_redis_and_survives_its_restart(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis", appendfsync="always")
    with redis, cluster(tmp_path / "app", redis, WORKFLOWS, workers=0) as deployed:
        before = deployed.submit("hello")["task_id"]
        redis.kill()
        with Early(tmp_path / "early", tmp_path / "app", **deployed.settings) as worker:
            redis.start()
            deployed.until(before, "completed")
            redis.kill()
            redis.start()
            eventually(lambda: is_queued(deployed))
            deployed.until(deployed.submit("hello")["task_id"], "completed")
            assert worker.stop() == 0


def test_a_work_horse_is_replaced_after_so_many_tasks(deployed: Cluster) -> None:
    worker = deployed.worker(MAX_WORKERS="1", WORKER_MAX_TASKS="3")
    before = set(horses(worker))
    for _ in range(7):
        deployed.until(deployed.submit("hello")["task_id"], "completed")
    eventually(lambda: before.isdisjoint(horses(worker)))


def test_what_this_worker_does_not_know_is_left_to_others(deployed: Cluster) -> None:
    (deployed.folder / "workflows" / "newer.py").write_text("def work(): return 1\n")
    task_id = ""
    other = deployed.folder / "older"
    (other / "workflows").mkdir(parents=True)
    older = Worker(deployed.folder / "older-log", other, **deployed.settings)
    with older:
        task_id = deployed.submit("newer")["task_id"]
        deployed.until(task_id, "waiting")
        assert "handed back" in older.log
    deployed.worker()
    task = deployed.until(task_id, "completed")
    assert task["retry_count"] == 0


def test_many_waiting_tasks_run_at_once_in_one_work_horse(deployed: Cluster, tmp_path: Path) -> None:
    deployed.worker(MAX_WORKERS="1", WORKER_CONCURRENCY="20")
    folders = [tmp_path / str(number) for number in range(20)]
    for folder in folders:
        folder.mkdir()
    tasks = [held(deployed, folder) for folder in folders]  # each begins while all before are held
    for task in tasks:
        task.let_go()
    for task in tasks:
        deployed.until(task.task_id, "completed")


def test_every_log_line_names_its_task_and_step(deployed: Cluster) -> None:
    worker = deployed.worker(MAX_WORKERS="1", LOG_FORMAT="json")
    task_id = deployed.submit("speaks")["task_id"]
    deployed.until(task_id, "completed")
    said = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{") and "from a library" in line]
    assert [(line["task_id"], line["step"]) for line in said] == [(task_id, "sync"), (task_id, "async")]


def test_the_wrong_settings_are_told_in_one_line(tmp_path: Path) -> None:
    for settings, words in (
        ({"QUEUE_ENABLED": "false"}, "QUEUE_ENABLED is false"),
        ({"QUEUE_ENABLED": "true", "MAX_WORKERS": "0"}, "MAX_WORKERS=0"),
        ({"QUEUE_ENABLED": "true", "DATABASE_URL": "mysql://localhost/db"}, "DATABASE_URL"),
    ):
        ended = subprocess.run(
            [sys.executable, str(ROOT / "run_worker.py")],
            cwd=tmp_path,
            env=environment(**settings),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 2, ended.stderr
        assert words in ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr


def test_a_parent_and_idle_work_horses_are_small(deployed: Cluster) -> None:
    worker = deployed.worker(MAX_WORKERS="3")
    parent = _memory(worker.pid)
    private = [_memory(pid)["Private_Dirty"] for pid in horses(worker)]
    assert parent["Rss"] <= 60 * 1024
    assert max(private) <= 15 * 1024


def _memory(pid: int) -> dict[str, int]:
    """The lines of `smaps_rollup`, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name.rstrip(":"): int(size) for name, size, *_ in (line.split() for line in lines)}


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
