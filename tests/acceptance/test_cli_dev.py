"""`stepwell dev`: one command that runs everything, and leaves nothing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
from tests.acceptance.conftest import StartServer
from tests.acceptance.deployed import api_in, run_queued, stepwell
from tests.acceptance.deployed import env as env
from tests.acceptance.deployed import folder as folder
from tests.acceptance.serving import GATED, PATIENCE, Gate, eventually
from tests.programs import Program, required
from tests.servers import RedisServer


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
        told = re.search(r"export QUEUE_ENABLED=true REDIS_URL=(\S+)", dev.log)
        assert told is not None
        listed = stepwell(folder, "tasks", "--json", QUEUE_ENABLED="true", REDIS_URL=told[1])
        assert [task["workflow_id"] for task in json.loads(listed.stdout)["items"]] == ["hello"]
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


def test_dev_does_not_wait_for_a_step_after_a_second_signal(folder: Path, env: dict[str, str], gate: Gate) -> None:
    (folder / "workflows" / "gated.yaml").write_text(GATED)
    with Dev(folder, {**env, "SHUTDOWN_TIMEOUT": "1h"}) as dev:
        api = eventually(lambda: api_in(dev.log))
        httpx.post(
            f"{api}/workflows/gated/execute?async_execute=true",
            json={"variables": {"gate": str(gate.path)}},
            timeout=PATIENCE,
            trust_env=False,
        )
        with gate.held():
            assert dev.process is not None
            dev.process.send_signal(signal.SIGINT)
            eventually(lambda: "stopping" in dev.log)
            assert dev.stop(signal.SIGINT) == 0


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
