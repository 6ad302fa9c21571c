"""What only a database can do: schema versions, other processes, full disks, lost connections."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest
import sqlalchemy as sa

from stepwell.errors import SettingsError, Unavailable
from stepwell.ports import Commit, Suspension, TaskFilter
from stepwell.stores import records
from stepwell.stores.sql import SqlStore, database, schema
from stepwell.stores.sql.listing import listing
from stepwell.stores.sql.migrations import MIGRATIONS, Migration
from stepwell.task import FORMAT, AuditEntry, NewMail, NewTask, Status, StepRecord, StepStatus, Task

NEW = NewTask("t1", "orders", "hash-1", "steps: []", "line", 1, "{}", timeout=60, max_retries=3)
STEP = StepRecord("load", "0001", StepStatus.COMPLETED, "call", output="1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "stepwell.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[[], SqlStore]]:
    opened: list[SqlStore] = []

    def open_one() -> SqlStore:
        opened.append(SqlStore(f"sqlite:///{path}"))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def _change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement)
    connection.close()


def _runs(*statements: str) -> Migration:
    def migrate(connection: sa.Connection) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    return migrate


def test_what_is_written_is_there_after_a_restart(open_store: Callable[[], SqlStore]) -> None:
    store = open_store()
    store.create(NEW)
    store.claim("t1", "A", "w")
    store.commit("t1", "A", Commit(steps=[STEP]))
    store.close()
    again = open_store()
    assert list(again.steps("t1").items) == [STEP]
    assert again.finish("t1", "A", Commit(), Status.COMPLETED, None, None).status is Status.COMPLETED


def test_sqlite_is_durable_and_checks_references(open_store: Callable[[], SqlStore]) -> None:
    store = open_store()
    with store._db.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "foreign_keys")
        }
        assert found == {"synchronous": 2, "foreign_keys": 1}
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_an_older_database_is_brought_forward_with_its_data(open_store: Callable[[], SqlStore], path: Path) -> None:
    open_store().create(NEW)
    migrations = {
        schema.VERSION + 1: _runs("ALTER TABLE tasks ADD COLUMN note TEXT NOT NULL DEFAULT 'old'"),
        schema.VERSION + 2: _runs("CREATE INDEX tasks_by_note ON tasks (note)", "UPDATE tasks SET note = note || '!'"),
    }
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        schema.migrate(connection, schema.VERSION + 2, migrations)
        schema.migrate(connection, schema.VERSION + 2, migrations)
        assert connection.exec_driver_sql("SELECT task_id, note FROM tasks").all() == [("t1", "old!")]
        assert connection.exec_driver_sql("SELECT version FROM schema_version").all() == [(schema.VERSION + 2,)]
    engine.dispose()


def test_a_migration_that_fails_leaves_everything_as_it_was(open_store: Callable[[], SqlStore], path: Path) -> None:
    store = open_store()
    store.create(NEW)
    newer = schema.VERSION + 1
    broken = {newer: _runs("ALTER TABLE tasks ADD COLUMN note TEXT", "SELECT nonsense")}
    with store._db.engine.connect() as connection, pytest.raises(sa.exc.OperationalError):
        schema.migrate(connection, newer, broken)
    assert open_store().get("t1").status is Status.QUEUED


def test_a_database_of_a_newer_release_is_refused(open_store: Callable[[], SqlStore], path: Path) -> None:
    open_store()
    _change(path, "UPDATE schema_version SET version = 99")
    with pytest.raises(SettingsError, match=r"schema version 99.*install the newer release"):
        open_store()


def test_every_version_has_its_migration() -> None:
    assert sorted(MIGRATIONS) == list(range(2, schema.VERSION + 1))


def test_a_task_of_a_newer_format_is_left_to_newer_workers(open_store: Callable[[], SqlStore], path: Path) -> None:
    store = open_store()
    store.create(NEW)
    _change(path, f"UPDATE tasks SET format = {FORMAT + 1}")
    assert store.claim("t1", "A", "w") is None
    assert store.get("t1").status is Status.QUEUED


def test_threads_that_open_a_new_database_at_once_agree(open_store: Callable[[], SqlStore]) -> None:
    begin, stores = threading.Barrier(6), []

    def work() -> None:
        begin.wait()
        stores.append(open_store())

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores) == 6
    assert stores[0].create(NEW)[1]
    assert not stores[5].create(NEW)[1]


WRITER = """
import sys
from stepwell.ports import Commit, Suspension, TaskFilter
from stepwell.stores import records
from stepwell.stores.sql import SqlStore
from stepwell.task import NewTask, Status
store = SqlStore(sys.argv[1])
for number in range(40):
    id_ = f"{sys.argv[2]}-{number}"
    store.create(NewTask(id_, "w", "h", "text", "line", 1, "{}", timeout=60, max_retries=0))
    assert store.claim(id_, "A", "w")
    store.finish(id_, "A", Commit(), Status.COMPLETED, None, None)
