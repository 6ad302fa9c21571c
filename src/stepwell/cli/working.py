"""`stepwell worker`: runs queued tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from stepwell.cli.exits import Exit, told

WORKER_HELP = f"""Run queued tasks, of all queues or of some, as run_worker.py does.

Needs QUEUE_ENABLED=true and a Redis. The first Ctrl-C (or SIGTERM) lets running steps end within SHUTDOWN_TIMEOUT, a
second one hands all tasks back at once; neither uses up a retry.

    stepwell worker --queues chat_process,knowledge_search

{told(Exit.OK, Exit.INVALID)}"""


def worker(
    queues: Annotated[str | None, typer.Option(metavar="A,B", help="Serve only these of QUEUES.")] = None,
) -> None:
    from stepwell.worker.program import main

    names = [name.strip() for name in (queues or "").split(",")]
    raise typer.Exit(main([name for name in names if name] or None))
