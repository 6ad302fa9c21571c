"""What is shipped for operations, run as it is shipped: supervisor, systemd, `stepwell doctor`; and RQ's tools."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
import rq.registry
from rq.job import JobStatus
from tests.acceptance.deployed import api_in, run_queued, stepwell
from tests.acceptance.deployed import env as env
from tests.acceptance.deployed import folder as folder
from tests.acceptance.docs_blocks import names, section, table
from tests.acceptance.serving import PATIENCE, ROOT, eventually
from tests.programs import Program, free_port, required
from tests.servers import RedisServer

from stepwell.settings import Settings
from stepwell.task import Status

SHUTDOWN_SECONDS = Settings().shutdown_timeout

# -- RQ ------------------------------------------------------------------------------------------------------------


def test_every_state_has_its_place_in_rq() -> None:
    rows = table(section(ROOT / "docs" / "states.md", "In RQ"))
    assert {name for row in rows for name in names(row[0])} == set(Status)
    told = {names(row[2])[0]: (names(row[1])[0], names(row[3])[0]) for row in rows if "Registry" in row[2]}
    assert set(told) <= set(vars(rq.registry))
    for registry, (status, key) in told.items():
        assert getattr(rq.registry, registry).key_template.format("<queue>") == key
        assert status in set(JobStatus)


# -- the worker's command --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queues", "settings", "told"),
    [
        ("workflow_execute", {}, "QUEUE_ENABLED=true"),
        ("workflow_execute, nowhere", {"QUEUE_ENABLED": "true"}, "--queues names nowhere"),
    ],
)
def test_a_worker_that_cannot_begin_says_why(folder: Path, queues: str, settings: dict[str, str], told: str) -> None:
    done = stepwell(folder, "worker", "--queues", queues, **settings)
    assert (done.returncode, done.stdout, done.stderr.count("\n"), told in done.stderr) == (2, "", 1, True), done.stderr


class Worker(Program):
    """`stepwell worker` for two of the three queues, once others see it."""

    end_signal = signal.SIGTERM

    def command(self) -> list[str]:
        return [sys.executable, "-m", "stepwell", "worker", "--queues", "chat_process, knowledge_search"]

    def answers(self) -> bool:
        return "serves" in self.log


def test_a_worker_serves_the_queues_that_are_named(folder: Path, env: dict[str, str]) -> None:
    redis = RedisServer(folder / "redis", appendfsync="always")
    given = {**env, "QUEUE_ENABLED": "true", "REDIS_URL": redis.url}

    def wrong() -> list[str]:
        found = json.loads(stepwell(folder, "doctor", "--json", **given).stdout)
        return [one["check"] for one in found["checks"] if one["level"] == "wrong"]

    with redis, Worker(folder, given) as worker:
        eventually(lambda: wrong() == ["workers workflow_execute"])
        assert worker.stop() == 0
        assert len(wrong()) == 3


# -- supervisor ----------------------------------------------------------------------------------------------------


class Supervisor(Program):
    """The shipped supervisord.conf, run by the system's supervisord."""

    end_signal = signal.SIGTERM

    def command(self) -> list[str]:
        return [required("supervisord", "supervisor")]

    def answers(self) -> bool:
        return len(self.states()) == 3

    def states(self) -> dict[str, str]:
        """The state of each program, as a person asks for it in the project folder."""
        command = [required("supervisorctl", "supervisor"), "status"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=PATIENCE)
        rows = [line.split() for line in done.stdout.splitlines()]
        return {row[0]: row[1] for row in rows if row[0].startswith(("api", "worker:"))}


def test_supervisor_runs_all_and_stops_all_cleanly(folder: Path, env: dict[str, str]) -> None:
    redis = RedisServer(folder / "redis", appendfsync="always")
    supervisor = Supervisor(folder, {**env, "REDIS_URL": redis.url})
    with redis, supervisor:
        assert set(supervisor.states()) == {"api", "worker:worker-0", "worker:worker-1"}
        eventually(lambda: set(supervisor.states().values()) == {"RUNNING"})
        api = eventually(lambda: api_in(supervisor.log))
        for number in range(20):
            assert run_queued(api, "hello", {"name": f"{number}"}) == {"greeting": f"Hello, {number}!"}
        told = stepwell(folder, "doctor", QUEUE_ENABLED="true", REDIS_URL=redis.url)
        assert (told.returncode, told.stdout.count("4 work-horses")) == (0, 3), told.stdout
        assert supervisor.stop() == 0
    ended = re.findall(r"stopped: (\S+) \((.*)\)", supervisor.log)
    assert sorted(ended) == [("api", "exit status 0"), ("worker-0", "exit status 0"), ("worker-1", "exit status 0")]
    assert not re.search(r"FATAL|SIGKILL|Traceback|gave up", supervisor.log)


def test_supervisor_does_not_repeat_what_cannot_begin(folder: Path, env: dict[str, str]) -> None:
    with Supervisor(folder, {**env, "MAX_WORKERS": "many"}) as supervisor:
        eventually(lambda: set(supervisor.states().values()) <= {"EXITED", "FATAL"})
        assert supervisor.stop() == 0
    assert supervisor.log.count("MAX_WORKERS=many") >= 3


def test_supervisor_waits_longer_than_the_programs_need() -> None:
    config = RawConfigParser(inline_comment_prefixes=(";",))
    config.read(ROOT / "supervisord.conf")
    programs = [config[name] for name in config if name.startswith("program:")]
    assert len(programs) == 2
    for program in programs:
        assert float(program["stopwaitsecs"]) > SHUTDOWN_SECONDS
        assert (program["stopsignal"], program["stopasgroup"]) == ("TERM", "false")
        assert (ROOT / program["command"].split()[1]).exists()


# -- systemd -------------------------------------------------------------------------------------------------------

UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_gives_time_to_drain_and_signals_only_the_parent(unit: Path) -> None:
    config = RawConfigParser(strict=False)
    config.optionxform = str  # type: ignore[assignment,method-assign]
    config.read(unit)
    service = config["Service"]
    assert float(service["TimeoutStopSec"]) > SHUTDOWN_SECONDS
    assert (service["KillMode"], service["OOMPolicy"], service["Restart"]) == ("mixed", "continue", "always")
    assert (ROOT / service["ExecStart"].split()[1]).exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(folder: Path, unit: Path) -> None:
    text = unit.read_text().replace("/opt/stepwell/.venv", str(folder)).replace("/opt/stepwell", str(folder))
    (folder / unit.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(folder / unit.name)], capture_output=True, text=True, check=False
    )
    assert [line for line in done.stderr.splitlines() if "stepwell" in line] == []


# -- stepwell doctor -----------------------------------------------------------------------------------------------


def test_doctor_has_a_line_for_each_check_and_ends_well_where_all_is_well(folder: Path) -> None:
    done = stepwell(folder, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}


def test_doctor_ends_with_one_where_something_is_wrong(folder: Path) -> None:
    done = stepwell(folder, "doctor", "--json", QUEUE_ENABLED="true", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    found = json.loads(done.stdout)
    assert (done.returncode, found["healthy"]) == (1, False)
    assert [one["check"] for one in found["checks"] if one["level"] == "wrong"] == ["redis"]


def test_doctor_tells_of_wrong_settings(folder: Path) -> None:
    done = stepwell(folder, "doctor", MAX_WORKERS="many")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
    assert done.stdout.startswith("wrong    settings: MAX_WORKERS=many")
