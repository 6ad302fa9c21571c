"""Processes that user code forks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.unit.engine_harness import Harness, use

from stepwell.task import Status


@pytest.mark.parametrize(("end", "code"), [("exit", 7), ("raise", 1), ("message", 1), ("return", 0)])
def test_what_a_step_forks_does_not_go_on_with_the_run(tmp_path: Path, end: str, code: int) -> None:
    def fork() -> int:
        child = os.fork()
        if child == 0:
            _end(end)
            return 0
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    use("fork", fork)
    harness = Harness(tmp_path)
    task = harness.run("steps: [{id: a, uses: fork}]")
    assert task.status is Status.COMPLETED
    assert harness.output(task, "a") == code


def _end(end: str) -> None:
    if end == "raise":
        raise ValueError("a defect in the child")
    if end != "return":
        sys.exit(7 if end == "exit" else "nothing to do")
