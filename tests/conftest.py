"""What all tests share: how hypothesis runs, and the servers that many tests use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests import servers
from tests.faults import clock

# No deadlines: machines are shared. The same examples each time: a red test shall be red again.
settings.register_profile(
    "stepwell", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("stepwell")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL for all tests of this process; each empties the tables that it uses."""
    with servers.postgres_url() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RedisServer]:
    """A Redis that keeps nothing, for all tests of this process; each flushes it before use and leaves it running."""
    with servers.RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def tshift_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared object that moves clocks."""
    return clock.build_library(tmp_path_factory.mktemp("tshift"))


@pytest.fixture
def shifted_clock(tshift_library: Path, tmp_path: Path) -> clock.ShiftedClock:
    """A clock for the programs that this test starts."""
    return clock.ShiftedClock(tshift_library, tmp_path / "clock-shift")
