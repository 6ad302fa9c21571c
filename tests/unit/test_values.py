"""Durations and times as text, how messages tell of values, and what was meant by a misspelt word."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from stepwell.errors import NotFound, did_you_mean
from stepwell.values import DURATION_PATTERN, in_utc, iso, kind, seconds


def cpu_seconds(work: Callable[[], object]) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started


@pytest.mark.parametrize(
    ("given", "expected"),
    [("500ms", 0.5), (" 30s\n", 30), ("5 m", 300), ("2h", 7200), ("1.5d", 129600), ("7", 7), (0, 0), (2.5, 2.5)],
)
def test_durations_are_seconds(given: object, expected: float) -> None:
    assert seconds(given) == expected
    assert isinstance(given, int | float) or re.search(DURATION_PATTERN, str(given))


@pytest.mark.parametrize(
    "given", ["", "soon", "-1s", "1  s", "1 week", "٣s", "1e3s", "9" * 33, "36601d", True, None, -1, float("nan")]
)
def test_what_is_no_duration_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number of seconds"):
        seconds(given)


@pytest.mark.parametrize("text", ["1" + " " * 5_000_000 + "x", "9" * 5_000_000, " " * 5_000_000])
def test_a_long_text_is_refused_as_a_duration_at_once(text: str) -> None:
    def refuse() -> None:
        with pytest.raises(ValueError, match="is not a duration") as caught:
            seconds(text)
        assert len(str(caught.value)) < 200

    assert min(cpu_seconds(refuse) for _ in range(3)) < 0.1


def test_moments_are_told_in_utc() -> None:
    east = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert iso(east) == "2026-02-28T23:30:00Z"
    assert iso(datetime(2026, 3, 1, 1, 30)) == "2026-03-01T01:30:00Z"
    assert iso(1.5, "milliseconds") == "1970-01-01T00:00:01.500Z"
    assert in_utc(east).tzinfo is UTC


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "a number"),
        ("x", "a string"),
        ([], "a list"),
        ({}, "an object"),
        (datetime(2026, 1, 1), "a time"),
        (timedelta(1), "a duration"),
        (len, "a function"),
        (b"", "a Python bytes"),
    ],
)
def test_every_value_has_a_kind(value: object, told: str) -> None:
    assert kind(value) == told


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("x" * 10_000_000, ["x" * 10_000_000]),
        ("x" * 190, ["x" * 10_000_000]),
        ("anchro", [f"anchor{number}" for number in range(1_000_000)]),
        ("ab" * 99, [f"{'ba' * 98}{number}" for number in range(100_000)]),
    ],
    ids=["a long word", "a long known one", "many known", "many alike"],
)
def test_what_was_meant_is_found_or_given_up_soon(word: str, known: list[str]) -> None:
    assert min(cpu_seconds(lambda: did_you_mean(word, known)) for _ in range(3)) < 0.1


def test_names_in_messages_are_cut() -> None:
    assert len(str(NotFound("workflow", "x" * 10_000, ["y"]))) < 150
    assert len(did_you_mean("x" * 150, ["x" * 151])) < 150
