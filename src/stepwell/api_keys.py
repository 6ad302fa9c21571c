"""API keys: what an entry of `API_KEYS` says, who sent a key, and how often that caller may ask.

An entry is `name:role:sha256=<hex>`, and perhaps `:rate=60/m` and `:quota=10000/d`. Only the SHA-256 of a key is
configured. A slow hash with salt, as for passwords, would protect nothing here: keys are not chosen by people but are
256 random bits, which nobody guesses, however fast; and it would cost time with every request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stepwell.errors import SettingsError, did_you_mean, short

ANONYMOUS = "anonymous"
"""Who asks a server without keys; so no key has this name."""

PREFIX = "sw_"
"""How every key begins, so that scanners for leaked secrets can know one."""

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Seconds, by the letter that stands for them in an allowance."""

LIMITS = ("rate", "quota")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ALLOWANCE = re.compile(r"([1-9][0-9]{0,11})/([smhd])")


class Role(StrEnum):
    """What the holder of a key may do; each role includes those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Whether this role may do what needs the other."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True)
class Allowance:
    """So much in each period, which is in seconds; written as `60/m`."""

    count: int
    period: int

    @classmethod
    def parse(cls, text: str) -> Allowance:
        """The allowance that a text says; raises `ValueError`."""
        found = _ALLOWANCE.fullmatch(text)
        if found is None:
            raise ValueError(f"must be a number and s, m, h or d, like 60/m, not {short(text)!r}")
        return cls(int(found[1]), PERIODS[found[2]])

    def __str__(self) -> str:
        letter = next(letter for letter, seconds in PERIODS.items() if seconds == self.period)
        return f"{self.count}/{letter}"


@dataclass(frozen=True)
class ApiKey:
    """A key as it is configured: `digest` is the SHA-256 of the key in hex, the key itself is not known.

    `rate` bounds the requests, `quota` the tasks that are submitted.
    """

    name: str
    role: Role
    digest: str
    rate: Allowance | None = None
    quota: Allowance | None = None

    def __str__(self) -> str:
        """The entry for `API_KEYS`."""
        limits = [f"{name}={value}" for name in LIMITS if (value := getattr(self, name)) is not None]
        return ":".join([self.name, self.role, f"sha256={self.digest}", *limits])


class Keyring:
    """The keys of a server. Raises `SettingsError` with all that is wrong with the entries."""

    def __init__(self, entries: Sequence[str]) -> None:
        self.keys = parse(entries)

    def find(self, secret: str) -> ApiKey | None:
        """Whose key this is; how long it takes does not tell how much of it was right, nor which entry it is."""
        sent, found = digest(secret), None
        for key in self.keys:
            if hmac.compare_digest(key.digest, sent):
                found = key
        return found


class Bucket:
    """A token bucket: `allowance.count` at once at most, refilled evenly over its period. For one thread only."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self._left, self._seen = float(allowance.count), 0.0

    def take(self, now: float) -> float:
        """Take one at `now` (seconds of a clock that never goes back): 0, or in how many seconds there will be one."""
        passed = max(0.0, now - self._seen)
        self._left = min(float(self.allowance.count), self._left + passed / self._interval)
        self._seen = now
        if self._left < 1:
            return (1 - self._left) * self._interval
        self._left -= 1
        return 0.0

    @property
    def left(self) -> int:
        """How many could be taken now."""
        return int(self._left)

    @property
    def until_full(self) -> float:
        """In how many seconds it is full again, if nothing more is taken."""
        return (self.allowance.count - self._left) * self._interval

    @property
    def _interval(self) -> float:
        """Seconds in which one comes back."""
        return self.allowance.period / self.allowance.count


def new_secret() -> str:
    """A new key."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """The SHA-256 of a key, in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def checked_name(name: str) -> str:
    """A name that a key may have; raises `ValueError`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"the name {short(name)!r} must be 1 to 64 letters, digits, '_', '.' or '-'")
    if name == ANONYMOUS:
        raise ValueError(f"the name {name!r} stands for callers of servers without keys: use another")
    return name


def parse(entries: Sequence[str]) -> tuple[ApiKey, ...]:
    """The keys that the entries of `API_KEYS` name. Raises `SettingsError` with all that is wrong."""
    keys: list[ApiKey] = []
    problems: list[str] = []
    for number, entry in enumerate(entries, 1):
        try:
            keys.append(_parsed(entry))
        except ValueError as error:
            problems.append(f"API_KEYS, entry {number}: {error}")
    problems.extend(f"API_KEYS: {problem}" for problem in _repeated(keys))
    if problems:
        raise SettingsError("\n".join(problems))
    return tuple(keys)


def _parsed(entry: str) -> ApiKey:
    """The key of an entry. Messages show its name only: the rest might be a key that was pasted here by mistake."""
    parts = entry.split(":")
    if len(parts) < 3 or not parts[2].startswith("sha256="):
        raise ValueError("it must be name:role:sha256=…, as `stepwell keys new` prints it (not the key itself)")
    name, role = checked_name(parts[0]), parts[1]
    if role not in list(Role):
        raise ValueError(f"the role of {name!r} must be {', '.join(Role)}{did_you_mean(role, Role)}")
    known = parts[2].removeprefix("sha256=").lower()
    if not _DIGEST.fullmatch(known):
        raise ValueError(f"the sha256 of {name!r} must be 64 digits in hex, as `stepwell keys new` prints them")
    return ApiKey(name, Role(role), known, **_limits(name, parts[3:]))


def _limits(name: str, parts: Sequence[str]) -> dict[str, Allowance]:
    found: dict[str, Allowance] = {}
    for part in parts:
        limit, _, value = part.partition("=")
        if limit not in LIMITS or limit in found:
            raise ValueError(f"after the sha256 of {name!r} may stand rate=60/m and quota=10000/d, each once")
        try:
            found[limit] = Allowance.parse(value)
        except ValueError as error:
            raise ValueError(f"the {limit} of {name!r} {error}") from error
    return found


def _repeated(keys: Sequence[ApiKey]) -> Iterator[str]:
    """What stands twice: a name would make two callers one in the audit log, a hash is one key with two roles."""
    names: set[str] = set()
    owners: dict[str, str] = {}
    for key in keys:
        if key.name in names:
            yield f"the name {key.name!r} stands twice: give each key its own"
        elif key.digest in owners:
            yield f"{owners[key.digest]!r} and {key.name!r} have the same sha256: give each its own key"
        names.add(key.name)
        owners.setdefault(key.digest, key.name)
