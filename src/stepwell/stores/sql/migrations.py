"""How a database of an older version becomes one of the next; each migration is as its release had it, for ever."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import sqlalchemy as sa

Migration = Callable[[sa.Connection], None]

_SHA256 = re.compile(r'"sha256"\s*:\s*"([0-9a-f]{64})"')
_CHUNK = 1000

_TEXTS_WITH_FILES = """
SELECT task_id, record FROM steps WHERE record LIKE '%"sha256"%'
UNION ALL SELECT task_id, variables FROM tasks WHERE variables LIKE '%"sha256"%'
UNION ALL SELECT task_id, text FROM large_values WHERE key = 'variables' AND text LIKE '%"sha256"%'
"""


def _to_version_2(connection: sa.Connection) -> None:
    """Note which files the tasks refer to: those that their steps kept, and those in their variables.

    Any object with a `sha256` is taken for a file. That may note too much, which only keeps a file for longer, and
    it reads texts that a database's own JSON functions refuse.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    text, options = ("TEXT", "WITHOUT ROWID") if is_sqlite else ('TEXT COLLATE "C"', "")
    columns = f"task_id {text} NOT NULL, sha256 {text} NOT NULL, PRIMARY KEY (task_id, sha256)"
    connection.exec_driver_sql(f"CREATE TABLE file_uses ({columns}) {options}")
    insert = sa.text("INSERT INTO file_uses (task_id, sha256) VALUES (:task_id, :sha256) ON CONFLICT DO NOTHING")
    for uses in _file_uses(connection):
        connection.execute(insert, uses)
    connection.exec_driver_sql("CREATE INDEX file_uses_by_sha256 ON file_uses (sha256)")


def _file_uses(connection: sa.Connection) -> Iterator[list[dict[str, str]]]:
    found = connection.execute(sa.text(_TEXTS_WITH_FILES), execution_options={"yield_per": _CHUNK})
    for rows in found.partitions():
        uses = {(task_id, sha256) for task_id, text in rows for sha256 in _SHA256.findall(text)}
        if uses:
            yield [{"task_id": task_id, "sha256": sha256} for task_id, sha256 in sorted(uses)]


MIGRATIONS: Mapping[int, Migration] = {2: _to_version_2}
"""Version → what leads to it from the version before, in a transaction. New databases are made by `TABLES` alone."""
