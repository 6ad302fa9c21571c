"""The version of the tables, and how an older database becomes one of this version."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from stepwell.errors import SettingsError
from stepwell.stores.sql.migrations import MIGRATIONS, Migration
from stepwell.stores.sql.tables import TABLES, versions
from stepwell.stores.sql.waiting_tables import BELONGINGS

__all__ = ["BELONGINGS", "TABLES", "VERSION", "migrate", "versions"]

VERSION = 4
"""The version of these tables. Whoever changes them raises it and adds a migration to it."""

_MIGRATION_LOCK = 7_301_994_422


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
