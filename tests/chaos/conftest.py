"""Fixtures of the chaos tests: a seed for each run, and a Redis that forgets nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.servers import RedisServer

SEEDS = int(os.environ.get("STEPWELL_CHAOS_SEEDS", "1"))
"""With how many seeds each test runs that has one; `-k seed7` runs the seventh again."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(1, SEEDS + 1), ids=lambda number: f"seed{number}")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", appendfsync="always") as server:
        yield server
