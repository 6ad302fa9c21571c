"""Task ids: UUIDs of version 7, which sort by the time they were made."""

from __future__ import annotations

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
