"""`stepwell worker`: a parent and its work-horses, as `run_worker.py`."""

from __future__ import annotations

from typing import Annotated

import typer

from stepwell.cli.exits import Exit, told

WORKER_HELP = f"""Run queued tasks, of all queues or of some.

Needs QUEUE_ENABLED=true and a Redis. The first Ctrl-C (or SIGTERM) lets running steps end within SHUTDOWN_TIMEOUT, a
second one hands all tasks back at once; neither uses up a retry.

    stepwell worker --queues workflow_execute,chat_process

{told(Exit.OK, Exit.FAILED, Exit.INVALID)}"""


def worker(
    queues: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="The queues to serve, those of QUEUES by default.")
    ] = None,
) -> None:
    from stepwell.worker.program import main

    names = None if queues is None else [name.strip() for name in queues.split(",") if name.strip()]
    raise typer.Exit(main(names))
