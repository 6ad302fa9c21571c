"""The client of one Redis: runs scripts and commands, and raises our errors by what they mean for the caller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from stepwell.errors import NotDelivered, Unavailable
from stepwell.redis_client import address
from stepwell.redis_client.breaker import Breaker, RedisState
from stepwell.redis_client.links import Argument, Link, Links, NoneFree
from stepwell.redis_client.meaning import Refused, not_sent, partly, refusal, unknown
from stepwell.redis_client.script import Script

CONNECT = 2.0
CONNECT_FAST = 0.2
"""Seconds to connect in, for those who can wait and for those who `fail_fast`."""

PROBE = ("LPUSHX", "stepwell:probe", "")
"""A write that changes nothing, as there is no such list, and yet is refused whenever writes are."""

Command = Sequence[Argument]
Call = tuple[Script, Sequence[Argument]]


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

    def run_many(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts without keys in one pipeline, and answer their replies in order.

        They are independent of each other: one that fails keeps no other from being run, and the first error is
        raised after all were read.
        """
        replies: list[Any] = [None] * len(calls)
        rest = list(range(len(calls)))
        commands = [_by_sha(call) for call in calls]
        while rest:
            for number, reply in zip(rest, self._rest(commands, len(calls)), strict=True):
                replies[number] = reply
            rest = [number for number in rest if isinstance(replies[number], NoScriptError)]
            commands = _with_sources([calls[number] for number in rest])
        return _all_done(replies)

    def do(self, *command: Argument, wait: float = 0.0) -> Any:
        """Run a command; `wait` is for how many seconds the command itself may block."""
        return _all_done(self._talk([command], wait))[0]

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

    def _talk(self, commands: Sequence[Command], wait: float = 0.0) -> list[Any]:
        """The replies to some commands, sent at once; error replies that are the caller's own are among them."""
        self._breaker.check()
        return self._ask(commands, wait, self._within)

    def _rest(self, commands: Sequence[Command], total: int) -> list[Any]:
        """As `_talk`, for those of `total` commands that are left to be done."""
        try:
            return self._talk(commands)
        except NotDelivered as error:
            if len(commands) == total:
                raise
            raise partly(error, total - len(commands), total) from error

    def _ask(self, commands: Sequence[Command], wait: float, within: float | None) -> list[Any]:
        """The replies, whatever the breaker says; it is told what came of it."""
        try:
            replies = self._exchange(commands, wait, within)
        except NoneFree:
            raise
        except Unavailable as error:
            self._breaker.failed(error, reads=False)
            raise
        refused = [reply for reply in replies if isinstance(reply, Refused)]
        if refused:
            self._breaker.failed(refused[0], refused[0].reads)
            if len(refused) == len(replies):
                raise refused[0]
            raise partly(refused[0], len(replies) - len(refused), len(replies))
        self._breaker.succeeded()
        return replies

    def _exchange(self, commands: Sequence[Command], wait: float, within: float | None) -> list[Any]:
        link = self._links.take(within)
        try:
            self._send(link, commands)
            replies = [self._read(link, wait) for _ in commands]
        except BaseException:
            self._links.drop(link)
            raise
        if any(isinstance(reply, Refused) and not reply.reads for reply in replies):
            self._links.drop(link)  # another Redis may have become the master
        else:
            self._links.give_back(link)
        return replies

    def _send(self, link: Link, commands: Sequence[Command]) -> None:
        packed = [piece for command in commands for piece in link.pack_command(*command)]
        try:
            link.send_packed_command([b"".join(packed)], check_health=False)
        except (RedisError, OSError) as error:
            means = not_sent if len(commands) == 1 else unknown
            raise means(error, self._place) from error

    def _read(self, link: Link, wait: float) -> Any:
        """The next reply; an error reply is returned, not raised, so that those after it can be read."""
        try:
            if wait:
                return link.read_response(timeout=self._patience + wait, disconnect_on_error=False)
            return link.read_response(disconnect_on_error=False)
        except (RedisError, OSError) as error:
            refused = refusal(error, self._place) if isinstance(error, RedisError) else None
            if refused is not None:
                return refused
            if isinstance(error, ResponseError):
                return error
            raise unknown(error, self._place) from error

    def _probe(self) -> None:
        self._ask([PROBE], 0.0, None)


def _all_done(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    return replies


def _by_sha(call: Call) -> Command:
    script, args = call
    return ("EVALSHA", script.sha, 0, *args)


def _with_sources(calls: Sequence[Call]) -> list[Command]:
    """The same calls, with the source at the first of each script: so each round of them does at least one."""
    known: set[str] = set()
    commands: list[Command] = []
    for script, args in calls:
        commands.append(_by_sha((script, args)) if script.sha in known else ("EVAL", script.source, 0, *args))
        known.add(script.sha)
    return commands
