"""Python imports this by itself when it starts, if this folder is on its path: arms the crash points of a worker."""

from __future__ import annotations

from tests.chaos.inside import crashes

if crashes.PLANNED:
    crashes.arm()
