"""`stepwell serve`: the HTTP API and its pages."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from stepwell.cli.exits import Exit, told

SERVE_HELP = f"""Serve the API, and run tasks that callers send, until Ctrl-C.

    stepwell serve --port 8080

{told(Exit.OK, Exit.INVALID)}"""


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on (HOST).")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on (PORT).")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Begin anew whenever a Python file changes.")] = False,
) -> None:
    from stepwell import settings

    given = {"HOST": host, "PORT": None if port is None else str(port)}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    loaded = settings.load()
    if reload:
        import uvicorn

        uvicorn.run("stepwell.cli.serving:app", factory=True, reload=True, host=loaded.host, port=loaded.port)
        return
    from stepwell.api.server import serve as serve_api

    serve_api(loaded)


def app() -> object:
    """What a process that is begun anew serves."""
    from stepwell import settings
    from stepwell.api import create_app
    from stepwell.wiring import build

    return create_app(build(settings.load()))
