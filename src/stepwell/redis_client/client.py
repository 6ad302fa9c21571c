"""The client of one Redis: runs scripts and commands, and raises our errors by what they mean for the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from stepwell.errors import Unavailable
from stepwell.redis_client import address
from stepwell.redis_client.breaker import Breaker, RedisState
from stepwell.redis_client.links import Argument, Link, Links, NoneFree
from stepwell.redis_client.meaning import Refused, not_sent, refusal, unknown
from stepwell.redis_client.script import Script

CONNECT = 2.0
CONNECT_FAST = 0.2
"""Seconds to connect in, for those who can wait and for those who `fail_fast`."""

PROBE = ("LPUSHX", "stepwell:probe", "")
"""A write that changes nothing, as there is no such list, and yet is refused whenever writes are."""


class RedisClient:
    """One pool of connections to one Redis, for the threads of one process.

    Every call raises `NotDelivered` where Redis certainly did nothing (not connected, or refused), and `Unavailable`
    where that is not known (no reply within `patience` seconds, or the connection broke). Nothing is sent twice.
    Other error replies are those of the caller's own scripts and commands: `redis.exceptions.ResponseError`.

    With `fail_fast` a failure lets all further calls raise `NotDelivered` at once, until a thread in the background
    has seen Redis answer; and it must connect within 0.2 s.
    """

    def __init__(
        self,
        url: str,
        *,
        sentinels: Sequence[str] = (),
        master: str | None = None,
        patience: float = 5.0,
        fail_fast: bool = False,
        connections: int = 20,
    ) -> None:
        """Nothing is connected yet. Raises `SettingsError` for a URL or address that cannot be understood."""
        connect = CONNECT_FAST if fail_fast else CONNECT
        self._pool = address.pool(url, sentinels, master, patience, connect, connections)
        self._place = address.place(self._pool, master if sentinels else None)
        self._links = Links(address.maker(self._pool), self._place, self._pool.max_connections, patience)
        self._within = CONNECT_FAST if fail_fast else None
        self._patience = patience
        self._breaker = Breaker(self._probe if fail_fast else None)

    def run(self, script: Script, args: Sequence[Argument], keys: Sequence[str] = ()) -> Any:
        """Run a script; strings in the reply are bytes."""
        tail = (len(keys), *keys, *args)
        try:
            return self.do("EVALSHA", script.sha, *tail)
        except NoScriptError:
            return self.do("EVAL", script.source, *tail)

    def do(self, *command: Argument, wait: float = 0.0) -> Any:
        """Run a command; `wait` is for how many seconds the command itself may block."""
        self._breaker.check()
        return self._ask(command, wait, self._within)

    def connection(self) -> redis.Redis:
        """A client of the redis library with the same settings and connections of its own, for libraries that need
        one. It raises the redis library's errors, and does not ask the breaker."""
        return redis.Redis(connection_pool=self._pool)

    def state(self) -> RedisState:
        """Whether Redis answers, as far as it was asked."""
        return self._breaker.state

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._breaker.close()
        self._links.clear()
        self._pool.disconnect()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _ask(self, command: Sequence[Argument], wait: float, within: float | None) -> Any:
        """The reply, whatever the breaker says; it is told what came of it."""
        try:
            reply = self._exchange(command, wait, within)
        except NoneFree:
            raise
        except Unavailable as error:
            self._breaker.failed(error, reads=isinstance(error, Refused) and error.reads)
            raise
        except ResponseError:
            self._breaker.succeeded()
            raise
        self._breaker.succeeded()
        return reply

    def _exchange(self, command: Sequence[Argument], wait: float, within: float | None) -> Any:
        link = self._links.take(within)
        try:
            self._send(link, command)
            reply = self._read(link, wait)
        except BaseException as error:
            if _leaves_connected(error):
                self._links.give_back(link)
            else:
                self._links.drop(link)
            raise
        self._links.give_back(link)
        return reply

    def _send(self, link: Link, command: Sequence[Argument]) -> None:
        try:
            link.send_packed_command([b"".join(link.pack_command(*command))], check_health=False)
        except (RedisError, OSError) as error:
            raise not_sent(error, self._place) from error

    def _read(self, link: Link, wait: float) -> Any:
        try:
            if wait:
                return link.read_response(timeout=self._patience + wait, disconnect_on_error=False)
            return link.read_response(disconnect_on_error=False)
        except (RedisError, OSError) as error:
            refused = refusal(error, self._place) if isinstance(error, RedisError) else None
            if refused is not None:
                raise refused from error
            if isinstance(error, ResponseError):
                raise
            raise unknown(error, self._place) from error

    def _probe(self) -> None:
        self._ask(PROBE, 0.0, None)


def _leaves_connected(error: BaseException) -> bool:
    """Whether a connection can go on after an error: a reply was read in whole, and no other Redis may have become the
    master."""
    return error.reads if isinstance(error, Refused) else isinstance(error, ResponseError)