"""


def test_processes_write_side_by_side(open_store: Callable[[], SqlStore], path: Path) -> None:
    command = [sys.executable, "-c", WRITER, f"sqlite:///{path}"]
    writers = [subprocess.Popen([*command, str(number)]) for number in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    counts = open_store().counts()["line"]
    assert (counts["completed"], counts["completed_total"], counts["queued"]) == (120, 120, 0)


def test_a_locked_database_is_waited_for_and_then_unavailable(
    open_store: Callable[[], SqlStore], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pragmas = tuple(pragma for pragma in database._PRAGMAS if "busy_timeout" not in pragma)
    monkeypatch.setattr(database, "_PRAGMAS", (*pragmas, "busy_timeout=0"))
    store = open_store()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        store.create(NEW)
    other.execute("ROLLBACK")
    other.close()
    assert store.create(NEW)[1]


def test_a_full_disk_is_unavailable_and_loses_nothing(open_store: Callable[[], SqlStore]) -> None:
    store = open_store()
    store.create(NEW)
    store.claim("t1", "A", "w")
    with store._db.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        large = replace(STEP, output='"' + "x" * 60_000 + '"')
    with pytest.raises(Unavailable, match="full"):
        store.commit("t1", "A", Commit(steps=[large]))
    assert list(store.steps("t1").items) == []
    with store._db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    store.commit("t1", "A", Commit(steps=[large]))
    assert list(store.steps("t1").items) == [large]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "no URL"),
        ("mysql://x/y", "mysql"),
        ("sqlite://", "without a file"),
        ("sqlite:///:memory:", "without a file"),
    ],
)
def test_a_wrong_url_is_a_wrong_setting(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SqlStore(url)


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, but a text that is long enough to be looked at" * 20)
    with pytest.raises(Unavailable, match="not a database"):
        SqlStore(f"sqlite:///{tmp_path}/text")


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file"):
        SqlStore(f"sqlite:///{tmp_path}/file/stepwell.db")


def test_a_server_that_is_not_there_is_unavailable_and_keeps_the_password(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be used") as caught:
        SqlStore(f"postgresql://me:secret@/x?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_connections_that_the_server_closed_are_replaced(postgres_url: str) -> None:
    kill = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    with closing(SqlStore(postgres_url)) as store, closing(SqlStore(postgres_url)) as other:
        store.ping()
        other._db.read(lambda session: session.rows(kill, {}))
        store.ping()
        other._db.read(lambda session: session.rows(kill, {}))
        assert isinstance(store.reap(), list)


def test_the_newest_entries_of_the_audit_log_are_kept(
    open_store: Callable[[], SqlStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "AUDIT_KEPT", 3)
    store = open_store()
    for number in range(5):
        store.note(AuditEntry("ann", "admin", "task.cancel", f"t{number}", 202))
    assert [entry.target for entry in store.audit().items] == ["t4", "t3", "t2"]


def test_periods_that_are_over_leave_no_rows(path: Path) -> None:
    time = [1_700_000_000.0]
    with closing(SqlStore(f"sqlite:///{path}", clock=lambda: time[0])) as store:
        store.create(NEW)
        store.cancel("t1")
        store.spend("ann", 1, 1, 60)
        time[0] += 3600
        store.reap()
        left = "SELECT (SELECT count(*) FROM endings) + (SELECT count(*) FROM spending)"
        assert store._db.read(lambda session: session.rows(left, {})) == [(0,)]


@pytest.mark.parametrize("statement", ["oldest", "pace", "waiting", "counts"])
def test_statistics_scan_no_tasks(open_store: Callable[[], SqlStore], statement: str) -> None:
    store = open_store()
    text = getattr(store._sql.ledger, statement)
    params = {"queue": "line", "first": 0, "this": 5}
    plan = [row[3] for row in store._db.read(lambda session: session.rows(f"EXPLAIN QUERY PLAN {text}", params))]
    assert not [line for line in plan if line.startswith("SCAN tasks")]
    assert statement != "oldest" or any("tasks_queued" in line for line in plan)


@pytest.mark.parametrize(("queue", "index"), [(None, "tasks_dead"), ("line", "tasks_dead_by_queue")])
def test_dead_letters_have_an_index(open_store: Callable[[], SqlStore], queue: str | None, index: str) -> None:
    store = open_store()
    statement, params = listing(TaskFilter(dead=True, queue=queue), None)
    text = f"EXPLAIN QUERY PLAN {store._sql.text(statement)}"
    found = store._db.read(lambda session: session.rows(text, {**params, "limit": 5}))
    assert any(f"INDEX {index} " in f"{row[3]} " for row in found)


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("lock_due", "tasks_asleep"),
        ("next_due", "tasks_asleep"),
        ("lock_lost", "tasks_running"),
        ("queued", "tasks_queued_by_due"),
        ("queued_in_line", "tasks_queued"),
        ("lock_ended_roots", "tasks_ended"),
        ("waiting.lock_held", "tasks_held"),
        ("waiting.lock_crew", "tasks_children"),
        ("waiting.lock_of_roots", "tasks_by_root"),
        ("waiting.find_key", "mail_by_key"),
        ("waiting.first_named", "mail_by_name"),
        ("waiting.drop_listens", "listens_by_task"),
        ("publishing.listening", "listens_by_position"),
        ("publishing.first_since", "publication_topics_by_time"),
        ("publishing.drop_old", "publications_by_time"),
    ],
)
def test_what_waits_is_found_by_an_index(open_store: Callable[[], SqlStore], statement: str, index: str) -> None:
    assert any(
        f"INDEX {index} " in f"{line} " for line in _plan(open_store(), attrgetter(statement)(open_store()._sql))
    )


@pytest.mark.parametrize("statement", ["with_topic", "has_topic"])
def test_of_publications_only_those_with_the_topic_are_read(open_store: Callable[[], SqlStore], statement: str) -> None:
    store = open_store()
    plan = _plan(store, getattr(store._sql.publishing, statement))
    assert "SEARCH publication_topics USING PRIMARY KEY (topic=? AND publication>?)" in plan
    assert not any(line.startswith("SCAN publication") for line in plan)


def test_the_topics_of_a_publication_go_with_it(open_store: Callable[[], SqlStore], path: Path) -> None:
    store = open_store()
    store.publish("paid", "1", ["paid", "paid\0order\x001"])
    _change(path, "UPDATE publications SET published_at = 0")
    store.publish("paid", "2", ["paid"])
    store.purge(60)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM publication_topics").fetchone() == (1,)


@pytest.mark.parametrize(
    ("only", "index"),
    [
        (TaskFilter(), "tasks_roots"),
        (TaskFilter(status=Status.COMPLETED), "tasks_by_status"),
        (TaskFilter(queue="line"), "tasks_by_queue"),
        (TaskFilter(workflow_id="orders"), "tasks_by_workflow"),
        (TaskFilter(external_id="x"), "tasks_by_external_id"),
        (TaskFilter(parent="t1"), "tasks_children"),
        (TaskFilter(parent="t1", place="each"), "tasks_children"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_pages_are_read_in_order_of_an_index(
    open_store: Callable[[], SqlStore], only: TaskFilter, index: str, is_first: bool
) -> None:
    store = open_store()
    parts = ("t1",) if only.parent is None else ("each", "1", "t1")
    statement, params = listing(only, None if is_first else records.encode_cursor(*parts))
    plan = _plan(store, store._sql.text(statement), **params)
    assert any(f"INDEX {index} " in f"{line} " for line in plan)
    assert not any("TEMP B-TREE" in line for line in plan)


def _plan(store: SqlStore, statement: str, **params: object) -> list[str]:
    """How SQLite would go about a statement."""
    names = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
    values = {**names, "ids": "[]", **params}
    return [row[3] for row in store._db.read(lambda session: session.rows(f"EXPLAIN QUERY PLAN {statement}", values))]


def test_the_number_of_a_publication_is_never_given_again(open_store: Callable[[], SqlStore], path: Path) -> None:
    store = open_store()
    first, _ = store.publish("paid", "1", ["paid"])
    _change(path, "UPDATE publications SET published_at = 0")
    store.purge(60)
    second, _ = store.publish("paid", "2", ["paid"])
    assert int(second.id) > int(first.id)
    assert list(store.published("paid", after=first.id).items) == [second]


def test_a_bell_that_cannot_be_rung_is_logged_and_the_write_stays(
    open_store: Callable[[], SqlStore], caplog: pytest.LogCaptureFixture
) -> None:
    def ring(task: Task) -> None:
        raise Unavailable(f"no bell for {task.task_id}")

    store = open_store()
    store.rings_with(ring)
    store.create(NEW)
    store.claim("t1", "A", "w")
    store.suspend("t1", "A", Commit(), Suspension())
    assert store.send("t1", NewMail("approve", "1"))[1]
    assert "task t1 may be lost" in caplog.text
    assert store.get("t1").status is Status.QUEUED


def test_who_asks_for_publications_in_vain_waits_for_no_writer(open_store: Callable[[], SqlStore], path: Path) -> None:
    store = open_store()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.undelivered("waits", "a") == []
    other.execute("ROLLBACK")
    other.close()
