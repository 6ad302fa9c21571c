"""What the tests of actions share: a real context, and an HTTP server on loopback that answers as it is told."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import stepwell.actions  # noqa: F401 - promises the built-in actions
from stepwell.registry import actions
from stepwell.secrets import Masker


@dataclass
class ActionContext:
    """A `ports.Context` that remembers what was reported."""

    work_folder: Path
    task_id: str = "task-1"
    step_id: str | None = "fetch"
    path: str = "group/fetch"
    attempt: int = 2
    idempotency_key: str = "task-1/group/fetch"
    logger: logging.LoggerAdapter[logging.Logger] = field(
        default_factory=lambda: logging.LoggerAdapter(logging.getLogger("test.action"), {})
    )
    secrets: Mapping[str, str] = field(default_factory=dict)
    cancelled: bool = False
    reports: list[dict[str, Any]] = field(default_factory=list)
    emitted: list[tuple[str, Any]] = field(default_factory=list)

    def mask(self, text: str) -> str:
        return Masker(self.secrets.values()).mask_text(text)

    def emit(self, name: str, payload: Any = None) -> str:
        self.emitted.append((name, payload))
        return str(len(self.emitted))

    def progress(
        self,
        *,
        percent: float | None = None,
        stage: str | None = None,
        message: str | None = None,
        filename: str | None = None,
        current_bytes: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        self.reports.append({"filename": filename, "current_bytes": current_bytes, "total_bytes": total_bytes})

    def run(self, name: str, /, **inputs: Any) -> Any:
        """Run a registered action as the engine does: inputs bound, async ones on an event loop."""
        action = actions.get(name)
        arguments = action.bind(inputs) | ({"context": self} if action.wants_context else {})
        result = action.function(**arguments)
        return asyncio.run(result) if action.is_async else result


@pytest.fixture
def context(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> ActionContext:
    caplog.set_level(logging.DEBUG, "test.action")
    folder = tmp_path / "work"
    folder.mkdir()
    return ActionContext(folder)


@dataclass
class Reply:
    """An answer; `cut` sends only so many bytes of the body and closes, `hold` waits before it answers."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    hold: threading.Event | None = None


@dataclass
class Received:
    """A request as the server got it; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class LocalServer(ThreadingHTTPServer):
    """Answers each path with its replies in order; the last one is repeated."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[str, list[Reply]] = {}
        self.received: list[Received] = []
        self.waiting = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(
        self,
        path: str,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
        hold: threading.Event | None = None,
    ) -> str:
        """Add a reply to those of a path; gives its URL."""
        self.replies.setdefault(path, []).append(Reply(status, body, headers or {}, cut, hold))
        return self.url + path

    def next_reply(self, path: str) -> Reply:
        replies = self.replies.get(path.partition("?")[0], [Reply(404, b"no such page")])
        return replies.pop(0) if len(replies) > 1 else replies[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalServer

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.command, self.path, headers, body))
        reply = self.server.next_reply(self.path)
        if reply.hold is not None:
            self.server.waiting.set()
            reply.hold.wait(30)
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body[: reply.cut])
        if reply.cut is not None:
            self.close_connection = True

    do_GET = do_POST = do_PUT = _respond  # http.server finds methods by these names

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        for replies in running.replies.values():
            for reply in replies:
                if reply.hold is not None:
                    reply.hold.set()
        running.shutdown()
