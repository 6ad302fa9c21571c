"""The tables of the SQL store: tasks with what belongs to them, and the ledger."""

from __future__ import annotations

import sqlalchemy as sa

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # sorts by code point, as SQLite and Python do
TABLES = sa.MetaData()
"""All tables of the store."""


def partial(name: str, *columns: str, where: str) -> sa.Index:
    """An index over a part of the rows."""
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


versions = sa.Table("schema_version", TABLES, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))

definitions = sa.Table(
    "definitions",
    TABLES,
    sa.Column("definition", TEXT, primary_key=True),
    sa.Column("text", TEXT, nullable=False),
)

tasks = sa.Table(
    "tasks",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("workflow_id", TEXT, nullable=False),
    sa.Column("definition", TEXT, sa.ForeignKey(definitions.c.definition), nullable=False),
    sa.Column("status", TEXT, nullable=False),
    sa.Column("queue", TEXT, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("variables", TEXT),
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
    sa.Column("worker", TEXT),
    sa.Column("outputs", TEXT),
    sa.Column("outputs_size", sa.Integer, comment="bytes, if they are stored apart"),
    sa.Column("error", TEXT),
    sa.Column("progress", TEXT),
    sa.Column("external_id", TEXT),
    sa.Column("idempotency_key", TEXT, unique=True),
    sa.Column("labels", TEXT, nullable=False),
    sa.Column("trigger", TEXT, nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("token", TEXT, comment="of the claim that holds now"),
    sa.Column("released", TEXT, comment="call:token that ended the last claim, so that a repeat is known"),
    sa.Column("claimed_at", sa.Double),
    sa.Column("last_event", sa.Integer, nullable=False),
    sa.Column("dead", sa.Integer, nullable=False, server_default="0", comment="in the dead letters of its queue"),
    sa.Column("fingerprint", TEXT),
    sa.Column("ancestors", TEXT, comment="the ids, root first, as a JSON array; of a child only, as are those below"),
    sa.Column("root", TEXT),
    sa.Column("parent", TEXT),
    sa.Column("place", TEXT),
    sa.Column("index", sa.Integer),
    sa.Column("part", sa.Integer, nullable=False, server_default="0"),
    sa.Column("undoing", sa.Integer, nullable=False, server_default="0"),
    sa.Column("last_mail", sa.Integer, nullable=False, server_default="0"),
    sa.Index("tasks_by_definition", "definition"),
    partial("tasks_asleep", "due", "task_id", where="status IN ('pending', 'waiting')"),
    partial("tasks_by_external_id", "external_id", "task_id", where="parent IS NULL"),
    partial("tasks_by_queue", "queue", "task_id", where="parent IS NULL"),
    partial("tasks_by_root", "root", "task_id", where="root IS NOT NULL"),
    partial("tasks_by_status", "status", "task_id", where="parent IS NULL"),
    partial("tasks_by_workflow", "workflow_id", "task_id", where="parent IS NULL"),
    partial("tasks_children", "parent", "place", "index", "task_id", where="parent IS NOT NULL"),
    partial("tasks_dead", "task_id", where="dead = 1"),
    partial("tasks_dead_by_queue", "queue", "task_id", where="dead = 1"),
    partial("tasks_ended", "completed_at", "task_id", where="parent IS NULL AND completed_at IS NOT NULL"),
    partial("tasks_held", "parent", "place", "index", where="status = 'pending' AND parent IS NOT NULL"),
    partial("tasks_queued", "queue", "due", where="status = 'queued'"),
    partial("tasks_queued_by_due", "due", "task_id", where="status = 'queued'"),
    partial("tasks_roots", "task_id", where="parent IS NULL"),
    partial("tasks_running", "due", "task_id", where="status = 'running'"),
)

labels = sa.Table(
    "labels",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("value", TEXT, nullable=False),
    sa.Index("labels_by_value", "name", "value", "task_id"),
    sqlite_with_rowid=False,
)

steps = sa.Table(
    "steps",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("path", TEXT, primary_key=True),
    sa.Column("position", TEXT, nullable=False),
    sa.Column("status", TEXT, nullable=False),
    sa.Column("record", TEXT, nullable=False, comment="the other fields, as JSON"),
    sa.Column("output", TEXT),
    sa.Column("output_size", sa.Integer, comment="bytes, if it is stored apart"),
    sa.Index("steps_by_position", "task_id", "position", "path"),
)

large_values = sa.Table(
    "large_values",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("key", TEXT, primary_key=True),
    sa.Column("text", TEXT, nullable=False),
)

events = sa.Table(
    "events",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("path", TEXT),
    sa.Column("data", TEXT, nullable=False),
    sqlite_with_rowid=False,
)

file_uses = sa.Table(
    "file_uses",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("sha256", TEXT, primary_key=True, comment="of a file in its variables, or one that a step kept"),
    sa.Index("file_uses_by_sha256", "sha256"),
    sqlite_with_rowid=False,
)

counters = sa.Table(
    "counters",
    TABLES,
    sa.Column("queue", TEXT, primary_key=True),
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False, comment="spreads the locks of writers"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

endings = sa.Table(
    "endings",
    TABLES,
    sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False, comment="of the end, since 1970"),
    sa.Column("queue", TEXT, primary_key=True),
    sa.Column("status", TEXT, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False, comment="as in counters"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

paused_queues = sa.Table("paused_queues", TABLES, sa.Column("queue", TEXT, primary_key=True))

spending = sa.Table(
    "spending",
    TABLES,
    sa.Column("account", TEXT, primary_key=True),
    sa.Column("period", sa.Double, primary_key=True, comment="its length in seconds"),
    sa.Column("begun", sa.Double, nullable=False, comment="the period that `spent` counts for"),
    sa.Column("spent", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

audit = sa.Table(
    "audit",
    TABLES,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("entry", TEXT, nullable=False, comment="as JSON"),
)
