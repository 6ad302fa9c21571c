"""Real servers for tests: `python run.py` in a folder of its own, on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from stepwell.settings import NAMES

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
"""Seconds after which something that should have happened is taken for broken."""

HELLO = """
variables: {name: {type: string, default: World}}
steps: [{id: greet, output: "Hello, ${{ variables.name }}!"}]
outputs: {greeting: "${{ steps.greet.output }}"}
"""

GATED = """
variables: {gate: {type: string, required: true}}
steps:
  - id: before
    run: echo before >> "$GATE.log"
    env: {GATE: "${{ variables.gate }}"}
  - id: hold
    run: cat "$GATE"
    env: {GATE: "${{ variables.gate }}"}
  - id: after
    run: echo after >> "$GATE.log"
    env: {GATE: "${{ variables.gate }}"}
"""
"""Its second step runs until the gate (see `Gate`) is opened."""


def environment(**settings: str) -> dict[str, str]:
    """The environment of a process of ours: with these settings and no others."""
    others = {name: value for name, value in os.environ.items() if name not in NAMES}
    return {**others, "PYTHONPATH": str(ROOT / "src"), "PORT": "0", "LEASE_SECONDS": "1", **settings}


def eventually(look: Callable[[], T | None]) -> T:
    """The first answer that is not false; fails when there is none for long."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"still {found!r}"
        time.sleep(0.01)
    return found


class Gate:
    """A named pipe that holds the step which reads it, until it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, the step is known to run; at the end it may go on."""
        writer = eventually(self._writer)
        try:
            yield
        finally:
            os.close(writer)

    def open(self) -> None:
        """Wait for the step, and let it go on."""
        with self.held():
            pass

    def lines(self) -> list[str]:
        """What the steps before and after it wrote."""
        return self.path.with_name(f"{self.path.name}.log").read_text().split()

    def _writer(self) -> int | None:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads yet
            return None


@dataclass
class Server:
    """A running `python run.py`; `url` ends without a slash, `folder` is where it runs."""

    folder: Path
    env: Mapping[str, str]
    process: subprocess.Popen[str]
    url: str
    client: httpx.Client = field(repr=False)

    @property
    def log(self) -> str:
        """All that it wrote so far."""
        return (self.folder / "server.log").read_text()

    def post(self, path: str, json: object = None, **more: Any) -> httpx.Response:
        """POST under `/api`."""
        return self.client.post(f"/api{path}", json=json, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """GET under `/api`."""
        return self.client.get(f"/api{path}", **more)

    def ended(self, task_id: str) -> dict[str, Any]:
        """The task's record once it has ended."""
        return eventually(lambda: self._if_ended(task_id))

    def write(self, name: str, text: str) -> None:
        """Write a workflow file, or a Python module beside the workflows."""
        path = self.folder / "workflows" / (name if "." in name else f"{name}.yaml")
        path.write_text(text)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Be sure that it is gone."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _if_ended(self, task_id: str) -> dict[str, Any] | None:
        task: dict[str, Any] = self.get(f"/workflows/tasks/{task_id}?wait=10s").json()
        return task if task["completed_at"] else None


def start(folder: Path, workflows: Mapping[str, str], **settings: str) -> Server:
    """A server in this folder, once it serves; again in the same folder it finds its tasks again."""
    (folder / "workflows").mkdir(parents=True, exist_ok=True)
    env = environment(**settings)
    log = folder / "server.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "run.py")], cwd=folder, env=env, stdout=out, stderr=out, text=True
        )
    url = eventually(lambda: _url(process, log))
    client = httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False)
    server = Server(folder, env, process, url, client)
    for name, text in workflows.items():
        server.write(name, text)
    return server


def _url(process: subprocess.Popen[str], log: Path) -> str | None:
    found = re.search(r"serves (http://\S+)", log.read_text())
    assert found or process.poll() is None, f"it ended with {process.returncode}: {log.read_text()}"
    return found[1] if found else None
