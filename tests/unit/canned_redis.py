"""A server that speaks Redis's protocol and gives the replies that a test wants, bytes for bytes."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import hiredis

Reply = Callable[[list[bytes]], bytes]

HANDSHAKE = (b"CLIENT", b"SELECT")


class CannedRedis(socketserver.ThreadingTCPServer):
    """Answers each command with `reply(command)`, the handshake with OK; counts connections and commands."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.connections = 0
        self.commands: list[list[bytes]] = []
        super().__init__(("127.0.0.1", 0), _Conversation)
        self._serving = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """For `REDIS_URL`."""
        return f"redis://127.0.0.1:{self.server_address[1]}/0"

    def __enter__(self) -> Self:
        self._serving.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
        self._serving.join()
        self.server_close()


class _Conversation(socketserver.BaseRequestHandler):
    server: CannedRedis

    def handle(self) -> None:
        self.server.connections += 1
        reader = hiredis.Reader()
        while data := self._received():
            reader.feed(data)
            while (command := reader.gets()) is not False:
                self.request.sendall(self._reply(command))

    def _received(self) -> bytes:
        try:
            received: bytes = self.request.recv(65536)
        except OSError:
            return b""
        return received

    def _reply(self, command: list[bytes]) -> bytes:
        if command[0] in HANDSHAKE:
            return b"+OK\r\n"
        self.server.commands.append(command)
        return self.server.reply(command)
