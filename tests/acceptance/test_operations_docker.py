"""The image and the compose file. Where there is no Docker engine, what they say is checked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.acceptance.conftest import StartServer
from tests.acceptance.serving import ROOT
from tests.programs import free_port

from stepwell.settings import NAMES, Settings
from stepwell.values import seconds

SHUTDOWN_SECONDS = Settings().shutdown_timeout

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The shipped compose file."""
    found: Compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


@pytest.mark.parametrize("service", ["api", "worker"])
def test_compose_gives_time_to_drain(compose: Compose, service: str) -> None:
    found = compose["services"][service]
    shutdown = found["environment"]["SHUTDOWN_TIMEOUT"]
    assert seconds(found["stop_grace_period"]) > seconds(shutdown) == SHUTDOWN_SECONDS


@pytest.mark.parametrize("service", ["api", "worker"])
def test_compose_sets_only_settings_and_reaches_its_redis(compose: Compose, service: str) -> None:
    found = compose["services"][service]["environment"]
    assert set(found) <= set(NAMES)
    assert (found["QUEUE_ENABLED"], found["REDIS_URL"]) == ("true", "redis://redis:6379/0")


def test_compose_demands_keys_where_others_can_call(compose: Compose) -> None:
    assert compose["services"]["api"]["environment"]["API_KEYS"].startswith("${API_KEYS:?")


def test_compose_has_a_redis_that_loses_nothing(compose: Compose) -> None:
    words = compose["services"]["redis"]["command"]
    settings = dict(zip(words[1::2], words[2::2], strict=True))
    assert settings == {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}
    assert "redis:/data" in compose["services"]["redis"]["volumes"]


def test_compose_names_only_what_it_has(compose: Compose) -> None:
    services, volumes = compose["services"], set(compose["volumes"])
    named = {volume.partition(":")[0] for one in services.values() for volume in one.get("volumes", ())}
    assert {name for name in named if not name.startswith(".")} == volumes
    assert {name for one in services.values() for name in one.get("depends_on", ())} <= set(services)
    assert (services["worker"]["deploy"]["replicas"], services["postgres"]["profiles"]) == (2, ["postgres"])


def test_docker_compose_takes_it_with_keys_only(tmp_path: Path) -> None:
    command = ["docker", "compose", "--project-directory", str(tmp_path), "--file", str(ROOT / "docker-compose.yml")]
    if subprocess.run(["sh", "-c", "docker compose version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose here")
    plain = {name: value for name, value in os.environ.items() if name not in NAMES}
    for keys, code in ((None, False), ("ci:viewer:sha256=" + "0" * 64, True)):
        given = plain if keys is None else {**plain, "API_KEYS": keys}
        done = subprocess.run([*command, "config", "--quiet"], env=given, capture_output=True, check=False)
        assert (done.returncode == 0) is code, done.stderr


def docker_lines() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with its words."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def test_the_image_runs_as_a_user_and_hands_signals_on() -> None:
    last = dict(docker_lines())
    assert last["USER"] == "stepwell"
    assert (json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"])) == (["tini", "--"], ["python", "run.py"])
    assert last["STOPSIGNAL"] == "SIGTERM"


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.M)
    copied = [words.split()[:-1] for word, words in docker_lines() if word == "COPY" and not words.startswith("--")]
    for name in (name for words in copied for name in words):
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, pattern) for pattern in allowed), name


def test_the_image_is_healthy_while_the_api_answers(server: StartServer) -> None:
    check = json.loads(dict(docker_lines())["HEALTHCHECK"].partition("CMD ")[2])
    one = server()
    ports = [one.client.base_url.port, free_port()]
    codes = [
        subprocess.run(
            [sys.executable, *check[1:]], env={"PORT": str(port)}, capture_output=True, check=False
        ).returncode
        for port in ports
    ]
    assert codes == [0, 1]
