"""However a `run:` step ends, nothing of its processes is left."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, get_ident
from typing import TYPE_CHECKING

import pytest

from stepwell.actions import process_group
from stepwell.actions.process import run_step
from stepwell.engine.threads import raise_in
from stepwell.errors import Interrupted, TaskCancelled, TimeLimitReached

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext


GRANDCHILDREN = "sleep 600 & (sleep 600; echo never) & "
READY = 'echo $$ > "$READY"; '
STUBBORN = "trap '' TERM; "


def living(group: int) -> list[str]:
    """The processes of a group that have not ended (ended ones may wait for init to take note)."""
    listed = subprocess.run(["ps", "-e", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return [row[-1] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def interrupted(
    context: ActionContext, script: str, interrupt: Callable[[int], None]
) -> tuple[BaseException | None, int]:
    """Run a script on a thread, interrupt it once it is ready; gives what was raised, and its process group."""
    ready = context.work_folder.parent / "ready"
    os.mkfifo(ready)
    thread, started = [0], Event()

    def call() -> None:
        thread[0] = get_ident()
        started.set()
        run_step(context, script, env={"READY": str(ready)})

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call)
        started.wait(10)
        group = int(ready.read_text())  # waits until the script writes to the pipe
        interrupt(thread[0])
        return future.exception(timeout=20), group


@pytest.mark.parametrize("error", [TimeLimitReached, TaskCancelled])
@pytest.mark.parametrize("script", ["sleep 600", GRANDCHILDREN + "wait", STUBBORN + GRANDCHILDREN + "sleep 600; wait"])
def test_an_exception_raised_into_the_thread_ends_all(
    context: ActionContext, error: type[Interrupted], script: str
) -> None:
    raised, group = interrupted(context, READY + script, lambda thread: raise_in(thread, error))
    assert type(raised) is error
    assert living(group) == []


def test_a_cancelled_context_ends_all(context: ActionContext) -> None:
    def cancel(thread: int) -> None:
        context.cancelled = True

    raised, group = interrupted(context, READY + STUBBORN + GRANDCHILDREN + "sleep 600; wait", cancel)
    assert type(raised) is TaskCancelled
    assert living(group) == []
    assert list(context.work_folder.iterdir()) == []


def test_a_script_may_clean_up(context: ActionContext) -> None:
    script = 'trap "echo cleaned > trace; exit 0" TERM; ' + READY + "while :; do sleep 0.01; done"
    _, group = interrupted(context, script, lambda thread: raise_in(thread, TaskCancelled))
    assert (context.work_folder / "trace").read_text() == "cleaned\n"
    assert living(group) == []


def test_what_is_left_in_the_background_does_not_hold_the_step(
    context: ActionContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "LINGER", 0.1)
    result = run_step(context, STUBBORN + "sleep 600 & echo $$")
    assert living(int(result["stdout"])) == []


def test_what_is_left_quietly_in_the_background_ends_too(context: ActionContext) -> None:
    result = run_step(context, "sleep 600 > /dev/null 2>&1 & echo $$")
    deadline = time.monotonic() + 20
    while living(int(result["stdout"])):  # it was sent SIGKILL; the system may take a moment to end it
        assert time.monotonic() < deadline


def test_output_after_the_end_of_the_script_is_waited_for(context: ActionContext) -> None:
    result = run_step(context, "exec > >(sleep 0.2; cat); echo late")
    assert result["stdout"] == "late"


def test_a_process_that_closes_its_output_is_waited_for(context: ActionContext) -> None:
    run_step(context, "exec > /dev/null 2>&1; sleep 0.2; echo done > trace")
    assert (context.work_folder / "trace").read_text() == "done\n"


WORKER = """
import logging, sys
from pathlib import Path
from stepwell.actions.process import run_step
from tests.unit.action_fixtures import ActionContext
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(message)s")
run_step(ActionContext(Path.cwd()), "echo first")
run_step(ActionContext(Path.cwd()), sys.argv[1])
"""


def test_nothing_of_a_step_outlives_a_killed_worker(context: ActionContext) -> None:
    reading, writing = os.pipe()
    script = f"trap '' HUP TERM; exec 3> /proc/{os.getpid()}/fd/{writing}; {GRANDCHILDREN} echo ready; sleep 600; wait"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WORKER, script]
    with subprocess.Popen(command, cwd=context.work_folder, env=environ, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert [worker.stdout.readline(), worker.stdout.readline()] == ["first\n", "ready\n"]
        os.close(writing)
        assert select.select([reading], [], [], 0)[0] == []
        worker.kill()
        assert select.select([reading], [], [], 20)[0] == [reading]  # all that held the other end have ended
    os.close(reading)


def test_the_process_is_reaped_and_its_pipes_are_closed(context: ActionContext) -> None:
    run_step(context, ["true"])  # the first one starts what ends orphans
    before = len(os.listdir("/proc/self/fd"))
    pid = int(run_step(context, "echo $$")["stdout"])
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
