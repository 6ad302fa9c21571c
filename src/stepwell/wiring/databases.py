"""Where records are kept, if not in Redis."""

from __future__ import annotations

from stepwell.settings import Settings
from stepwell.stores.sql import SqlStore


def has_own_database(settings: Settings) -> bool:
    """Whether records are kept in the database of `DATABASE_URL` although there is a queue."""
    return "database_url" in settings.model_fields_set


def open_database(settings: Settings) -> SqlStore:
    """The store in the database of the settings, or this host's SQLite."""
    return SqlStore(settings.database_url, lease_seconds=settings.lease_seconds)
