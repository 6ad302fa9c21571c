"""From the settings to connections: URL, Sentinels, time limits."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool, parse_url
from redis.exceptions import RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from stepwell.errors import SettingsError
from stepwell.redis_client.links import Link

SENTINEL_PORT = 26379

_parse_url: Callable[[str], dict[str, Any]] = parse_url
_Sentinel: Any = Sentinel
"""The redis library leaves these two without types."""

KEEPALIVE = {
    getattr(socket, name): seconds
    for name, seconds in {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}.items()
    if hasattr(socket, name)
}


def pool(
    url: str, sentinels: Sequence[str], master: str | None, patience: float, connect: float, connections: int
) -> ConnectionPool:
    """A pool of the redis library, not connected yet. Raises `SettingsError` for what cannot be understood."""
    options = _options(url, patience, connect)
    try:
        made = _sentinel_pool(options, sentinels, master, connections) if sentinels else _pool(options, connections)
        maker(made)()
    except (TypeError, ValueError, RedisError) as error:
        raise SettingsError(f"REDIS_URL has an option that cannot be used: {error}") from None
    return made


def maker(connection_pool: ConnectionPool) -> Callable[[], Link]:
    """What makes a connection with the settings of a pool, outside of it."""
    return lambda: cast(Link, connection_pool.connection_class(**connection_pool.connection_kwargs))


def place(connection_pool: ConnectionPool, master: str | None) -> str:
    """Where Redis is, for messages: without user and password."""
    kwargs = connection_pool.connection_kwargs
    if master is not None and "host" not in kwargs:
        return f"Redis {master!r} of the Sentinels"
    if "path" in kwargs:
        return f"Redis at {kwargs['path']}"
    return f"Redis at {kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}"


def _options(url: str, patience: float, connect: float) -> dict[str, Any]:
    """The options of a connection. Those of the URL win, except where replies or errors would be read otherwise."""
    try:
        given = _parse_url(url)
    except ValueError:
        message = "REDIS_URL cannot be read; it looks like redis://user:password@host:6379/0"
        raise SettingsError(f"{message}, with / @ : ? # in the password written as %2F %40 %3A %3F %23") from None
    limits = {"socket_timeout": patience, "socket_connect_timeout": connect}
    keepalive: dict[str, Any] = {"socket_keepalive": True, "socket_keepalive_options": KEEPALIVE}
    fixed = {"protocol": 2, "decode_responses": False, "retry": _no_retry(), "health_check_interval": 0}
    is_tcp = not url.startswith("unix:")
    return {**limits, **(keepalive if is_tcp else {}), **given, **fixed}


def _no_retry() -> Retry:
    """A retry of the library would send a request again without knowing whether it was done."""
    return Retry(NoBackoff(), 0)


def _pool(options: Mapping[str, Any], connections: int) -> ConnectionPool:
    return ConnectionPool(**{"max_connections": connections, **options})


def _sentinel_pool(
    options: Mapping[str, Any], sentinels: Sequence[str], master: str | None, connections: int
) -> ConnectionPool:
    if master is None:
        raise SettingsError("REDIS_SENTINELS needs REDIS_MASTER: what the Sentinels call the Redis")
    if "path" in options:
        raise SettingsError("REDIS_SENTINELS does not go together with a REDIS_URL of a socket (unix://)")
    own = {name: value for name, value in options.items() if name not in ("host", "port", "connection_class")}
    tls = {"ssl": True} if "connection_class" in options else {}
    asking = {name: value for name, value in own.items() if name.startswith(("socket_", "ssl_"))}
    asking |= {"socket_timeout": own["socket_connect_timeout"], "retry": _no_retry(), "protocol": 2, **tls}
    sentinel = _Sentinel([_host_and_port(text) for text in sentinels], sentinel_kwargs=asking)
    found: redis.Redis = sentinel.master_for(master, **{"max_connections": connections, **own, **tls})
    return found.connection_pool


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "localhost", parts.port or SENTINEL_PORT
    except ValueError:
        raise SettingsError(f"REDIS_SENTINELS: {text!r} is not an address like host:26379") from None
