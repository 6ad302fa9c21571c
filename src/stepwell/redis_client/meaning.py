"""What an error of Redis means for the caller: nothing was done, it is unknown, or it is the caller's own."""

from __future__ import annotations

import re

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

from stepwell.errors import NotDelivered, Unavailable

AWAY = {
    "LOADING": "is still loading its data",
    "READONLY": "is a read-only replica",
    "MASTERDOWN": "is a replica that lost its master",
    "CLUSTERDOWN": "is part of a cluster that is down",
    "BUSY": "is busy with a script that runs too long",
    "DENIED": "is in protected mode, which refuses other hosts",
    "NOAUTH": "wants a password: REDIS_URL must name it, as in redis://user:password@host",
    "WRONGPASS": "refuses the user or the password in REDIS_URL",
    "FULL": "has no room for another client (maxclients)",
}
"""Replies after which the next call need not be tried, by their code."""

NO_WRITES = {
    "OOM": "has no memory left (maxmemory)",
    "MISCONF": "cannot save its data, and so refuses writes",
    "NOREPLICAS": "has too few replicas, and so refuses writes",
}
"""Replies that refuse writes, while reads go on."""

IN_SCRIPT = re.compile(r"@user_script: ?\d+: -(READONLY|OOM|MISCONF|NOREPLICAS) ")
"""How Redis 6 tells that the first write of a script was refused; Redis 7 answers with the code itself."""

FULL = "max number of clients"
"""How Redis tells that; it has no code of its own."""


class Refused(NotDelivered):
    """Redis answered that it does nothing now; `reads` if only writes are refused."""

    def __init__(self, message: str, reads: bool) -> None:
        self.reads = reads
        super().__init__(message)


def refusal(error: RedisError, place: str) -> Refused | None:
    """The error to raise for an answer by which nothing was done; None if the answer does not say so.

    A script that is refused was refused at its first write: Redis never stops one for these reasons after that.
    """
    code = _code(error)
    why = AWAY.get(code) or NO_WRITES.get(code)
    return None if why is None else Refused(f"{place} {why} ({code})", reads=code in NO_WRITES)


def not_connected(error: Exception, place: str) -> NotDelivered:
    """The error to raise for a connection that did not come about."""
    if isinstance(error, MasterNotFoundError):
        return NotDelivered(f"{place} cannot be reached: no Sentinel that answers knows a master of this name")
    refused = refusal(error, place) if isinstance(error, RedisError) else None
    return refused or NotDelivered(f"{place} cannot be reached: {error}")


def not_sent(error: Exception, place: str) -> NotDelivered:
    """The error to raise if a command was not sent in whole: Redis does nothing before it has all of it."""
    return NotDelivered(f"{place} did not take the request: {error}")


def unknown(error: Exception, place: str) -> Unavailable:
    """The error to raise if the reply did not come."""
    what = "did not answer in time" if isinstance(error, RedisTimeoutError) else f"broke off before its answer: {error}"
    return Unavailable(f"{place} {what}; whether the request was done is not known")


def _code(error: RedisError) -> str:
    """`OOM`, `READONLY`, …: the word that an error reply begins with."""
    if isinstance(error.__context__, ResponseError) and isinstance(error, RedisConnectionError):
        return _code(error.__context__)  # the library's Sentinel connection makes a ConnectionError of READONLY
    text = str(error)
    if text.startswith(FULL):
        return "FULL"
    in_script = IN_SCRIPT.search(text)
    return in_script[1] if in_script else error.status_code or text.partition(" ")[0]
