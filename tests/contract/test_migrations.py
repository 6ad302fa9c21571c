"""A database of each older version is brought forward with its data, and ends as a new one begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from stepwell import lifecycle
from stepwell.ports import Commit, Purged, Suspension, TaskFilter
from stepwell.stores.sql import SqlStore
from stepwell.stores.sql.schema import TABLES, VERSION
from stepwell.task import Crew, NewMail, NewTask, Status

SCHEMA = "stepwell_older"
A, B, C, D, E = (letter * 64 for letter in "abcde")
"""The files of version 1: `a` to `c` were uploaded for tasks that wait, `d` and `e` kept by steps."""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty place for tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/older.db"
        return
    server: str = request.getfixturevalue("postgres_url")
    _run(server, f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{SCHEMA}"
    _run(server, f"DROP SCHEMA {SCHEMA} CASCADE")


@pytest.fixture
def open_store(url: str) -> Iterator[Callable[[int], SqlStore]]:
    """Opens the database that a version of the schema made."""
    kind = "sqlite" if url.startswith("sqlite") else "postgres"
    with ExitStack() as opened:

        def open_version(version: int) -> SqlStore:
            script = Path(__file__).parent / f"version_{version}" / f"{kind}.sql"
            _run(url, script.read_text(encoding="utf-8"))
            return opened.enter_context(closing(SqlStore(url)))

        yield open_version


def test_tasks_of_version_1_refer_to_their_files(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(1)
    assert store.unused([A, B, C, D, E, "0" * 64]) == ["0" * 64]
    assert store.purge(60) == Purged(1, [E])
    store.cancel("waits")
    store.cancel("waits-large")
    store.finish("runs", "B", Commit(), Status.COMPLETED, None, None)
    assert store.unused([A, B, C, D]) == []


def test_tasks_of_version_1_are_as_they_were(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(1)
    assert [record.status for record in store.steps("runs").items] == ["completed", "running"]
    assert store.get("waits").labels == {"team": "shop"}
    assert store.claim("waits-large", "C", "host:1")
    new = NewTask("t1", "orders", "hash-1", "steps: []", "line", 1, "{}", timeout=60, max_retries=3, files=(A,))
    assert store.create(new)[1]


def test_failed_tasks_of_version_2_are_dead_letters(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(2)
    dead = store.list(TaskFilter(dead=True)).items
    assert [task.task_id for task in dead] == ["failed-2", "failed-1"]
    assert not store.discard("failed-1").dead
    assert store.retry("failed-2", [], 1).status is Status.QUEUED
    assert store.list(TaskFilter(dead=True)).items == []
    assert {queue: numbers["dead"] for queue, numbers in store.counts().items()} == {"line": 0, "other": 0}


def test_counters_of_version_2_equal_a_recount(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(2)
    tasks = store.list(TaskFilter()).items
    recounted: dict[str, Counter[str]] = {}
    for task in tasks:
        recounted.setdefault(task.queue, Counter()).update(lifecycle.count_changes(None, task))
    kept = store.counts()
    gauges = (*Status, *lifecycle.QUEUED_BY_PRIORITY, "dead", "created_total")
    for queue, numbers in kept.items():
        assert {name: numbers[name] for name in gauges} == {name: recounted[queue][name] for name in gauges}
    assert (kept["line"]["retried_total"], kept["line"]["failed_total"]) == (1, 2)


def test_tasks_of_version_2_go_on(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(2)
    assert store.get("waits-keyed").idempotency_key == "k"
    assert [task.task_id for task in store.lose("host:1")] == ["runs"]
    assert set(store.ages()) == {"line", "other"}
    for task_id in ("waits-low", "waits-urgent", "retried"):
        assert store.claim(task_id, "C", "host:2")


def test_tasks_of_version_3_are_roots(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(3)
    tasks = store.list(TaskFilter()).items
    assert len(tasks) == 8
    assert {(task.parent, task.place, task.index, task.part, task.undoing) for task in tasks} == {
        (None, None, None, False, False)
    }
    assert [task.task_id for task in store.list(TaskFilter(dead=True)).items] == ["dead"]
    assert [task.task_id for task in store.list(TaskFilter(external_id="x")).items] == ["waits-keyed"]
    assert (store.paused(), [entry.actor for entry in store.audit().items]) == ({"stopped"}, ["ann"])


def test_tasks_of_version_3_wake_and_wait(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(3)
    assert [task.task_id for task in store.wake()] == ["backs-off", "later"]
    claim = store.claim("backs-off", "C", "host:2")
    assert claim is not None
    assert (claim.task.attempt, list(claim.mail)) == (2, [])
    assert store.suspend("backs-off", "C", Commit(), Suspension(topics=["paid"])).status is Status.WAITING
    publication, _ = store.publish("paid", "1", ["paid"])
    assert [task.task_id for task in store.rouse(publication)] == ["backs-off"]
    assert store.send("waits", NewMail("approve", "1"))[0].id == 1


def test_tasks_of_version_3_get_children(open_store: Callable[[int], SqlStore]) -> None:
    store = open_store(3)
    child = NewTask(
        "child", "orders", "hash-1", "steps: []", "line", 1, "{}", 60, 3, ancestors=("runs",), place="each", index=0
    )
    assert store.spawn("runs", "B", "each", Crew(1, 1, 0, 1), [child]).active == 1
    assert [task.task_id for task in store.list(TaskFilter(parent="runs")).items] == ["child"]
    assert store.purge(60).tasks == 3
    store.cancel("child")
    assert [mail.name for mail in store.mailbox("runs")] == [lifecycle.crew_mail("each")]


@pytest.mark.parametrize("version", range(1, VERSION))
def test_it_has_the_tables_that_a_new_one_has(
    open_store: Callable[[int], SqlStore], url: str, tmp_path: Path, version: int
) -> None:
    store = open_store(version)
    migrated = _tables(store)
    with store._db.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT version FROM schema_version").scalars().all()
    assert found == [VERSION]
    if url.startswith("sqlite"):
        url = f"sqlite:///{tmp_path}/new.db"
    else:
        _run(url, f"DROP SCHEMA {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
        store.close()
    with closing(SqlStore(url)) as fresh:
        assert _tables(fresh) == migrated


def _run(url: str, script: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    connection = engine.raw_connection()
    driver: Any = connection.driver_connection
    (driver.executescript if url.startswith("sqlite") else driver.execute)(script)
    connection.commit()
    connection.close()
    engine.dispose()


def _tables(store: SqlStore) -> dict[str, object]:
    """What the database itself tells of each table."""
    look = sa.inspect(store._db.engine)
    assert set(look.get_table_names()) == set(TABLES.tables)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in look.get_columns(name)],
            look.get_pk_constraint(name)["constrained_columns"],
            sorted((str(index["name"]), index["column_names"]) for index in look.get_indexes(name)),
        )
        for name in TABLES.tables
    }
