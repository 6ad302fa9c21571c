"""Settings: where they come from, what is refused and how it is told, and that `.env.example` is true."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stepwell.errors import SettingsError
from stepwell.settings import NAMES, Settings, load
from stepwell.workflow import priority_level

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def told(folder: Path, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(environ, folder)
    return str(caught.value).splitlines()


def test_without_any_source_the_defaults_hold(tmp_path: Path) -> None:
    settings = load({}, tmp_path)
    assert settings == Settings()
    assert settings.database_url == "sqlite:///./data/stepwell.db"
    assert settings.queues == ("workflow_execute", "chat_process", "knowledge_search")
    assert (settings.result_ttl, settings.task_timeout, settings.lease_seconds) == (604800, 3600, 10)
    assert (settings.queue_enabled, settings.secret_key, settings.workflows_dir) == (False, None, Path("workflows"))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("QUEUE_ENABLED", "true", True),
        ("MAX_WORKERS", "12", 12),
        ("TASK_TIMEOUT", "90", 90.0),
        ("TASK_TIMEOUT", "5m", 300.0),
        ("SHUTDOWN_TIMEOUT", "500ms", 0.5),
        ("QUEUES", "a, b,,", ("a", "b")),
        ("SECRETS", "API_TOKEN,DB_PASSWORD", ("API_TOKEN", "DB_PASSWORD")),
        ("PRIORITY_SCALE", "10", 10),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("MAX_REQUEST_BYTES", "1MiB", 1024**2),
        ("MAX_UPLOAD_BYTES", "1000", 1000),
        ("WORKFLOWS_DIR", "flows", Path("flows")),
        ("REDIS_URL", "rediss://:secret@redis:6380/1", "rediss://:secret@redis:6380/1"),
        ("SECRET_KEY", "k", "k"),
        ("QUEUES", "", ("workflow_execute", "chat_process", "knowledge_search")),
        ("SECRET_KEY", "", None),
    ],
)
def test_text_is_read_by_the_type_of_the_setting(tmp_path: Path, name: str, text: str, value: object) -> None:
    from_environment = getattr(load({name: text}, tmp_path), name.lower())
    assert from_environment == value
    (tmp_path / ".env").write_text(f"{name}='{text}'\n")
    assert getattr(load({}, tmp_path), name.lower()) == value


def test_the_environment_wins_over_dotenv_and_that_over_the_config_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CONFIG_FILE=config/all.yaml\nMAX_WORKERS=2\nPORT=2\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "all.yaml").write_text(
        "max_workers: 3\nport: 3\nredis: {url: 'redis://three'}\nINLINE: {queue: {max: {size: 3}}}\n"
        "queues: [one, two]\nresult_ttl: 3d\nhost:\nother: {name: x}\n"
    )
    settings = load({"MAX_WORKERS": "1", "HOST": ""}, tmp_path)
    assert (settings.max_workers, settings.port, settings.redis_url) == (1, 2, "redis://three")
    assert (settings.inline_queue_max_size, settings.queues, settings.result_ttl) == (3, ("one", "two"), 259200)
    assert settings.host == "127.0.0.1"


def test_every_wrong_value_is_told_with_its_source_and_what_the_setting_is(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=99999\nTASK_TIMEOUT=soon\n")
    (tmp_path / "c.yaml").write_text("priority: {scale: 5}\n")
    lines = told(tmp_path, CONFIG_FILE="c.yaml", MAX_WORKERS="five")
    assert lines == [
        "MAX_WORKERS=five (from the environment) is wrong: Input should be a valid integer, unable to parse string as "
        "an integer. How many tasks one run_worker.py runs at a time.",
        "PORT=99999 (from .env) is wrong: Input should be less than or equal to 65535. The port that the API listens "
        "on.",
        "TASK_TIMEOUT=soon (from .env) is wrong: 'soon' is not a duration: write a number of seconds, or 500ms, 30s, "
        "5m, 2h, 1d. The running time after which a task fails, unless it says another.",
        "PRIORITY_SCALE=5 (from c.yaml) is wrong: Input should be 4 or 10. 4: priorities are 0 to 3; 10: they are 0 "
        "to 10 and map onto the four.",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TASK_TIMEOUT", "0"),
        ("TASK_TIMEOUT", "9" * 400),
        ("LEASE_SECONDS", "100ms"),
        ("QUEUES", "a b"),
        ("QUEUES", ","),
        ("NAMESPACE", "a:b"),
        ("SECRETS", "A-B"),
        ("MAX_WORKERS", "0"),
        ("MAX_REQUEST_BYTES", "large"),
        ("INLINE_ASYNC", "later"),
        ("LOG_FORMAT", "xml"),
        ("QUEUE_ENABLED", "maybe"),
        ("PRIORITY_SCALE", "5"),
    ],
)
def test_wrong_values_are_refused(tmp_path: Path, name: str, text: str) -> None:
    shown = text if len(text) <= 100 else f"{text[:99]}…"
    assert told(tmp_path, **{name: text})[0].startswith(f"{name}={shown} (from the environment) is wrong: ")


@pytest.mark.parametrize("name", ["REDIS_URL", "DATABASE_URL"])
def test_values_that_may_hold_a_password_are_not_shown(tmp_path: Path, name: str) -> None:
    (line,) = told(tmp_path, **{name: "localhost:hunter22"})
    assert line.startswith(f"{name} (from the environment) is wrong: it must be")
    assert "hunter22" not in line
    hidden = Settings(secret_key="hunter22", redis_url="redis://:hunter22@h", database_url="x://hunter22")
    assert "hunter22" not in repr(hidden)


@pytest.mark.parametrize("name", ["MAX_WORKER", "REDISURL", "max_workers", "DATABASE_URI"])
def test_a_near_miss_is_an_error_in_dotenv_and_a_warning_in_the_environment(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load({name: "x", "PATH": "/bin", "HOSTNAME": "h", "USER": "u"}, tmp_path)
    (warning,) = caplog.messages
    assert warning.startswith(f"the environment sets {name}, which is no setting: did you mean ")
    (tmp_path / ".env").write_text(f"{name}=x\nOTHER_TEAMS_KEY=y\n")
    (line,) = told(tmp_path)
    assert line.startswith(f".env sets {name}, which is no setting: did you mean ")


def test_a_near_miss_in_the_config_file_is_an_error_beside_others(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("redis: {urls: 'redis://x'}\nteam: {name: x}\nport: x\n")
    first, second = told(tmp_path, CONFIG_FILE="c.yaml")
    assert first == "c.yaml sets REDIS_URLS, which is no setting: did you mean REDIS_URL?"
    assert second.startswith("PORT=x (from c.yaml) is wrong: ")


@pytest.mark.parametrize("text", [None, "a: [", "- a", "\xff", "[" * 10_000])
def test_a_config_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "c.yaml").write_bytes(text.encode("latin-1"))
    assert told(tmp_path, CONFIG_FILE="c.yaml")[0].startswith("CONFIG_FILE=c.yaml (from the environment) ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lease_seconds: 1:30", "LEASE_SECONDS=1:30 (from c.yaml) is wrong: '1:30' is not a duration: "),
        ("log_format: on", "LOG_FORMAT=on (from c.yaml) is wrong: "),
        ("port: 1\nport: 2", "c.yaml:2:1: key 'port' stands twice in this mapping, first in line 1"),
        ("redis: {url: redis://a}\nredis_url: redis://b", "c.yaml sets REDIS_URL twice, as redis.url and as redis_url"),
        ("port: 1\nPORT: 2", "c.yaml sets PORT twice, as port and as PORT: remove one"),
        ("redis_url: redis://:hunter22@h: x", "c.yaml:1:"),
    ],
)
def test_the_config_file_is_strict_yaml(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.yaml").write_text(f"{text}\n")
    message = "\n".join(told(tmp_path, CONFIG_FILE="c.yaml"))
    assert says in message
    assert "hunter22" not in message


def test_an_empty_config_file_and_a_foreign_dotenv_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing yet\n")
    (tmp_path / ".env").write_text("export DJANGO_DEBUG=1\nNOVALUE\n")
    assert load({"CONFIG_FILE": "c.yaml"}, tmp_path) == Settings(config_file=Path("c.yaml"))


def test_a_dotenv_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    assert ".env cannot be read" in told(tmp_path)[0]


def test_settings_cannot_be_changed_and_know_no_other_names() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1
    with pytest.raises(ValidationError):
        Settings(prt=1)  # type: ignore[call-arg]


def test_the_example_names_every_setting_with_a_comment_and_its_default(tmp_path: Path) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    entries = re.findall(r"^# .+\n#([A-Z_]+)=", text, re.MULTILINE)
    assert entries == list(NAMES)
    (tmp_path / ".env").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", text, flags=re.MULTILINE), encoding="utf-8")
    assert load({}, tmp_path) == Settings()
    for name in NAMES:
        default: Any = getattr(Settings(), name.lower())
        written = re.search(rf"^#{name}=(.*)$", text, re.MULTILINE)
        assert written is not None
        assert bool(written[1]) == (default not in (None, ()))


@pytest.mark.parametrize(
    ("value", "scale", "level"),
    [
        ("low", 4, 0),
        ("normal", 4, 1),
        ("high", 10, 2),
        ("urgent", 4, 3),
        ("critical", 4, 3),
        (0, 4, 0),
        ("3", 4, 3),
        *zip(range(11), [10] * 11, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3], strict=True),
    ],
)
def test_priorities_have_four_levels(value: str | int, scale: int, level: int) -> None:
    assert priority_level(value, scale) == level


@pytest.mark.parametrize(("value", "scale"), [(4, 4), (-1, 4), (11, 10), ("", 4), ("1.0", 4), (True, 4), ("٣", 4)])
def test_other_priorities_are_refused(value: str | int, scale: int) -> None:
    with pytest.raises(ValueError, match=r"is no priority: write low, .* or a number from 0 to (3|10)"):
        priority_level(value, scale)


@pytest.mark.parametrize("value", ["x" * 10_000_000, 10**5_000, -(10**300)], ids=["text", "beyond text", "digits"])
def test_a_wrong_priority_of_any_size_makes_a_short_message(value: str | int) -> None:
    with pytest.raises(ValueError, match="is no priority: write low") as caught:
        priority_level(value)
    assert len(str(caught.value)) < 300


def test_a_misspelt_priority_gets_a_hint() -> None:
    with pytest.raises(ValueError, match=r"'hihg' is no priority \(did you mean 'high'\?\)"):
        priority_level("hihg")
