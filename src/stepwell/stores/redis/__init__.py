"""A task store in Redis."""

from stepwell.stores.redis.scripts import SILENT
from stepwell.stores.redis.store import RedisStore

__all__ = ["SILENT", "RedisStore"]
