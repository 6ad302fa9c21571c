"""A network that fails on command: a TCP proxy between a client and a server on loopback."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from tests.programs import Program, free_port


class Faults(TypedDict, total=False):
    """What `chaosproxy.py` can do to connections; each stays until it is set to `None`, except `kill`."""

    latency_ms: int | None
    jitter_ms: int | None
    rate_bps: int | None
    blackhole: bool | None
    refuse: bool | None
    cut_after_bytes: int | None
    drop_reply_after: int | None
    cut_replies: dict[str, int] | None
    kill: bool


class ChaosProxy(Program):
    """Listens on `port` and passes everything on to the target port, but for the faults that are set."""

    def __init__(self, folder: Path, target_port: int) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._target_port = target_port
        self._control_port = free_port()

    @property
    def url(self) -> str:
        """For `REDIS_URL`, where the target is a Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def set(self, **faults: Unpack[Faults]) -> dict[str, Any]:
        """Change the faults; the answer holds the `state` of all faults, and counts of connections.

        `drop_reply_after=0` swallows the replies to what clients send from now on, until it is `None` again;
        `cut_replies={sha: 2}` resets the connection instead of the reply to the next two requests that hold this
        word, and the state counts them down; `kill=True` resets the open connections, once.
        """
        return self._tell(faults)

    def heal(self) -> None:
        """Clear all faults."""
        self._tell(dict.fromkeys(self.set()["state"]))

    def command(self) -> list[str]:
        ports = map(str, (self.port, self._target_port, self._control_port))
        return [sys.executable, str(Path(__file__).with_name("chaosproxy.py")), *ports]

    def answers(self) -> bool:
        try:
            self.set()
        except OSError:
            return False
        return True

    def _tell(self, message: Mapping[str, object]) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self._control_port), timeout=5) as connection:
            connection.sendall(json.dumps(message).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        assert "error" not in answer, answer
        return answer
