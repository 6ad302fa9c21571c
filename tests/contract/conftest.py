"""The stores under test: each contract test runs once for each of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from stepwell.ports import TaskStore
from stepwell.stores.memory import MemoryStore
from stepwell.stores.sql import SqlStore
from stepwell.stores.sql.schema import TABLES, versions

LEASE = 10.0


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """`STEPWELL_TEST_POSTGRES`, or a server of our own if there is a PostgreSQL to start; else the test is skipped."""
    if url := os.environ.get("STEPWELL_TEST_POSTGRES"):
        yield url
        return
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("no PostgreSQL: set STEPWELL_TEST_POSTGRES, or install the server")
    with tempfile.TemporaryDirectory(prefix="stepwell-pg-") as folder:
        yield from _own_server(programs, Path(folder))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., TaskStore]]:
    """Makes stores over the same data (in memory: a new one each time); `clock=None` is the store's own time."""
    opened: list[TaskStore] = []
    url = _empty_database(request, tmp_path)

    def make(clock: Callable[[], float] | None) -> TaskStore:
        store: TaskStore
        if url is not None:
            store = SqlStore(url, clock=clock, lease_seconds=LEASE, connections=10)
        else:
            store = MemoryStore(lease_seconds=LEASE) if clock is None else MemoryStore(clock, LEASE)
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make_store: Callable[..., TaskStore], clock: Clock) -> TaskStore:
    return make_store(clock)


def _empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/stepwell.db"
    url: str = request.getfixturevalue("postgres_url")
    SqlStore(url).close()  # makes the tables if they are not there
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for table in reversed(TABLES.sorted_tables):
            if table is not versions:
                connection.execute(sa.delete(table))
    engine.dispose()
    return url


def _postgres_programs() -> Path | None:
    found = shutil.which("pg_ctl")
    folders = [*([Path(found).resolve().parent] if found else []), *Path("/usr/lib/postgresql").glob("*/bin")]
    complete = [folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()]
    return complete[-1] if complete else None


def _own_server(programs: Path, folder: Path) -> Iterator[str]:
    user = "postgres" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user is not None:
        shutil.chown(folder, user)

    def run(*command: str) -> None:
        quiet = subprocess.DEVNULL
        subprocess.run([str(programs / command[0]), *command[1:]], check=True, user=user, cwd=folder, stdout=quiet)

    data = str(folder / "data")
    run("initdb", "--auth=trust", "--username=stepwell", "--encoding=UTF8", "--locale=C.UTF-8", "-D", data)
    log = str(folder / "log")
    run("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"-c listen_addresses='' -c fsync=off -k {folder}", "start")
    try:
        yield f"postgresql://stepwell@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
