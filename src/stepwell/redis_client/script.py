"""Lua scripts, as Redis knows them."""

from __future__ import annotations

import hashlib


class Script:
    """Lua source and its sha1, by which Redis knows it once it has run."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
