"""What is shipped for operations: supervisor, systemd, Docker, `stepwell dev`, `stepwell doctor`."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import rq.registry
import yaml
from rq.job import JobStatus
from tests.acceptance.conftest import StartServer
from tests.acceptance.docs_blocks import names, section, table
from tests.acceptance.serving import HELLO, PATIENCE, ROOT, environment, eventually
from tests.programs import Program, free_port, required
from tests.servers import RedisServer

from stepwell.settings import NAMES, Settings
from stepwell.task import Status
from stepwell.values import seconds

SHUTDOWN_SECONDS = Settings().shutdown_timeout
MARK = "STEPWELL_TEST_MARK"

Compose = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the project as it is deployed, with a `python` as an active virtual environment has it."""
    for name in ("run.py", "run_worker.py", "supervisord.conf"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "hello.yaml").write_text(HELLO)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    return tmp_path


@pytest.fixture
def env(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of the programs in the folder; at the end none that has it may be left."""
    mark = uuid.uuid4().hex
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    yield {**environment(MAX_WORKERS="2"), "PATH": path, "PYTHONUNBUFFERED": "1", MARK: mark}
    eventually(lambda: not marked(mark))


def marked(mark: str) -> list[str]:
    """The commands of all processes that run with this mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended, or is not ours
            continue
    return found


def api_in(log: str) -> str | None:
    """The URL of the API that was told last in a log."""
    urls = re.findall(r"serves (http://\S+)", log)
    return f"{urls[-1]}/api" if urls else None


def run_queued(api: str, workflow: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Have a worker run it; the outputs."""
    with httpx.Client(base_url=api, timeout=PATIENCE, trust_env=False) as client:
        answer = client.post(f"/workflows/{workflow}/execute?async_execute=true", json={"variables": variables})
        assert (answer.status_code, answer.json()["status"], "degraded" in answer.json()) == (202, "queued", False)
        task = client.get(f"/workflows/tasks/{answer.json()['task_id']}?wait={PATIENCE:.0f}s").json()
    assert (task["status"], task["error"]) == ("completed", None)
    outputs: dict[str, Any] = task["result"]["outputs"]
    return outputs


# -- what is documented of RQ ---------------------------------------------------------------------------------------


def test_every_state_has_its_place_in_rq() -> None:
    rows = table(section(ROOT / "docs" / "states.md", "In RQ"))
    assert {name for row in rows for name in names(row[0])} == set(Status)
    told = {names(row[2])[0]: (names(row[1])[0], names(row[3])[0]) for row in rows if "Registry" in row[2]}
    assert set(told) <= set(vars(rq.registry))
    for registry, (status, key) in told.items():
        assert getattr(rq.registry, registry).key_template.format("<queue>") == key
        assert status in set(JobStatus)


# -- supervisor ----------------------------------------------------------------------------------------------------


class Supervisor(Program):
    """The shipped supervisord.conf, run by the system's supervisord."""

    end_signal = signal.SIGTERM

    def command(self) -> list[str]:
        return [required("supervisord", "supervisor")]

    def answers(self) -> bool:
        states = [line.split()[1] for line in self.status() if line]
        return len(states) == 3 and set(states) == {"RUNNING"}

    def status(self) -> list[str]:
        """What a person sees in the project folder."""
        command = [required("supervisorctl", "supervisor"), "status"]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=PATIENCE
        ).stdout.splitlines()


def test_supervisor_runs_all_and_stops_all_cleanly(folder: Path, env: dict[str, str]) -> None:
    redis = RedisServer(folder / "redis", appendfsync="always")
    supervisor = Supervisor(folder, {**env, "REDIS_URL": redis.url})
    with redis, supervisor:
        assert [line.split()[0] for line in supervisor.status()] == ["api", "worker:worker-0", "worker:worker-1"]
        api = eventually(lambda: api_in(supervisor.log))
        for number in range(20):
            assert run_queued(api, "hello", {"name": f"{number}"}) == {"greeting": f"Hello, {number}!"}
        assert supervisor.stop() == 0
    ended = re.findall(r"stopped: (\S+) \((.*)\)", supervisor.log)
    assert sorted(ended) == [("api", "exit status 0"), ("worker-0", "exit status 0"), ("worker-1", "exit status 0")]
    assert not re.search(r"FATAL|SIGKILL|Traceback|gave up", supervisor.log)


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


# -- Docker --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The shipped compose file."""
    found: Compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


@pytest.mark.parametrize("service", ["api", "worker"])
def test_compose_gives_time_to_drain(compose: Compose, service: str) -> None:
    found = compose["services"][service]
    shutdown = found["environment"]["SHUTDOWN_TIMEOUT"]
    assert seconds(found["stop_grace_period"]) > seconds(shutdown) == SHUTDOWN_SECONDS


@pytest.mark.parametrize("service", ["api", "worker"])
def test_compose_sets_only_settings_and_reaches_its_redis(compose: Compose, service: str) -> None:
    found = compose["services"][service]["environment"]
    assert set(found) <= set(NAMES)
    assert (found["QUEUE_ENABLED"], found["REDIS_URL"]) == ("true", "redis://redis:6379/0")


def test_compose_demands_keys_where_others_can_call(compose: Compose) -> None:
    assert compose["services"]["api"]["environment"]["API_KEYS"].startswith("${API_KEYS:?")


def test_compose_has_a_redis_that_loses_nothing(compose: Compose) -> None:
    words = compose["services"]["redis"]["command"]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings == {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}
    assert "redis:/data" in compose["services"]["redis"]["volumes"]


def test_compose_names_only_what_it_has(compose: Compose) -> None:
    services, volumes = compose["services"], set(compose["volumes"])
    named = {volume.partition(":")[0] for one in services.values() for volume in one.get("volumes", ())}
    assert {name for name in named if not name.startswith(".")} == volumes
    assert {name for one in services.values() for name in one.get("depends_on", ())} <= set(services)
    assert (services["worker"]["deploy"]["replicas"], services["postgres"]["profiles"]) == (2, ["postgres"])


def test_docker_compose_takes_it_with_keys_only(folder: Path) -> None:
    command = ["docker", "compose", "--project-directory", str(folder), "--file", str(ROOT / "docker-compose.yml")]
    if subprocess.run(["sh", "-c", "docker compose version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose here")
    plain = {name: value for name, value in os.environ.items() if name not in NAMES}
    for keys, code in ((None, False), ("ci:viewer:sha256=" + "0" * 64, True)):
        given = plain if keys is None else {**plain, "API_KEYS": keys}
        done = subprocess.run([*command, "config", "--quiet"], env=given, capture_output=True, check=False)
        assert (done.returncode == 0) is code, done.stderr


def docker_lines() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def test_the_image_runs_as_a_user_and_hands_signals_on() -> None:
    last = dict(docker_lines())
    assert last["USER"] == "stepwell"
    assert (json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"])) == (["tini", "--"], ["python", "run.py"])
    assert last["STOPSIGNAL"] == "SIGTERM"


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)
    copied = [words.split()[:-1] for word, words in docker_lines() if word == "COPY" and not words.startswith("--")]
    for name in (name for words in copied for name in words):
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, pattern) for pattern in allowed), name


