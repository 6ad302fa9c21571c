"""One program that `stepwell dev` runs: its lines come through a pipe, and nothing of it outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from stepwell.actions.orphans import guard

CHUNK = 64 * 1024


class Child:
    """A process in a group of its own, so that Ctrl-C on the terminal reaches only us, who stop it in order."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], write: Callable[[str, str], None]
    ) -> None:
        """Start it; `write(name, line)` is called for each of its lines. Raises `OSError`."""
        self.name = name
        self._write = write
        self._part = b""
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        guard.watch(self._process.pid)
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)

    @property
    def code(self) -> int | None:
        """Its exit code once it has ended; negative: the signal that ended it."""
        return self._process.poll()

    def fileno(self) -> int:
        """Of the pipe, for a selector."""
        return self._pipe.fileno()

    def read(self) -> bool:
        """Write the lines that have come; false once no more will come."""
        while True:
            try:
                data = os.read(self._pipe.fileno(), CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self._part = (self._part + data).split(b"\n")
            for line in lines:
                self._write(self.name, line.decode(errors="replace"))

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.code is None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Kill what is left of it and of all that it started, and write its last line."""
        if self.code is None:
            self._process.kill()
            self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        guard.forget(self._process.pid)
        self.read()
        if self._part:
            self._write(self.name, self._part.decode(errors="replace"))
        self._pipe.close()
