"""The settings, read once: from the environment, else `.env`, else the YAML file that `CONFIG_FILE` names."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from stepwell.errors import DefinitionError, SettingsError, short
from stepwell.values import seconds

NEAR = 0.85
"""How much alike (0 to 1, by difflib) a name must be to count as one of ours misspelt."""

LONGEST = 100
"""Characters of a name that may be one of ours misspelt."""

_log = logging.getLogger(__name__)


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _scale(value: object) -> object:
    return int(value) if isinstance(value, str) and value.strip() in ("4", "10") else value


def _redis_url(value: str) -> str:
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("it must begin with redis://, rediss:// (TLS) or unix:// (a socket)")
    return value


def _sql_url(value: str) -> str:
    if "://" not in value:
        raise ValueError(
            "it must be a URL like sqlite:///./data/stepwell.db or postgresql://user:password@host/database"
        )
    return value


Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0, allow_inf_nan=False)]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Names = Annotated[tuple[Name, ...], BeforeValidator(_split)]
Count = Annotated[int, Field(ge=1)]
Bytes = Annotated[ByteSize, Field(ge=1)]


class Settings(BaseModel):
    """Every setting; the field `redis_url` is the setting `REDIS_URL`. Times are seconds. `load` reads the sources.

    It is a plain model, so that `Settings(port=0)` in a test depends on nothing outside. Fields that may hold a
    password are left out of `repr` and of messages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, str_strip_whitespace=True)

    config_file: Path | None = Field(
        default=None, description="A YAML file with further settings; redis: {url: …} is REDIS_URL."
    )

    queue_enabled: bool = Field(
        default=False, description="Whether tasks go to Redis and workers; if not, they run inline."
    )
    redis_url: Annotated[str, AfterValidator(_redis_url)] = Field(
        default="redis://localhost:6379/0", repr=False, description="Where Redis is: redis://, rediss:// or unix://."
    )
    redis_sentinels: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        default=(), description="Addresses of Redis Sentinels (host:port), separated by commas; they name the Redis."
    )
    redis_master: str | None = Field(default=None, description="What the Sentinels call the Redis.")
    max_workers: Count = Field(default=5, description="How many tasks one run_worker.py runs at a time.")
    queues: Annotated[tuple[Word, ...], BeforeValidator(_split), Field(min_length=1)] = Field(
        default=("workflow_execute", "chat_process", "knowledge_search"), description="The queues, separated by commas."
    )
    queue_max_size: Count = Field(default=100_000, description="How many tasks may wait in one queue.")
    worker_concurrency: Count = Field(
        default=1, description="How many tasks one work-horse runs at a time; more only where tasks mostly wait."
    )
    worker_max_tasks: Count = Field(
        default=10_000, description="After so many tasks a work-horse is replaced by a fresh one."
    )
    namespace: Word = Field(
        default="stepwell", description="The prefix of all keys in Redis, so that deployments can share one."
    )

    database_url: Annotated[str, AfterValidator(_sql_url)] = Field(
        default="sqlite:///./data/stepwell.db", repr=False, description="Where tasks are kept: SQLite or PostgreSQL."
    )
    files_url: str = Field(
        default="./data/files", repr=False, description="Where files are kept: a folder, or s3://… for clusters."
    )
    workflows_dir: Path = Field(default=Path("workflows"), description="The folder of the workflow files.")

    listeners: Annotated[tuple[Word, ...], BeforeValidator(_split)] = Field(
        default=(), description="Python modules whose functions are told of events (@stepwell.on), separated by commas."
    )

    host: str = Field(default="127.0.0.1", description="The address that the API listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="The port that the API listens on.")
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        default=(), description="Further host names that the API answers to, separated by commas."
    )
    api_keys: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        default=(),
        repr=False,
        description="Who may use the API, separated by commas; stepwell keys new prints an entry.",
    )
    public_stats: bool = Field(default=False, description="Whether statistics can be read without a key.")
    max_request_bytes: Bytes = Field(
        default=ByteSize(32 * 1024**2), description="The largest body of a request (32MiB)."
    )
    max_upload_bytes: Bytes = Field(
        default=ByteSize(1024**3), description="The largest file that can be uploaded (1GiB)."
    )

    result_ttl: Seconds = Field(default=7 * 86400.0, description="How long ended tasks are kept.")
    progress_ttl: Seconds = Field(default=86400.0, description="How long the progress of ended tasks is kept.")
    task_timeout: Seconds = Field(
        default=3600.0, description="The running time after which a task fails, unless it says another."
    )
    task_max_retries: int = Field(default=3, ge=0, description="How often a queued task that failed is tried again.")
    inline_max_concurrency: Count = Field(default=3, description="How many tasks run inline at a time.")
    inline_queue_max_size: int = Field(default=100, ge=0, description="How many tasks may wait for their turn inline.")
    inline_async: Literal["wait", "background"] = Field(
        default="wait",
        description="What async_execute=true does without a queue: wait for the end, or run in the background.",
    )
    shutdown_timeout: Seconds = Field(
        default=300.0, description="How long a process that is told to end waits for its tasks."
    )
    lease_seconds: Annotated[Seconds, Field(ge=1)] = Field(
        default=10.0, description="How long a worker may be silent before another takes its task over."
    )
    priority_scale: Annotated[Literal[4, 10], BeforeValidator(_scale)] = Field(
        default=4, description="4: priorities are 0 to 3; 10: they are 0 to 10 and map onto the four."
    )

    secret_key: str | None = Field(
        default=None,
        repr=False,
        description="Encrypts secret variables; the first of several keys encrypts, all decrypt.",
    )
    secrets: Names = Field(default=(), description="Environment variables that workflows may read as secrets.NAME.")
    secrets_dir: Path | None = Field(
        default=None, description="A folder whose files workflows may read as secrets.NAME."
    )
    expression_env: Names = Field(
        default=(), description="Environment variables that expressions may read as env.NAME."
    )

    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        default="INFO", description="The least level that is logged: DEBUG, INFO, WARNING or ERROR."
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="How log lines look: console or json."
    )


