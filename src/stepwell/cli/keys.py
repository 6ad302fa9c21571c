"""`stepwell keys`: keys for the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import typer

from stepwell.api_keys import Allowance, ApiKey, Role, checked_name, digest, new_secret
from stepwell.cli.exits import Exit, told
from stepwell.cli.options import AsJson
from stepwell.cli.output import print_json

T = TypeVar("T")

KEYS_HELP = "Make keys for the API."

NEW_HELP = f"""Make a key: print it, and its entry for API_KEYS.

The key is shown this once and kept nowhere: give it to whoever shall use it. The entry holds only its hash, and what
its holder may do: a viewer reads, an operator also runs and cancels tasks, an admin does everything.

    stepwell keys new --name ci --role operator --rate 60/m --quota 10000/d

{told(Exit.OK, Exit.INVALID)}"""


def _parsed_by(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of an option whose `ValueError` is told as wrong usage."""

    def parsed(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return parsed


_allowance = _parsed_by(Allowance.parse)


def new(
    name: Annotated[str, typer.Option(parser=_parsed_by(checked_name), metavar="NAME", help="Whose key it is.")],
    role: Annotated[Role, typer.Option(help="What its holder may do.")],
    rate: Annotated[
        Allowance | None, typer.Option(parser=_allowance, metavar="N/s|m|h|d", help="Requests, like 60/m.")
    ] = None,
    quota: Annotated[
        Allowance | None, typer.Option(parser=_allowance, metavar="N/s|m|h|d", help="Tasks submitted, like 10000/d.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    secret = new_secret()
    entry = str(ApiKey(name, role, digest(secret), rate, quota))
    if as_json:
        print_json({"key": secret, "entry": entry})
        return
    typer.echo(f"key    {secret}")
    typer.echo(f"entry  {entry}")


app = typer.Typer(help=KEYS_HELP, no_args_is_help=True)
app.command("new", help=NEW_HELP)(new)


@app.callback()
def _group() -> None:
    """Keep `new` a command of its own: typer makes a lone command the program itself."""
