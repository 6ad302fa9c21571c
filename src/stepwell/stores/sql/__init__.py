"""A task store in SQLite or PostgreSQL."""

from stepwell.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
