"""What `run:` does: a script for a shell, or a program with its arguments, as a process group of its own.

The process gets the environment of the worker but for `WITHHELD`, `env`, and these:

- `STEPWELL_OUTPUT`: a file it may write JSON to, which becomes `json` in the step's output
- `STEPWELL_TASK_ID`, `STEPWELL_STEP`, `STEPWELL_ATTEMPT`, `STEPWELL_IDEMPOTENCY_KEY`: who runs it
- `STEPWELL_PROJECT`: the project folder (it starts in the work folder)
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from stepwell.actions.parse import json_value
from stepwell.actions.paths import decode_text, invalid, locate, read_bounded
from stepwell.actions.process_group import ProcessGroup
from stepwell.errors import Fail
from stepwell.ports import Context
from stepwell.registry import Action
from stepwell.values import encode

MAX_VALUE = 100 * 1024
"""Longer values (in bytes) of the environment are passed as files: Linux allows 128 KiB for one."""

WITHHELD = ("REDIS_URL", "DATABASE_URL", "FILES_URL", "API_KEYS", "SECRET_KEY")
"""The settings that may hold passwords: a process is not given them, unless its `env` says so."""

SHELLS = {"bash": ["-euo", "pipefail", "-c"], "sh": ["-eu", "-c"]}
"""How a shell is told to stop at the first error and to run a text; any other is only told `-c`."""

CANNOT_START = {
    errno.ENOENT: "it was not found (nor is it the interpreter in the first line of a script)",
    errno.EACCES: "it may not be executed (chmod +x)",
    errno.ENOEXEC: "it is neither a program nor a script with an interpreter in its first line (#!)",
    errno.E2BIG: "its arguments and environment are too long: pass large values as files",
    errno.ENOTDIR: "a part of its path is not a folder",
}


def run_step(
    context: Context,
    command: str | list[Any],
    env: dict[str, Any] | None = None,
    shell: str | None = None,
    cwd: str | None = None,
) -> dict[str, Any]:
    """Run a script or a program.

    `command` is a script's text, run by `shell` (bash), or a list: a program and its arguments, without a shell.
    `cwd` is absolute or relative to the work folder, which it is by default. Gives `{exit_code, stdout, json}`.
    """
    folder = context.work_folder if cwd in (None, "", ".") else locate(str(cwd), context.work_folder)
    return run_process(command, env=env or {}, shell=shell, cwd=folder, context=context)


RUN = Action("run", run_step)
"""What the engine runs for a `run:` step; not in the registry, because `uses` cannot name it."""


def run_process(
    command: str | Sequence[Any], *, env: Mapping[str, Any], shell: str | None, cwd: Path, context: Context
) -> dict[str, Any]:
    """Run a command to its end and answer `{exit_code, stdout, json}`.

    `stdout` has no newlines at its end, as with `$(…)`; of more than 1 MiB its first and last half MiB are kept,
    with a note between them. Values that are no text are spelled as JSON, in `env` and in the arguments. A value
    of `env` of more than 100 KiB is written to a file: then `NAME` is not set, and `NAME_FILE` is its path.
    Raises `Fail`: code `exit_code` (retryable) for any exit code but 0, `cannot_start`, `invalid`.
    """
    if not cwd.is_dir():
        raise invalid(f"cwd: there is no folder {str(cwd)!r}")
    with TemporaryDirectory(
        prefix=".stepwell-", dir=context.work_folder.absolute(), ignore_cleanup_errors=True
    ) as folder:
        environment = _environment(env, context, Path(folder))
        group = ProcessGroup(_arguments(command, shell, environment, cwd), environment, cwd, context.mask)
        with _as_failure(command):
            exit_code = group.wait(context.logger.info, lambda: context.cancelled)
        if exit_code != 0:
            raise _failure(exit_code, group)
        if group.stdout.is_cut:
            context.logger.warning("stdout is too long to be kept whole: write to $STEPWELL_OUTPUT or keep `files`")
        return {"exit_code": 0, "stdout": group.stdout.text(), "json": _result(Path(environment["STEPWELL_OUTPUT"]))}


def _arguments(command: str | Sequence[Any], shell: str | None, env: Mapping[str, str], cwd: Path) -> list[str]:
    if isinstance(command, str):
        return [*_shell(shell or "bash", env), _checked(command, "the script")]
    if shell is not None:
        raise invalid("`shell` is for scripts: a list is run without a shell")
    program, *arguments = [_checked(_spelled(part, "an argument"), "an argument") for part in command] or [""]
    if not program:
        raise invalid("run: the list names no program")
    return [_found(program, cwd), *arguments]


def _shell(shell: str, env: Mapping[str, str]) -> list[str]:
    if shutil.which(shell, path=env.get("PATH")) is None:
        remedy = "install it, or set `shell: sh`" if shell == "bash" else "install it, or name another `shell`"
        raise Fail(f"the shell {shell!r} is not on PATH: {remedy}", code="cannot_start", retryable=False)
    return [shell, *SHELLS.get(shell, ["-c"])]


def _found(program: str, cwd: Path) -> str:
    """A relative path means the folder it runs in, or else the project folder, where a project keeps its scripts."""
    own = Path.cwd() / program
    return str(own) if "/" in program and not (cwd / program).exists() and own.exists() else program


def _environment(env: Mapping[str, Any], context: Context, folder: Path) -> dict[str, str]:
    environment = {name: text for name, text in os.environ.items() if name not in WITHHELD}
    for number, (name, value) in enumerate(env.items()):
        if not name or "=" in name or "\0" in name:
            raise invalid(f"env: {name!r} is not a name for an environment variable")
        text = _checked(_spelled(value, f"env.{name}"), f"env.{name}")
        environment.pop(name, None)
        if len(os.fsencode(text)) > MAX_VALUE:
            name, text = f"{name}_FILE", _written(text, folder / f"env-{number}")
        environment[name] = text
    return environment | {
        "STEPWELL_OUTPUT": str(folder / "output.json"),
        "STEPWELL_PROJECT": os.getcwd(),
        "STEPWELL_TASK_ID": context.task_id,
        "STEPWELL_STEP": context.step_id or context.path,
        "STEPWELL_ATTEMPT": str(context.attempt),
        "STEPWELL_IDEMPOTENCY_KEY": context.idempotency_key,
    }


def _written(text: str, target: Path) -> str:
    target.write_bytes(os.fsencode(text))
    return str(target)


def _spelled(value: object, what: str) -> str:
    return value if isinstance(value, str) else encode(value, what)


def _checked(text: str, what: str) -> str:
    if "\0" in text:
        raise invalid(f"{what} contains a NUL character, which a process cannot be given")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise invalid(f"{what} contains {error.object[error.start]!r}, which is not a character") from error
    return text


@contextmanager
def _as_failure(command: str | Sequence[Any]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = "the script" if isinstance(command, str) else repr(command[0])
        reason = CANNOT_START.get(error.errno or 0)
        message = f"{what} cannot be started: {reason or error.strerror or error}"
        raise Fail(message, code="cannot_start", retryable=reason is None) from error


def _failure(exit_code: int, group: ProcessGroup) -> Fail:
    how = f"exit code {exit_code}" if exit_code > 0 else f"ended by signal {_signal_name(-exit_code)}"
    lines = group.stderr.last_lines() or group.stdout.last_lines()
    return Fail(f"{how}\n{lines}" if lines else f"{how}, without any output", code="exit_code")


def _signal_name(number: int) -> str:
    names = {member.value: member.name for member in signal.Signals}
    return names.get(number, str(number))


def _result(path: Path) -> Any:
    if not path.exists():
        return None
    text = decode_text(read_bounded(path, "$STEPWELL_OUTPUT"), "utf-8", "$STEPWELL_OUTPUT")
    return json_value(text, "what was written to $STEPWELL_OUTPUT") if text.strip() else None
