"""A project as it is deployed: programs of ours in a folder, and that none of them is left at the end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.serving import HELLO, PATIENCE, ROOT, environment, eventually

MARK = "STEPWELL_TEST_MARK"


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


def stepwell(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `stepwell` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "stepwell", *words],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
