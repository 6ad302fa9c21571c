"""`stepwell serve`: the HTTP API and its pages."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from stepwell.cli.exits import Exit, told

SERVE_HELP = f"""Serve the API and run what callers send.

    stepwell serve --port 8080

{told(Exit.OK, Exit.INVALID)}"""


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on (PORT).")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Begin anew whenever a Python file changes.")] = False,
) -> None:
    given = {"HOST": host, "PORT": None if port is None else str(port)}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    if reload:
        _serve_anew()
        return
    from stepwell.api.server import main

    raise typer.Exit(main())


def _serve_anew() -> None:
    """Have uvicorn watch the files, and import and begin `app` anew when one changes."""
    import uvicorn

    from stepwell import settings
    from stepwell.api.guards import is_loopback
    from stepwell.errors import SettingsError

    loaded = settings.load()
    if not is_loopback(loaded.host):
        raise SettingsError(f"HOST={loaded.host}: --reload is for work on this machine, use HOST=127.0.0.1")
    uvicorn.run("stepwell.cli.serving:app", factory=True, reload=True, host=loaded.host, port=loaded.port)


def app() -> object:
    """What a process that is begun anew serves."""
    from stepwell import settings
    from stepwell.api.app import create_app
    from stepwell.wiring import build

    return create_app(build(settings.load()))
