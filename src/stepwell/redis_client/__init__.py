"""One Redis: Lua scripts, errors told apart by what they mean, Sentinel, and a breaker for those who must not wait."""

from stepwell.redis_client.breaker import RedisState
from stepwell.redis_client.client import RedisClient
from stepwell.redis_client.links import Argument
from stepwell.redis_client.script import Script

__all__ = ["Argument", "RedisClient", "RedisState", "Script"]
