"""Fixtures of the acceptance tests: real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.acceptance.serving import GATED, HELLO, Gate, Server, start

StartServer = Callable[..., Server]


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


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """`start_shared(NAME=value, …)` starts a server for the tests of a module."""
    started: list[Server] = []

    def begin(**settings: str) -> Server:
        started.append(start(tmp_path_factory.mktemp("shared"), {"hello": HELLO, "gated": GATED}, **settings))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture(scope="module")
def shared(start_shared: StartServer) -> Server:
    """A server that the tests of a module share, with the workflows `hello` and `gated`."""
    return start_shared()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """A gate for the workflow `gated`."""
    return Gate(tmp_path / "gate")


@pytest.fixture
def gates(tmp_path: Path) -> Callable[[str], Gate]:
    """Gates by name."""
    return lambda name: Gate(tmp_path / name)
