"""Runs the program in forks of one process that has imported it: each start of Python would take a second."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

_PARENT = """
import gc, json, os, sys
import stepwell.api.workflow_views, stepwell.cli.app, stepwell.cli.evaluation, stepwell.cli.execution
import stepwell.cli.forms, stepwell.cli.inputs, stepwell.cli.lookup, stepwell.cli.plain, stepwell.cli.resuming
import stepwell.cli.tables, stepwell.wiring

gc.freeze()  # a fork that ends need not free all this
for line in sys.stdin:
    asked = json.loads(line)
    if (pid := os.fork()) == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else:
    sys.exit()
os.chdir(asked["folder"])
os.environ.clear()
os.environ.update(asked["env"])
for number, (name, flags) in enumerate([(os.devnull, 0), (asked["out"], os.O_WRONLY), (asked["err"], os.O_WRONLY)]):
    os.dup2(os.open(name, flags | os.O_CREAT), number)
sys.stdin = open(0)
sys.path[0] = asked["folder"]
sys.argv = ["stepwell", *asked["args"]]
stepwell.cli.app.main()
"""


class Forks:
    """A process that has imported the program; it ends with this one."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT], stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        atexit.register(self._end)

    def run(self, args: tuple[str, ...], folder: Path, env: Mapping[str, str], patience: float) -> tuple[int, str, str]:
        """The exit code, and what was written to standard output and error."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        with TemporaryDirectory() as name:
            out, err = Path(name, "out"), Path(name, "err")
            asked = {"args": args, "folder": str(folder), "env": dict(env), "out": str(out), "err": str(err)}
            self._parent.stdin.write(json.dumps(asked) + "\n")
            self._parent.stdin.flush()
            ready, _, _ = select.select([self._parent.stdout], [], [], patience)
            if not ready:
                self._end()
                forks.cache_clear()
            assert ready, f"{args} did not end:\n{out.read_text()}\n{err.read_text()}"
            code = int(self._parent.stdout.readline())
            return code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8")

    def _end(self) -> None:
        if self._parent.poll() is None:
            os.killpg(self._parent.pid, signal.SIGKILL)
        self._parent.communicate()


@cache
def forks() -> Forks:
    """The one of this process."""
    return Forks()