def test_the_image_is_healthy_while_the_api_answers(server: StartServer) -> None:
    check = json.loads(dict(docker_lines())["HEALTHCHECK"].partition("CMD ")[2])
    one = server()
    ports = [one.client.base_url.port, free_port()]
    codes = [
        subprocess.run(
            [sys.executable, *check[1:]], env={"PORT": str(port)}, capture_output=True, check=False
        ).returncode
        for port in ports
    ]
    assert codes == [0, 1]


# -- stepwell dev --------------------------------------------------------------------------------------------------


class Dev(Program):
    """`stepwell dev` in a project folder."""

    end_signal = signal.SIGTERM

    def command(self) -> list[str]:
        required("redis-server", "redis-server")
        return [sys.executable, "-m", "stepwell", "dev"]

    def answers(self) -> bool:
        return "serves http" in self.log


def test_dev_runs_all_begins_anew_and_leaves_nothing(folder: Path, env: dict[str, str]) -> None:
    with Dev(folder, env) as dev:
        api = eventually(lambda: api_in(dev.log))
        assert run_queued(api, "hello", {"name": "Ada"}) == {"greeting": "Hello, Ada!"}
        (folder / "workflows" / "sums.py").write_text("def double(number: int) -> int:\n    return number * 2\n")
        (folder / "workflows" / "twice.yaml").write_text(
            "steps: [{id: it, call: sums:double, with: {number: 21}}]\noutputs: {it: '${{ steps.it.output }}'}"
        )
        eventually(lambda: len(re.findall("serves http", dev.log)) == 2)
        assert "workflows/sums.py changed" in dev.log
        api = eventually(lambda: api_in(dev.log))
        assert run_queued(api, "twice", {}) == {"it": 42}
        assert dev.stop(signal.SIGINT) == 0
    assert not re.search(r"Traceback|ended with exit code", dev.log)
    assert list((folder / "data" / "dev-redis").rglob("*.aof"))


def test_dev_takes_the_redis_that_is_named(folder: Path, env: dict[str, str]) -> None:
    with RedisServer(folder / "redis") as redis:
        (folder / ".env").write_text(f"REDIS_URL={redis.url}")
        with Dev(folder, env) as dev:
            api = eventually(lambda: api_in(dev.log))
            assert run_queued(api, "hello", {}) == {"greeting": "Hello, World!"}
            assert dev.stop(signal.SIGINT) == 0
    assert not (folder / "data" / "dev-redis").exists()


def test_dev_that_is_killed_leaves_nothing(folder: Path, env: dict[str, str]) -> None:
    with Dev(folder, env) as dev:
        dev.kill()


def test_dev_ends_where_the_api_cannot_begin(folder: Path, env: dict[str, str], server: StartServer) -> None:
    taken = server().client.base_url.port
    command = [sys.executable, "-m", "stepwell", "dev"]
    required("redis-server", "redis-server")
    given = {**env, "PORT": str(taken)}
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, f"PORT={taken} cannot be listened on" in done.stdout) == (2, True), done.stdout


# -- stepwell doctor -----------------------------------------------------------------------------------------------


def doctor(folder: Path, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `stepwell doctor` to its end."""
    command = [sys.executable, "-m", "stepwell", "doctor", *options]
    return subprocess.run(
        command, cwd=folder, env=environment(**settings), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_doctor_has_a_line_for_each_check_and_ends_well_where_all_is_well(folder: Path) -> None:
    done = doctor(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}


def test_doctor_ends_with_one_where_something_is_wrong(folder: Path) -> None:
    done = doctor(folder, "--json", QUEUE_ENABLED="true", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    found = json.loads(done.stdout)
    assert (done.returncode, found["healthy"]) == (1, False)
    assert [one["check"] for one in found["checks"] if one["level"] == "wrong"] == ["redis"]


def test_doctor_tells_of_wrong_settings(folder: Path) -> None:
    done = doctor(folder, MAX_WORKERS="many")
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
    assert done.stdout.startswith("wrong    settings: MAX_WORKERS=many")
