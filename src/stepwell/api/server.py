"""Serving the API: `main` is what `run.py` starts."""

from __future__ import annotations

import logging
import math
import signal
import socket
import sys
import time
from types import FrameType
from typing import NoReturn

import uvicorn

from stepwell.api.app import create_app
from stepwell.api.guards import is_loopback
from stepwell.errors import SettingsError, StepwellError, Unavailable
from stepwell.logs import configure
from stepwell.settings import Settings, load
from stepwell.wiring import System, build

log = logging.getLogger(__name__)

GRACE = 10
"""Seconds that answers may take after the last task was handed back."""

AGAIN = 2.0
"""Seconds before a database that does not answer is asked again."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def main() -> int:
    """Serve until a signal comes; answers the exit code: 2, and one line on stderr, if it cannot even begin."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        serve(load())
    except StepwellError as error:
        sys.stderr.write(f"stepwell: {error}\n")
        return 2
    return 0


def serve(settings: Settings) -> None:
    """Serve the API on `HOST` and `PORT` until SIGINT or SIGTERM, which drain it. Raises `SettingsError`."""
    with _listening(settings) as listener:
        configure(settings.log_level, settings.log_format)
        server = _Server(_built(settings), listener)
        if not settings.workflows_dir.is_dir():
            log.warning("WORKFLOWS_DIR=%s is no folder: there are no workflows", settings.workflows_dir)
        server.run(sockets=[listener])


def _built(settings: Settings) -> System:
    """The system, once its database answers: after a power cut that may start later than this process. What is wrong
    with a file of SQLite does not mend itself."""
    while True:
        try:
            return build(settings)
        except Unavailable as error:
            if settings.database_url.startswith("sqlite"):
                raise
            log.warning("%s; it is tried again", error)
            time.sleep(AGAIN)


class _Server(uvicorn.Server):
    """Tells where it serves, and has its tasks stop as soon as it shall stop, so that their callers get an answer."""

    def __init__(self, system: System, listener: socket.socket) -> None:
        self._app, self._listener = create_app(system), listener
        limit = math.ceil(system.settings.shutdown_timeout) + GRACE
        config = uvicorn.Config(
            self._app,
            log_config=None,
            access_log=system.settings.log_level == "DEBUG",
            server_header=False,
            timeout_graceful_shutdown=limit,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and tell where."""
        await super().startup(sockets)
        host, port = self._listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        sys.stdout.write(f"Stepwell serves http://{shown}:{port} (operations: http://{shown}:{port}/docs)\n")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hand tasks back while the last answers are given."""
        self._app.state.drain.begin()
        await super().shutdown(sockets)


def _listening(settings: Settings) -> socket.socket:
    host, port = settings.host, settings.port
    if not settings.api_keys and not is_loopback(host):
        raise SettingsError(
            f"HOST={host} can be reached from other machines, where everybody could run workflows: set API_KEYS"
            " (`stepwell keys new` prints an entry), or bind to a loopback address, like HOST=127.0.0.1"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # else no TCP_NODELAY
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        raise SettingsError(f"HOST={host} PORT={port} cannot be listened on: {error.strerror or error}") from error


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End without a traceback; uvicorn puts its own handlers in place of this while it serves."""
    raise SystemExit(0)
