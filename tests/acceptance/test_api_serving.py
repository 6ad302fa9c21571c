"""How `python run.py` begins and ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.acceptance.conftest import StartServer
from tests.acceptance.serving import ROOT, Gate, environment, eventually
from tests.programs import free_port
from tests.servers import PostgresServer


def test_a_server_that_cannot_begin_says_why_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "run.py")]
    env = environment(MAX_WORKERS="many")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "MAX_WORKERS" in done.stderr


def test_it_waits_for_a_database_that_starts_later(tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    port, log = free_port(), tmp_path / "server.log"
    env = environment(DATABASE_URL=f"postgresql://stepwell@127.0.0.1:{port}/postgres")
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py")], cwd=tmp_path, env=env, stdout=out, stderr=out
        )
    try:
        eventually(lambda: "it is tried again" in log.read_text())
        with PostgresServer(port=port):
            eventually(lambda: "Stepwell serves" in log.read_text())
            process.terminate()
            assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_the_log_has_a_line_for_each_task(server: StartServer) -> None:
    one = server({"LOG_FORMAT": "json"}, {"fails": "steps: [{id: a, uses: fail, with: {message: no stock}}]"})
    ids = [one.post(f"/workflows/{name}/execute").json()["task_id"] for name in ("hello", "fails")]
    assert one.stop() == 0
    lines = [json.loads(line) for line in one.log.splitlines() if line.startswith("{")]
    told = {task_id: [line for line in lines if task_id in line["event"]] for task_id in ids}
    assert [(line["level"], "hello is completed" in line["event"]) for line in told[ids[0]]] == [("info", True)]
    assert [(line["level"], line["event"].endswith("no stock")) for line in told[ids[1]]] == [("warning", True)]


def test_a_batch_may_say_that_it_is_asynchronous(server: StartServer) -> None:
    one = server()
    assert one.post("/workflows/hello/execute/batch?async_execute=true", {"items": [{}]}).status_code == 202
    assert one.post("/workflows/hello/execute/batch?async_execute=false", {"items": [{}]}).status_code == 422


def test_it_serves_ipv6_too_and_ctrl_c_ends_it(server: StartServer) -> None:
    one = server({"HOST": "::1"})
    assert one.url.startswith("http://[::1]:")
    assert one.client.get("/health").json()["status"] == "ok"
    assert one.post("/workflows/hello/execute").status_code == 200
    assert one.stop(signal.SIGINT) == 0
    assert "Traceback" not in one.log


def test_a_step_that_does_not_end_holds_it_for_the_shutdown_time_only(server: StartServer, gate: Gate) -> None:
    one = server({"INLINE_ASYNC": "background", "SHUTDOWN_TIMEOUT": "0.2"})
    variables = {"gate": str(gate.path)}
    task_id = one.post("/workflows/gated/execute?async_execute=true", {"variables": variables}).json()["task_id"]
    with gate.held():
        assert one.stop() == 0
    other = server()
    gate.open()
    task = other.ended(task_id)
    assert (task["status"], task["retry_count"]) == ("completed", 0)
    assert gate.lines() == ["before", "after"]


def test_those_who_wait_for_a_task_are_answered_when_it_stops(server: StartServer) -> None:
    one = server()
    task_id = one.post("/workflows/hello/execute?delay=1h").json()["task_id"]
    with socket.create_connection(("127.0.0.1", one.client.base_url.port or 0), timeout=60) as connection:
        connection.sendall(f"GET /workflows/tasks/{task_id}?wait=60s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        one.get("/health")
        assert one.stop() == 0
        assert b'"status":"pending"' in connection.recv(100_000)


def test_sigterm_ends_it_and_its_log_can_be_json(server: StartServer) -> None:
    one = server({"LOG_FORMAT": "json"}, {"says": "steps: [{id: say, uses: log, with: {message: ümlaut}}]"})
    task_id = one.post("/workflows/says/execute").json()["task_id"]
    assert one.stop(signal.SIGTERM) == 0
    lines = [json.loads(line) for line in one.log.splitlines() if not line.startswith("Stepwell serves")]
    [said] = [line for line in lines if line["event"] == "ümlaut"]
    assert (said["level"], said["logger"], said["task_id"], said["step"]) == ("info", "stepwell.task", task_id, "say")
