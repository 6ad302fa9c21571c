"""The tables of the SQL store for tasks that wait: their mail, their children, and what was published."""

from __future__ import annotations

import sqlalchemy as sa

from stepwell.stores.sql.tables import TABLES, TEXT, events, labels, large_values, partial, steps

mail = sa.Table(
    "mail",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("payload", TEXT, nullable=False),
    sa.Column("sent_at", sa.Double, nullable=False),
    sa.Column("sender", TEXT),
    sa.Column("key", TEXT),
    sa.Index("mail_by_name", "task_id", "name", "id"),
    partial("mail_by_key", "task_id", "key", where='"key" IS NOT NULL'),
)

crews = sa.Table(
    "crews",
    TABLES,
    sa.Column("task_id", TEXT, primary_key=True, comment="of the parent, whose row is locked by whoever changes this"),
    sa.Column("path", TEXT, primary_key=True),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("at_once", sa.Integer, nullable=False),
    sa.Column("allowed", sa.Integer, nullable=False),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("active", sa.Integer, nullable=False),
    sa.Column("completed", sa.Integer, nullable=False),
    sa.Column("failed", sa.Integer, nullable=False),
    sa.Column("closed", sa.Integer, nullable=False),
    sa.Column("told", sa.Integer, nullable=False, comment="the last round of which the parent knows that it is over"),
)

publications = sa.Table(
    "publications",
    TABLES,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("payload", TEXT, nullable=False),
    sa.Column("published_at", sa.Double, nullable=False),
    sa.Column("topics", TEXT, nullable=False, comment="as a JSON array"),
    sa.Column("sender", TEXT),
    sa.Column("key", TEXT, unique=True),
    sa.Index("publications_by_time", "published_at"),
    sqlite_autoincrement=True,  # the number of one that is gone must not be given again
)

publication_topics = sa.Table(
    "publication_topics",
    TABLES,
    sa.Column("topic", TEXT, primary_key=True, comment="as in listens"),
    sa.Column("publication", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("published_at", sa.Double, nullable=False),
    sa.Index("publication_topics_by_time", "topic", "published_at", "publication"),
    sqlite_with_rowid=False,
)

listens = sa.Table(
    "listens",
    TABLES,
    sa.Column("topic", TEXT, primary_key=True, comment="its sha256, as topics may be long, and hold a NUL"),
    sa.Column("task_id", TEXT, primary_key=True),
    sa.Column("name", TEXT, nullable=False, comment="of what is published"),
    sa.Column("position", sa.BigInteger, nullable=False, comment="up to which publication the task has read the topic"),
    sa.Index("listens_by_position", "topic", "position"),
    sa.Index("listens_by_task", "task_id"),
    sqlite_with_rowid=False,
)

publication_counters = sa.Table(
    "publication_counters",
    TABLES,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("counter", TEXT, primary_key=True),
    sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False, comment="as in counters"),
    sa.Column("number", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

consumer_groups = sa.Table(
    "consumer_groups",
    TABLES,
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False, comment="of the last publication that a consumer got"),
)

deliveries = sa.Table(
    "deliveries",
    TABLES,
    sa.Column("consumer_group", TEXT, primary_key=True),
    sa.Column("publication", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("consumer", TEXT, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)

BELONGINGS = (labels, steps, large_values, events, mail, crews, listens)
"""The tables whose rows go with their task."""
