"""Checks of what stands in the project folder and in the settings, without any server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from configparser import Error as ConfigError
from configparser import RawConfigParser
from pathlib import Path

from stepwell import settings
from stepwell.api.guards import is_loopback
from stepwell.api_keys import Keyring
from stepwell.cli.doctor.finding import Finding, ok, warning, wrong
from stepwell.definitions import open_catalog
from stepwell.errors import SettingsError
from stepwell.loader import Broken, Definition
from stepwell.secrets import Cipher
from stepwell.settings import Settings

SUPERVISOR = Path("supervisord.conf")


def check_settings() -> tuple[Settings | None, Finding]:
    """The settings, if they load."""
    try:
        known = settings.load()
        Keyring(known.api_keys)
    except SettingsError as error:
        return None, wrong("settings", "; ".join(str(error).splitlines()), "correct them; docs/settings.md lists all")
    count = len(known.model_fields_set)
    return known, ok("settings", f"{count} set, all others at their defaults" if count else "all at their defaults")


def check_project(known: Settings) -> Iterator[Finding]:
    """Workflows, secrets, who may ask, files, and how long the processes are given to end."""
    found = open_catalog(known).all() if known.workflows_dir.is_dir() else None
    yield _check_workflows(known, found)
    yield _check_secrets(known, [one for one in found or () if isinstance(one, Definition)])
    yield _check_access(known)
    yield _check_files(known)
    if SUPERVISOR.exists():
        yield _check_supervisor(known.shutdown_timeout)


def _check_workflows(known: Settings, found: Sequence[Definition | Broken] | None) -> Finding:
    folder = str(known.workflows_dir)
    if found is None:
        return wrong("workflows", f"there is no folder {folder!r}", "make it, or set WORKFLOWS_DIR")
    if broken := [one for one in found if isinstance(one, Broken)]:
        first = broken[0].error.problems[0]
        message = f"{len(broken)} of {len(found)} files in {folder} have problems, first {first}"
        return wrong("workflows", message.splitlines()[0], "run stepwell validate")
    if not found:
        return warning("workflows", f"there is no workflow in {folder}", "write one, or set WORKFLOWS_DIR")
    return ok("workflows", f"{len(found)} in {folder}, without problems")


def _check_secrets(known: Settings, workflows: Sequence[Definition]) -> Finding:
    users = [
        one.workflow_id
        for one in workflows
        if any(variable.type == "secret" for variable in one.workflow.variables.values())
    ]
    try:
        if users or known.secret_key:
            Cipher(known.secret_key).encrypt("")
    except SettingsError as error:
        need = f" ({users[0]} takes secret variables)" if users else ""
        return wrong("secrets", f"{error}{need}", "set SECRET_KEY, the same for the API and all workers")
    return ok("secrets", "SECRET_KEY encrypts secret variables" if known.secret_key else "no workflow needs SECRET_KEY")


def _check_access(known: Settings) -> Finding:
    where = f"HOST={known.host}"
    if known.api_keys:
        return ok("access", f"{where}, {len(known.api_keys)} API keys")
    if is_loopback(known.host):
        return ok("access", f"{where} without API keys: whoever is on this machine may do everything")
    remedy = "make a key with stepwell keys new and put it into API_KEYS, or set HOST=127.0.0.1"
    return wrong("access", f"{where} can be reached from other machines, and there are no API keys", remedy)


def _check_files(known: Settings) -> Finding:
    if "://" in known.files_url:
        return ok("files", f"kept at {known.files_url.partition('://')[0]}://…")
    if known.queue_enabled:
        message = f"kept in the folder {known.files_url}, which workers on other hosts do not see"
        return warning("files", message, "with several hosts set FILES_URL to storage that all of them reach")
    return ok("files", f"kept in the folder {known.files_url}")


def _check_supervisor(seconds: float) -> Finding:
    config = RawConfigParser(inline_comment_prefixes=(";",))
    try:
        config.read(SUPERVISOR, encoding="utf-8")
        waits = [config.getfloat(name, "stopwaitsecs", fallback=10) for name in config if name.startswith("program:")]
    except (ConfigError, ValueError) as error:
        return wrong("supervisor", f"{SUPERVISOR} cannot be read: {error}", "correct it")
    if shorter := [wait for wait in waits if wait <= seconds]:
        message = f"stopwaitsecs {shorter[0]:g} in {SUPERVISOR} is not longer than SHUTDOWN_TIMEOUT ({seconds:g} s)"
        return warning("supervisor", f"{message}: programs may be killed while they drain", "raise stopwaitsecs")
    return ok("supervisor", f"{SUPERVISOR} waits longer than SHUTDOWN_TIMEOUT ({seconds:g} s)")
