"""kill -9 of the server in mid-workflow, twenty times: the next one goes on after the last committed step."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.acceptance.serving import Server, start

from stepwell.stores.sql import SqlStore

SEEDS = range(20)
STEPS = 20

COUNTED = "steps:\n" + "".join(
    f"  - {{id: s{number:02}, call: counting:count, with: {{file: '${{{{ variables.file }}}}', step: s{number:02}}}}}\n"
    for number in range(STEPS)
)
WORKFLOW = f"variables: {{file: {{type: string, required: true}}}}\n{COUNTED}"
MODULE = '''
"""Each step counts itself in a file, and takes about as long as the write of its record."""
import os, time

def count(file: str, step: str) -> None:
    with open(file, "a", encoding="utf-8") as counts:
        counts.write(step + "\\n")
        counts.flush()
        os.fsync(counts.fileno())
    time.sleep(0.005)
'''


def test_killed_servers_lose_and_repeat_nothing(tmp_path: Path) -> None:
    tasks: dict[str, Path] = {}
    committed: dict[str, set[str]] = {}
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "counting.py").write_text(MODULE, encoding="utf-8")
    for number in SEEDS:
        server = _start(tmp_path)
        _wait_for(server, tasks)
        counts = tmp_path / f"counts-{number}"
        task_id = _submit(server, counts)
        tasks[task_id] = counts
        _kill_somewhere(server, counts, random.Random(number))
        committed[task_id] = _committed(tmp_path, task_id)
    server = _start(tmp_path)
    _wait_for(server, tasks)
    server.close()
    assert any(0 < len(steps) < STEPS for steps in committed.values())  # some were killed on the way
    for task_id, counts in tasks.items():
        ran = Counter(counts.read_text(encoding="utf-8").split())
        assert set(ran) == {f"s{number:02}" for number in range(STEPS)}
        assert {step: ran[step] for step in committed[task_id]} == dict.fromkeys(committed[task_id], 1)
        assert sum(ran.values()) <= STEPS + 1  # in a sequence only one step was under way


def _start(folder: Path) -> Server:
    return start(folder, {"counted": WORKFLOW}, LEASE_SECONDS="1", INLINE_ASYNC="background")


def _wait_for(server: Server, tasks: Iterable[str]) -> None:
    for task_id in tasks:
        ended = server.ended(task_id)
        assert ended["status"] == "completed", ended


def _submit(server: Server, counts: Path) -> str:
    answer = server.post("/workflows/counted/execute?async_execute=true", json={"variables": {"file": str(counts)}})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def _kill_somewhere(server: Server, counts: Path, chance: random.Random) -> None:
    """Kill it as soon as a seeded number of steps has counted itself, and a seeded number of looks later."""
    wanted = chance.randrange(1, STEPS)
    while not counts.exists() or len(counts.read_bytes().split()) < wanted:
        assert server.process.poll() is None
    for _ in range(chance.randrange(200)):
        counts.read_bytes()
    server.stop(signal.SIGKILL)
    server.close()


def _committed(folder: Path, task_id: str) -> set[str]:
    store = SqlStore(f"sqlite:///{folder}/data/stepwell.db")
    try:
        return {record.path for record in store.steps(task_id).items if record.ended}
    finally:
        store.close()
