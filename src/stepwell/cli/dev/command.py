"""What `stepwell dev` says on the command line, and what the programs are given."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from stepwell.cli.exits import Exit, told

if TYPE_CHECKING:
    from stepwell.cli.dev.redis_server import PrivateRedis
    from stepwell.settings import Settings

DEV_HELP = f"""Run Redis, the API and a worker together, for work on this machine.

Redis is a private one in ./data/dev-redis, unless REDIS_URL says otherwise. The API and the worker begin anew when a
Python file of the project, or .env, changes. Ctrl-C stops all of it.

    stepwell dev

{told(Exit.OK, Exit.INVALID, Exit.CONFLICT)}"""

FOLDER = Path("data/dev-redis")

PROGRAMS = {
    "worker": (sys.executable, "-m", "stepwell", "worker"),
    "api": (sys.executable, "-m", "stepwell", "serve"),
}

DRAIN = "5s"
"""How long steps may go on when files change, unless SHUTDOWN_TIMEOUT is set: what is handed back goes on anew."""

COLOURS = {"api": "36", "worker": "32", "redis": "35", "dev": "33"}


def dev() -> None:
    from stepwell import settings
    from stepwell.cli.dev.redis_server import PrivateRedis
    from stepwell.cli.dev.session import Session

    known = settings.load()
    redis = None if _has_redis(known) else PrivateRedis(FOLDER)
    write = _writer()
    write("dev", "Ctrl-C stops everything; for stepwell in other terminals:")
    write("dev", f"    export {shlex.join(f'{name}={value}' for name, value in _shared(redis).items())}")
    try:
        raise typer.Exit(Session(Path.cwd(), PROGRAMS, _environment(known, redis), redis, write).run())
    finally:
        if redis is not None:
            redis.close()


def _has_redis(known: Settings) -> bool:
    return not known.model_fields_set.isdisjoint({"redis_url", "redis_sentinels"})


def _shared(redis: PrivateRedis | None) -> Mapping[str, str]:
    """The settings by which other programs find the same tasks."""
    return {"QUEUE_ENABLED": "true", **({} if redis is None else {"REDIS_URL": redis.url})}


def _environment(known: Settings, redis: PrivateRedis | None) -> Mapping[str, str]:
    drain = {} if "shutdown_timeout" in known.model_fields_set else {"SHUTDOWN_TIMEOUT": DRAIN}
    return {**os.environ, **_shared(redis), **drain, "PYTHONUNBUFFERED": "1"}


def _writer() -> Callable[[str, str], None]:
    """Writes a line behind the name of the program that it comes from."""
    from stepwell.cli.output import harmless

    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def write(name: str, line: str) -> None:
        head = f"{name:<6} |"
        head = f"\x1b[{COLOURS[name]}m{head}\x1b[0m" if coloured else head
        sys.stdout.write(f"{head} {harmless(line)}\n")
        sys.stdout.flush()

    return write
