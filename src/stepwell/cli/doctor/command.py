"""The command: runs all checks, one line for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict

import typer

from stepwell.cli.doctor.finding import Finding, Level, ok
from stepwell.cli.exits import Exit, told
from stepwell.cli.options import AsJson
from stepwell.cli.output import harmless, print_json

DOCTOR_HELP = f"""Check the settings, the workflows, the store, Redis and the workers.

Each line says ok, warning or wrong, and what to do. Nothing is changed.

    stepwell doctor --json

{told(Exit.OK, Exit.FAILED)}"""

COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.WRONG: "red"}


def doctor(as_json: AsJson = False) -> None:
    found = []
    for finding in _findings():
        found.append(finding)
        if not as_json:
            _print(finding)
    healthy = all(finding.level is not Level.WRONG for finding in found)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(finding) for finding in found]})
    raise typer.Exit(Exit.OK if healthy else Exit.FAILED)


def _findings() -> Iterator[Finding]:
    from stepwell.cli.doctor.database import check_database
    from stepwell.cli.doctor.project import check_project, check_settings
    from stepwell.wiring.databases import has_own_database

    known, finding = check_settings()
    yield finding
    if known is None:
        return
    yield from check_project(known)
    in_redis = known.queue_enabled and not has_own_database(known)
    if in_redis:
        yield ok("store", "Redis keeps the tasks")
    else:
        yield from check_database(known.database_url, known.queue_enabled)
    if known.queue_enabled:
        from stepwell.cli.doctor.redis_server import check_redis

        yield from check_redis(known, in_redis)
    else:
        yield ok("queue", "QUEUE_ENABLED is false: tasks run inline, in the process that takes them")


def _print(finding: Finding) -> None:
    remedy = f" \N{EN DASH} {finding.remedy}" if finding.remedy else ""
    line = harmless(f"{finding.check}: {finding.message}{remedy}").replace("\n", " ")
    level = typer.style(f"{finding.level:<8}", fg=COLOURS[finding.level])
    typer.echo(f"{level} {line}", file=sys.stdout)
