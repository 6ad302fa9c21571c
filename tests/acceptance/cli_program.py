"""The real program `stepwell` for tests: in a folder of its own, with pipes or on a terminal of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.acceptance.cli_forks import forks

from stepwell.settings import NAMES

PATIENCE = 60.0
"""Seconds after which something that should have happened is taken for broken."""

CTRL_C = "\x03"


@dataclass(frozen=True)
class Ended:
    """What a run of the program left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on standard output."""
        return json.loads(self.out)


class Terminal:
    """The program on a terminal of 100 columns and 30 lines; `screen` is all that it wrote."""

    def __init__(self, args: tuple[str, ...], folder: Path, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_A_TERMINAL, *args],
            cwd=folder,
            env={**env, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.screen = ""
        self._looked = 0

    def until(self, text: str) -> str:
        """Wait until this was written since the last call; answers what was written up to there."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.screen.find(text, self._looked)) < 0:
            assert self._read(deadline), f"{text!r} did not come:\n{self.screen}"
        before, self._looked = self._looked, found + len(text)
        return self.screen[before : self._looked]

    def type(self, text: str) -> None:
        """Type it on the keyboard."""
        os.write(self._master, text.encode())

    def ended(self) -> int:
        """Read on to the end; answers the exit code."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End the program if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # the other end of the terminal is closed
            data = b""
        self.screen += data.decode(errors="replace")
        return bool(data)


_PROGRAM = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("stepwell", run_name="__main__", alter_sys=True)
"""
"""Listens to Ctrl-C even where the tests run in the background, where it is ignored."""

_ON_A_TERMINAL = f"""
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
{_PROGRAM}"""
"""Makes the terminal the session's own, so that Ctrl-C is a signal."""


class Project:
    """A folder with workflows and actions, in which the program runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.terminals: list[Terminal] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "workflows").mkdir()

    def write(self, name: str, text: str) -> Path:
        """Write a file; a name without a suffix is a workflow's id."""
        path = self.folder / (name if "." in name else f"workflows/{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *args: str, **env: str) -> Ended:
        """Run the program to its end, its output into files."""
        return Ended(*forks().run(args, self.folder, self.env(env), PATIENCE))

    def python(self, *args: str, **env: str) -> Ended:
        """Run Python to its end, with pipes; what is not UTF-8 in its output becomes `\ufffd`."""
        ended = subprocess.run(
            [sys.executable, *args],
            cwd=self.folder,
            env=self.env(env),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace"))

    def ok(self, *args: str, **env: str) -> Ended:
        """Run it; it must end well."""
        ended = self.run(*args, **env)
        assert ended.code == 0, f"{args} ended with {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def begin(self, *args: str, **env: str) -> subprocess.Popen[bytes]:
        """Begin to run it, with pipes."""
        command, pipe = [sys.executable, "-c", _PROGRAM, *args], subprocess.PIPE
        process = subprocess.Popen(command, cwd=self.folder, env=self.env(env), stdout=pipe, stderr=pipe)
        self.processes.append(process)
        return process

    def terminal(self, *args: str, **env: str) -> Terminal:
        """Begin to run it on a terminal."""
        terminal = Terminal(args, self.folder, self.env(env))
        self.terminals.append(terminal)
        return terminal

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment without settings and without what changes how things look."""
        hidden = {*NAMES, "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "PYTHONBREAKPOINT", "TTY_COMPATIBLE"}
        own = {name: value for name, value in os.environ.items() if name not in hidden}
        return {**own, **more}

    def close(self) -> None:
        """End what still runs."""
        for terminal in self.terminals:
            terminal.close()
        for process in self.processes:
            process.kill()
            process.communicate()


def interrupt(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> Ended:
    """Send a signal, and wait for the end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    return Ended(process.returncode, out.decode(), err.decode())
