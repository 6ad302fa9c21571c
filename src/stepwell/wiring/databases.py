"""Where records are kept, if not in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.settings import Settings

if TYPE_CHECKING:
    from stepwell.stores.sql import SqlStore


def has_own_database(settings: Settings) -> bool:
    """Whether records are kept in the database of `DATABASE_URL` although there is a queue."""
    return "database_url" in settings.model_fields_set


def open_database(settings: Settings) -> SqlStore:
    """The store in the database of the settings, or this host's SQLite."""
    from stepwell.stores.sql import SqlStore  # 16 MB that a worker with its records in Redis does without

    return SqlStore(settings.database_url, lease_seconds=settings.lease_seconds)