NAMES = tuple(name.upper() for name in Settings.model_fields)
"""The names of all settings."""


def load(environ: Mapping[str, str] = os.environ, folder: Path = Path(".")) -> Settings:
    """The settings of a process that starts in `folder`. An empty value counts as not set.

    Raises `SettingsError` with every wrong value, and for a name in `.env` or `CONFIG_FILE` that is nearly one of
    ours; in the environment such a name is logged, other names are not ours to judge.
    """
    environment = _Source("the environment", environ)
    dotenv = _Source(".env", _read_dotenv(folder / ".env"))
    sources = [environment, dotenv, *_config_file(folder, environment, dotenv)]
    for name, near in environment.misspelt():
        _log.warning("the environment sets %s, which is no setting: did you mean %s?", name, near)
    problems = [
        f"{source.name} sets {name}, which is no setting: did you mean {near}?"
        for source in sources[1:]
        for name, near in source.misspelt()
    ]
    found = {name: source for source in reversed(sources) for name in NAMES if source.has(name)}
    try:
        settings = Settings(**{name.lower(): source.values[name] for name, source in found.items()})
    except ValidationError as error:
        problems += [_explained(found, detail["loc"], detail["msg"]) for detail in error.errors(include_url=False)]
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


@dataclass(frozen=True)
class _Source:
    """Where values come from, for messages, and what stands there."""

    name: str
    values: Mapping[str, Any]

    def has(self, name: str) -> bool:
        return self.values.get(name) not in (None, "")

    def misspelt(self) -> Iterator[tuple[str, str]]:
        """Names that are nearly ours, each with ours."""
        for name in self.values:
            if (
                name not in NAMES
                and len(name) <= LONGEST
                and (near := get_close_matches(name.upper(), NAMES, n=1, cutoff=NEAR))
            ):
                yield name, near[0]


def _read_dotenv(file: Path) -> Mapping[str, str | None]:
    if not file.exists():
        return {}
    from pydantic_settings import BaseSettings, DotEnvSettingsSource  # slow to import, and most have no .env

    try:
        return DotEnvSettingsSource(BaseSettings, env_file=file, case_sensitive=True).env_vars
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _config_file(folder: Path, *sources: _Source) -> Iterator[_Source]:
    named_by = next((source for source in sources if source.has("CONFIG_FILE")), None)
    if named_by is None:
        return
    name = named_by.values["CONFIG_FILE"]
    try:
        content = _read_yaml(folder / name, name)
    except (OSError, ValueError) as error:
        raise SettingsError(f"CONFIG_FILE={name} (from {named_by.name}) cannot be read: {error}") from error
    if not isinstance(content, dict | None):
        raise SettingsError(f"CONFIG_FILE={name} (from {named_by.name}) must hold `name: value` lines")
    values: dict[str, Any] = {}
    spellings: dict[str, str] = {}
    for spelling, value in _joined("", content or {}):
        setting = spelling.replace(".", "_").upper()
        first = spellings.setdefault(setting, spelling)
        if setting in NAMES and first != spelling:
            raise SettingsError(f"{name} sets {setting} twice, as {first} and as {spelling}: remove one")
        values[setting] = value
    yield _Source(name, values)


def _read_yaml(file: Path, name: str) -> object:
    """The data of the file. Raises `ValueError` with every problem, without its line, which may hold a password."""
    from stepwell.strict_yaml import parse  # most have no such file

    try:
        return parse(file.read_bytes(), name).data
    except DefinitionError as error:
        places = (f"{found.file}:{found.line}:{found.column}: {found.message}" for found in error.problems)
        raise ValueError("\n".join(places)) from None


def _joined(prefix: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value with the dotted path of its keys: `redis.url` for `redis: {url: …}`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _joined(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


def _explained(found: Mapping[str, _Source], place: tuple[str | int, ...], reason: str) -> str:
    name = str(place[0])
    field, source = Settings.model_fields[name], found[name.upper()]
    value = f"={short(str(source.values[name.upper()]))}" if field.repr else ""
    reason = reason.removeprefix("Value error, ")
    return f"{name.upper()}{value} (from {source.name}) is wrong: {reason}. {field.description}"
