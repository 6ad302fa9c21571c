"""Task ids: UUIDs of version 7, which sort by the time they were made."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
import uuid

_lock = threading.Lock()
_last = 0


def new_task_id() -> str:
    """A new id, greater than every one this process made before (RFC 9562, section 6.2, method 3).

    The 48 bits of milliseconds are followed by 12 bits of the fraction of one; if the clock stands still or goes
    back, the last value plus one is taken.
    """
    global _last
    nanoseconds = time.time_ns()
    stamp = (nanoseconds // 1_000_000 << 12) | (nanoseconds % 1_000_000 * 4096 // 1_000_000)
    with _lock:
        _last = stamp = max(stamp, _last + 1)
    milliseconds, fraction = stamp >> 12, stamp & 0xFFF
    tail = secrets.randbits(62)
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | tail))


def derived_task_id(seed: str, at: float) -> str:
    """The same id for the same seed and time (seconds since 1970): who makes a task and dies before it can tell, makes
    the same one again."""
    digest = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:10])
    fraction, tail = digest >> 62 & 0xFFF, digest & (1 << 62) - 1
    milliseconds = int(at * 1000) & (1 << 48) - 1
    return str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | tail))
