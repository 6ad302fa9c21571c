"""Connections to one Redis: how they are described, opened, kept and handed out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from queue import Empty, LifoQueue
from threading import Thread
from typing import Any, Protocol

from redis.exceptions import RedisError

from stepwell.errors import Unavailable
from stepwell.redis_client.meaning import not_connected

NOT_OPENED = (RedisError, OSError, UnicodeError)
"""What opening a connection raises; UnicodeError is that of a host name which is none."""

Argument = bytes | str | int | float


class NoneFree(Unavailable):
    """All connections of this process are in use, and stay so."""


class Link(Protocol):
    """A connection of the redis library, as far as it is used here."""

    pid: int

    def connect(self) -> None:
        """Connect, log in, choose the database."""

    def disconnect(self) -> None:
        """Close it; nothing happens if it is closed."""

    def can_read(self, timeout: float = 0) -> bool:
        """Whether something arrived that nobody asked for; raises a ConnectionError if the other side hung up."""

    def pack_command(self, *command: Argument) -> Sequence[bytes]:
        """The bytes of a command."""

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        """Send these bytes."""

    def read_response(self, *, timeout: float = ..., disconnect_on_error: bool = True) -> Any:
        """The next reply; raises error replies."""


class Links:
    """Up to `count` connections; who finds all of them in use waits for `patience` seconds.

    The one that was given back last is handed out first, so that no more are opened than are needed.
    """

    def __init__(self, make: Callable[[], Link], place: str, count: int, patience: float) -> None:
        self._make, self._place, self._count, self._patience = make, place, count, patience
        self._slots: LifoQueue[Link | None] = LifoQueue()
        for _ in range(count):
            self._slots.put(None)

    def take(self, within: float | None = None) -> Link:
        """A connected link, opened in `within` seconds if one must be opened.

        Raises `NotDelivered`, and `NoneFree`.
        """
        try:
            link = self._slots.get(timeout=self._patience)
        except Empty:
            raise NoneFree(f"all {self._count} connections of this process to {self._place} are in use") from None
        try:
            return link if link is not None and _usable(link) else self._opened(within)
        except BaseException:
            self._slots.put(None)
            raise

    def give_back(self, link: Link) -> None:
        """Return a link that has nothing left to read."""
        self._slots.put(link)

    def drop(self, link: Link) -> None:
        """Return a link of which it is not known what it has left to read; the idle ones go too, as likely broken."""
        link.disconnect()
        self._slots.put(None)
        self.clear()

    def clear(self) -> None:
        """Close all links that are not in use."""
        idle = []
        with suppress(Empty):
            while True:
                idle.append(self._slots.get_nowait())
        for link in idle:
            if link is not None:
                link.disconnect()
            self._slots.put(None)

    def _opened(self, within: float | None) -> Link:
        try:
            return self._open() if within is None else self._open_within(within)
        except NOT_OPENED as error:
            raise not_connected(error, self._place) from error

    def _open(self) -> Link:
        link = self._make()
        link.connect()
        return link

    def _open_within(self, seconds: float) -> Link:
        """Open a link in a thread: name resolution and TLS have no time limit of their own."""
        opening: Future[Link] = Future()
        Thread(target=self._open_into, args=(opening,), name="redis-open", daemon=True).start()
        try:
            return opening.result(seconds)
        except FutureTimeoutError:
            opening.add_done_callback(_disconnect)
            raise TimeoutError(f"not connected within {seconds:g} s") from None

    def _open_into(self, opening: Future[Link]) -> None:
        try:
            opening.set_result(self._open())
        except NOT_OPENED as error:
            opening.set_exception(error)


def _usable(link: Link) -> bool:
    """Whether a link that was idle can be used. One that the server closed meanwhile, by a restart, cannot, and one
    that was opened before a fork belongs to the other process."""
    try:
        usable = link.pid == os.getpid() and not link.can_read()
    except (RedisError, OSError):
        usable = False
    if not usable:
        link.disconnect()
    return usable


def _disconnect(opening: Future[Link]) -> None:
    if opening.exception() is None:
        opening.result().disconnect()
