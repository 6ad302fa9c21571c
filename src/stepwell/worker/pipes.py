"""How a worker's processes send each other words: lines through pipes and sockets, whole or not at all."""

from __future__ import annotations

import json
import os
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

Word = Literal["cancel", "lose", "drain", "hurry"]

CHUNK = 65536


class Rein:
    """A pipe to a work-horse, into which both the parent and the keeper speak.

    A line is shorter than what a pipe takes in one piece. To one who does not listen nothing is said: what the
    keeper says is said again with the next renewal.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._rest = b""

    def say(self, word: Word, token: str = "") -> None:
        """Say a word, about the claim with this token."""
        with suppress(BlockingIOError):
            os.write(self._writing, f"{word} {token}\n".encode())

    def hear(self, seconds: float) -> list[tuple[str, str]] | None:
        """The words that come within so many seconds; None if all who could say any are gone."""
        if not select.select([self._reading], [], [], seconds)[0]:
            return []
        chunk = os.read(self._reading, CHUNK)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [(word, token) for word, _, token in (line.decode().partition(" ") for line in lines)]

    def only_listen(self) -> None:
        """This process says nothing, so that it hears when those who do are gone."""
        os.close(self._writing)

    def leave(self) -> None:
        """This process has nothing to do with it."""
        os.close(self._writing)
        os.close(self._reading)


@dataclass(frozen=True, slots=True)
class Lost:
    """A work-horse that is dead. Whether that counts as a crash of its tasks, and which of them (id and token) are
    only its siblings' victims, so that they are handed back."""

    name: str
    crashed: bool
    spared: tuple[tuple[str, str], ...] = ()


class Link:
    """A socket pair between the parent and the keeper: orders one way, and the names of what is done the other."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(1.0)
        self._rest = b""

    # -- the parent's side -------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Of the parent's side, for `select`."""
        return self._ours.fileno()

    def order(self, **what: object) -> None:
        """Tell the keeper; raises `OSError` if it does not listen any more."""
        self._ours.sendall(json.dumps(what).encode() + b"\n")

    def done(self) -> list[str]:
        """The names of the work-horses whose tasks have been taken from them."""
        return [line.decode() for line in self._lines(self._ours)] if _readable(self._ours, 0) else []

    def close(self) -> None:
        """The parent is through with this keeper."""
        self._ours.close()
        self._theirs.close()

    # -- the keeper's side -------------------------------------------------------------------------------------------

    def only_keep(self) -> None:
        """From now on this process is the keeper, and hears when the parent is gone."""
        self._ours.close()

    def orders(self, seconds: float | None) -> Iterator[dict[str, object]]:
        """The orders that come within so many seconds, or at all. Raises `EOFError` when the parent is gone."""
        if _readable(self._theirs, seconds):
            yield from (json.loads(line) for line in self._lines(self._theirs))

    def say_done(self, name: str) -> None:
        """Tell the parent; it may be gone."""
        with suppress(OSError):
            self._theirs.sendall(name.encode() + b"\n")

    def _lines(self, side: socket.socket) -> list[bytes]:
        chunk = side.recv(CHUNK)
        if not chunk:
            raise EOFError
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return lines


def as_order(lost: Lost) -> dict[str, object]:
    """The order to take the tasks from a dead work-horse."""
    return {"lost": asdict(lost)}


def from_order(order: object) -> Lost:
    """What `as_order` told."""
    assert isinstance(order, dict)
    return Lost(order["name"], order["crashed"], tuple((task_id, token) for task_id, token in order["spared"]))


def _readable(side: socket.socket, seconds: float | None) -> bool:
    return bool(select.select([side], [], [], seconds)[0])
