"""The commands, put together; and errors, told in one line."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from stepwell.cli import keys, running, serving, signalling, tasks, workflows, working
from stepwell.cli.dev import command as dev
from stepwell.cli.doctor import command as doctor
from stepwell.cli.exits import MEANINGS, code_of
from stepwell.cli.output import say
from stepwell.cli.streams import tolerate
from stepwell.errors import StepwellError

HELP = """Durable YAML workflows: run them, look at them, serve them.

Everything works on the store of the settings (SQLite at ./data/stepwell.db unless DATABASE_URL says otherwise); no
server is needed.

    stepwell run workflows/hello.yaml -v name=Ada

    stepwell validate

    stepwell tasks --status failed"""

EPILOG = "Exit codes:\n\n" + "\n\n".join(f"{int(code)}  {meaning}" for code, meaning in MEANINGS.items())

app = typer.Typer(
    name="stepwell",
    help=HELP,
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["--help", "-h"]},
)
app.command("run", help=running.RUN_HELP)(running.run)
app.command("validate", help=workflows.VALIDATE_HELP)(workflows.validate)
app.command("list", help=workflows.LIST_HELP)(workflows.list_workflows)
app.command("show", help=workflows.SHOW_HELP)(workflows.show)
app.command("tasks", help=tasks.TASKS_HELP)(tasks.tasks)
app.command("task", help=tasks.TASK_HELP)(tasks.task)
app.command("retry", help=running.RETRY_HELP)(running.retry)
app.command("cancel", help=tasks.CANCEL_HELP)(tasks.cancel)
app.command("signal", help=signalling.SIGNAL_HELP)(signalling.signal)
app.command("eval", help=tasks.EVAL_HELP)(tasks.evaluate)
app.command("schema", help=workflows.SCHEMA_HELP)(workflows.schema)
app.command("serve", help=serving.SERVE_HELP)(serving.serve)
app.command("worker", help=working.WORKER_HELP)(working.worker)
app.command("dev", help=dev.DEV_HELP)(dev.dev)
app.command("doctor", help=doctor.DOCTOR_HELP)(doctor.doctor)
app.add_typer(keys.app, name="keys", help=keys.KEYS_HELP)


def main() -> None:
    """Run the program and end the process with one of its exit codes."""
    tolerate()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends a listing at once; `run` has a handler of its own
    try:
        app(prog_name="stepwell")
    except StepwellError as error:
        say("; ".join([str(error), *getattr(error, "__notes__", ())]))
        sys.exit(code_of(error))


def _version(wanted: bool) -> None:
    if wanted:
        from stepwell import __version__

        typer.echo(f"stepwell {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the program itself."""
