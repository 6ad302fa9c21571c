"""Children of a worker: signals that they ignore, and whom they die with."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

from tests.acceptance.serving import eventually

from stepwell.worker.forking import fork


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_ends_with_the_code_of_its_function() -> None:
    assert exit_code(fork("child", lambda: 7)) == 7


def test_a_child_that_breaks_ends_with_one() -> None:
    def breaks() -> int:
        raise RuntimeError("broken")

    assert exit_code(fork("child", breaks)) == 1


def test_signals_for_the_whole_group_do_not_end_a_child(tmp_path: Path) -> None:
    def waits() -> int:
        (tmp_path / "ready").touch()
        eventually((tmp_path / "go").exists)
        return 3

    child = fork("child", waits)
    eventually((tmp_path / "ready").exists)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGURG):
        os.kill(child, number)
    (tmp_path / "go").touch()
    assert exit_code(child) == 3


def test_what_a_child_forks_itself_can_be_ended_as_usual() -> None:
    def forks() -> int:
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
        process.start()
        while process.is_alive():  # again, if it came in the instant of the fork
            process.terminate()
            process.join(0.1)
        return 0 if process.exitcode == -signal.SIGTERM else 1

    assert exit_code(fork("child", forks)) == 0


def test_a_child_dies_with_its_parent_unless_it_is_to_outlive_it(tmp_path: Path) -> None:
    def child(name: str) -> int:
        (tmp_path / name).write_text(str(os.getpid()))
        eventually((tmp_path / "end").exists)
        return 0

    def parent() -> int:
        fork("dies", lambda: child("dies"))
        fork("lives", lambda: child("lives"), outlives=True)
        eventually(lambda: all((tmp_path / name).exists() for name in ("dies", "lives")))
        eventually(lambda: all((tmp_path / name).read_text() for name in ("dies", "lives")))
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    assert exit_code(fork("parent", parent)) == -signal.SIGKILL
    eventually(lambda: not is_running(int((tmp_path / "dies").read_text())))
    assert is_running(int((tmp_path / "lives").read_text()))
    (tmp_path / "end").touch()


def is_running(pid: int) -> bool:
    """Whether there is such a process, not counting one that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
