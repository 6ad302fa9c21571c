"""Fixtures of the acceptance tests: real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.acceptance.serving import GATED, HELLO, Gate, Server, start

StartServer = Callable[..., Server]

STRICT_BYTES = 4096


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StartServer]:
    """`server(env={...}, workflows={name: yaml})` starts one in the test's folder; called again, another one there."""
    started: list[Server] = []

    def begin(env: Mapping[str, str] | None = None, workflows: Mapping[str, str] | None = None) -> Server:
        started.append(start(tmp_path, {"hello": HELLO, "gated": GATED, **(workflows or {})}, **(env or {})))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """`start_shared(NAME=value, …)` starts a server for many tests."""
    started: list[Server] = []

    def begin(**settings: str) -> Server:
        started.append(start(tmp_path_factory.mktemp("shared"), {"hello": HELLO, "gated": GATED}, **settings))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture(scope="session")
def shared(start_shared: StartServer) -> Server:
    """A server that many tests share, with the workflows `hello` and `gated`; each names its own further ones."""
    return start_shared()


@pytest.fixture(scope="session")
def strict(start_shared: StartServer) -> Server:
    """A server that allows little: bodies of 4 KiB, and two tasks at a time of which one waits."""
    return start_shared(
        MAX_REQUEST_BYTES=str(STRICT_BYTES),
        MAX_UPLOAD_BYTES=str(STRICT_BYTES),
        ALLOWED_HOSTS="*.shop.example",
        INLINE_MAX_CONCURRENCY="1",
        INLINE_QUEUE_MAX_SIZE="1",
    )


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate for the workflow `gated`."""
    return Gate(tmp_path / "gate")
