"""The tables of the SQL store, and how an older database becomes one of this version."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from stepwell.errors import SettingsError
from stepwell.stores.sql.migrations import MIGRATIONS, Migration

VERSION = 3
"""The version of these tables. Whoever changes them raises it and adds a migration to it."""

_MIGRATION_LOCK = 7_301_994_422
_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # sorts by code point, as SQLite and Python do
TABLES = sa.MetaData()


def _partial(name: str, *columns: str, where: str) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


versions = sa.Table("schema_version", TABLES, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))

definitions = sa.Table(
    "definitions",
    TABLES,
    sa.Column("definition", _TEXT, primary_key=True),
    sa.Column("text", _TEXT, nullable=False),
)

tasks = sa.Table(
    "tasks",
    TABLES,
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("workflow_id", _TEXT, nullable=False),
    sa.Column("definition", _TEXT, sa.ForeignKey(definitions.c.definition), nullable=False),
    sa.Column("status", _TEXT, nullable=False),
    sa.Column("queue", _TEXT, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("variables", _TEXT),
    sa.Column("variables_size", sa.Integer, comment="bytes, if they are stored apart"),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("timeout", sa.Double, nullable=False),
    sa.Column("max_retries", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("completed_at", sa.Double),
    sa.Column(
        "due", sa.Double, comment="queued: since when; running: end of the lease; asleep: wakes; ended: when it ended"
    ),
    sa.Column("ran_for", sa.Double, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("retry_count", sa.Integer, nullable=False),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("undo", sa.Integer, nullable=False),
    sa.Column("cancel_requested", sa.Integer, nullable=False),
    sa.Column("worker", _TEXT),
    sa.Column("outputs", _TEXT),
    sa.Column("outputs_size", sa.Integer, comment="bytes, if they are stored apart"),
    sa.Column("error", _TEXT),
    sa.Column("progress", _TEXT),
    sa.Column("external_id", _TEXT),
    sa.Column("idempotency_key", _TEXT, unique=True),
    sa.Column("labels", _TEXT, nullable=False),
    sa.Column("trigger", _TEXT, nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("token", _TEXT, comment="of the claim that holds now"),
    sa.Column("released", _TEXT, comment="call:token that ended the last claim, so that a repeat is known"),
    sa.Column("claimed_at", sa.Double),
    sa.Column("last_event", sa.Integer, nullable=False),
    sa.Column("dead", sa.Integer, nullable=False, server_default="0", comment="in the dead letters of its queue"),
    sa.Column("fingerprint", _TEXT),
    sa.Index("tasks_by_due", "status", "due"),
    _partial("tasks_queued", "queue", "due", where="status = 'queued'"),
    _partial("tasks_dead", "task_id", where="dead = 1"),
    _partial("tasks_dead_by_queue", "queue", "task_id", where="dead = 1"),
    sa.Index("tasks_by_status", "status", "task_id"),
    sa.Index("tasks_by_workflow", "workflow_id", "task_id"),
    sa.Index("tasks_by_queue", "queue", "task_id"),
    sa.Index("tasks_by_external_id", "external_id", "task_id"),
    sa.Index("tasks_by_definition", "definition"),
)

labels = sa.Table(
    "labels",
    TABLES,
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("value", _TEXT, nullable=False),
    sa.Index("labels_by_value", "name", "value", "task_id"),
    sqlite_with_rowid=False,
)

steps = sa.Table(
    "steps",
    TABLES,
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("path", _TEXT, primary_key=True),
    sa.Column("position", _TEXT, nullable=False),
    sa.Column("status", _TEXT, nullable=False),
    sa.Column("record", _TEXT, nullable=False, comment="the other fields, as JSON"),
    sa.Column("output", _TEXT),
    sa.Column("output_size", sa.Integer, comment="bytes, if it is stored apart"),
    sa.Index("steps_by_position", "task_id", "position", "path"),
)

large_values = sa.Table(
    "large_values",
    TABLES,
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("key", _TEXT, primary_key=True),
    sa.Column("text", _TEXT, nullable=False),
)

events = sa.Table(
    "events",
    TABLES,
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", _TEXT, nullable=False),
    sa.Column("path", _TEXT),
    sa.Column("data", _TEXT, nullable=False),
    sqlite_with_rowid=False,
)

file_uses = sa.Table(
    "file_uses",
    TABLES,
    sa.Column("task_id", _TEXT, primary_key=True),
    sa.Column("sha256", _TEXT, primary_key=True, comment="of a file in its variables, or one that a step kept"),
    sa.Index("file_uses_by_sha256", "sha256"),
    sqlite_with_rowid=False,
)

counters = sa.Table(
    "counters",
    TABLES,
    sa.Column("queue", _TEXT, primary_key=True),
    sa.Column("name", _TEXT, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False, comment="spreads the locks of writers"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

endings = sa.Table(
    "endings",
    TABLES,
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False, comment="of the end, since 1970"),
    sa.Column("queue", _TEXT, primary_key=True),
    sa.Column("status", _TEXT, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False, comment="as in counters"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

paused_queues = sa.Table("paused_queues", TABLES, sa.Column("queue", _TEXT, primary_key=True))

spending = sa.Table(
    "spending",
    TABLES,
    sa.Column("account", _TEXT, primary_key=True),
    sa.Column("period", sa.Double, primary_key=True, comment="its length in seconds"),
    sa.Column("begun", sa.Double, nullable=False, comment="the period that `spent` counts for"),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

audit = sa.Table(
    "audit",
    TABLES,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("entry", _TEXT, nullable=False, comment="as JSON"),
)

BELONGINGS = (labels, steps, large_values, events)
"""The tables whose rows go with their task."""


def migrate(
    connection: sa.Connection, version: int = VERSION, migrations: Mapping[int, Migration] = MIGRATIONS
) -> None:
    """Bring the database to this version, in one transaction; processes that start at once take turns.

    Raises `SettingsError` if a newer Stepwell has changed it already.
    """
    if _known_version(connection, version) == version:
        return
    _begin(connection)
    found = _known_version(connection, version)
    if found is None:
        _create(connection)
    for step in range(version if found is None else found, version):
        migrations[step + 1](connection)
    connection.execute(sa.delete(versions))
    connection.execute(sa.insert(versions).values(version=version))
    connection.commit()


def _create(connection: sa.Connection) -> None:
    """All tables, and their indices always in the same order, those over a part of the rows last: where SQLite finds
    two equally good it takes the younger one."""
    for table in TABLES.sorted_tables:
        connection.execute(sa.schema.CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: (_is_partial(index), str(index.name))):
            connection.execute(sa.schema.CreateIndex(index))


def _is_partial(index: sa.Index) -> bool:
    return index.dialect_options["sqlite"]["where"] is not None


def _begin(connection: sa.Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")


def _known_version(connection: sa.Connection, newest: int) -> int | None:
    if not sa.inspect(connection).has_table(versions.name):
        return None
    found: int = connection.execute(sa.select(versions.c.version)).scalar_one()
    if found > newest:
        raise SettingsError(
            f"the database {connection.engine.url!r} has schema version {found}, but this Stepwell knows only"
            f" {newest}: install the newer release, or set DATABASE_URL to another database"
        )
    return found
