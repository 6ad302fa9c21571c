"""Fixtures of the unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.action_fixtures import context as context
from tests.unit.action_fixtures import server as server
from tests.unit.engine_harness import EXTRA, Harness, use


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """An engine whose time runs fast."""
    yield Harness(tmp_path)
    EXTRA.clear()


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[Harness]:
    """An engine in real time, for what interrupts real code."""
    yield Harness(tmp_path, real_time=True)
    EXTRA.clear()


@pytest.fixture
def ran(harness: Harness) -> list[Any]:
    """What the action `note` was called with, in order."""
    seen: list[Any] = []

    def note(what: Any) -> Any:
        seen.append(what)
        return what

    use("note", note)
    return seen
