"""Programs of the system that tests run: finding them, starting and ending them."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pytest
from tests.acceptance.serving import PATIENCE, eventually


def required(program: str, package: str) -> str:
    """The path of a program; where it is missing the test is skipped, in continuous integration it fails."""
    # Debian keeps the programs of PostgreSQL off the PATH, one folder for each version.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    folders = [os.environ.get("PATH", os.defpath), *map(str, reversed(versions)), "/usr/sbin"]
    if found := shutil.which(program, path=os.pathsep.join(folders)):
        return str(Path(found).absolute())
    message = f"This test runs {program}, which is not installed: apt-get install {package}"
    if "CI" in os.environ or os.environ.get("STEPWELL_REQUIRE_ALL") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def free_port() -> int:
    """A port on loopback that nobody listens on, and that no outgoing connection takes while a server is restarted."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)  # below what Linux gives to outgoing connections
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


class Program(ABC):
    """A process that a test starts, ends and starts again; `folder` holds its `log` and what it keeps.

    It dies with the thread that started it, so that it outlives not even a killed pytest.
    """

    end_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None, user: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self._env = {**os.environ, **(env or {})}
        self._user = user

    @abstractmethod
    def command(self) -> list[str]:
        """What to run."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it does its work already."""

    @property
    def log(self) -> str:
        """All that it wrote so far, before restarts too."""
        return self._log_file.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """The id of its process, the last one if it has ended."""
        return self._last.pid

    def start(self) -> Self:
        """Start it, and wait until it answers."""
        assert not self.running, "it runs already"
        with self._log_file.open("ab") as out:
            self.process = subprocess.Popen(
                [required("setpriv", "util-linux"), "--pdeathsig", self.end_signal.name[3:], *self.command()],
                cwd=self.folder,
                env=self._env,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            eventually(self._ready)
        except BaseException:
            self.close()
            raise
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, to a paused process too, and wait for the end; the exit code."""
        process = self._last
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        return process.wait(PATIENCE)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.stop(signal.SIGKILL)

    def restart(self) -> None:
        """End it in good order if it runs, and start it again."""
        if self.running:
            self.stop()
        self.start()

    def pause(self) -> None:
        """Hold the process (SIGSTOP): its connections stay open and nobody answers."""
        self._last.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._last.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Be sure that it is gone."""
        if self.process is not None:
            self.stop(self.end_signal)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log_file(self) -> Path:
        return self.folder / "log"

    def _ready(self) -> bool:
        assert self.running, f"{self.command()} ended: {self.log}"
        return self.answers()

    @property
    def _last(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "it was never started"
        return self.process
