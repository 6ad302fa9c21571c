"""Races: the first to complete wins, the others are cancelled."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tests.unit.engine_harness import PATIENCE, Crash, Harness, use

from stepwell.errors import Fail, TaskCancelled
from stepwell.task import NewMail, Status, Task


def once(harness: Harness, task: Task) -> Task:
    after = harness.once(task.task_id)
    assert after is not None
    return after


APPROVED_OR_LATE = """
steps:
  - id: r
    race:
      - {id: approve, wait: {approval: Really?}}
      - {id: late, wait: 1h}
  - {id: won, output: ["${{ steps.r.winner }}", "${{ steps.r.output }}"]}
"""


def test_an_answer_wins_against_a_time(harness: Harness) -> None:
    task = once(harness, harness.create(APPROVED_OR_LATE))
    assert harness.statuses(task) == {"r": "running", "r/approve": "waiting", "r/late": "waiting"}
    harness.store.send(task.task_id, NewMail("r/approve", '{"approved": true}', once=True))
    ended = harness.finish(task.task_id)
    assert harness.output(ended, "won") == ["approve", {"approved": True, "comment": None}]
    assert harness.statuses(ended) == {
        "r": "completed",
        "r/approve": "completed",
        "r/late": "cancelled",
        "won": "completed",
    }
    assert harness.steps(ended)["r"].winner == "approve"


def test_a_time_wins_against_nobody(harness: Harness) -> None:
    ended = harness.run(APPROVED_OR_LATE)
    assert harness.output(ended, "won") == ["late", None]
    assert harness.statuses(ended)["r/approve"] == "cancelled"


def test_what_runs_is_interrupted_when_another_wins(timed: Harness) -> None:
    begun, interrupted = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        try:
            while True:
                pass
        except TaskCancelled:
            interrupted.set()
            raise

    def win() -> str:
        assert begun.wait(PATIENCE)
        return "first"

    use("hold", hold)
    use("win", win)
    text = """
        steps:
          - id: r
            race: [{steps: [{id: slow, uses: hold}, {id: after, uses: win}]}, {id: quick, uses: win}]
        """
    task = timed.run(text)
    assert interrupted.is_set()
    assert timed.output(task, "r") == "first"
    assert timed.statuses(task) == {
        "r": "completed",
        "r/steps-1": "cancelled",
        "r/steps-1/slow": "cancelled",
        "r/quick": "completed",
    }


def test_a_retry_pause_ends_when_another_wins(harness: Harness) -> None:
    def fail() -> None:
        raise Fail("again")

    use("fail", fail)
    text = """
        steps:
          - id: r
            race:
              - {id: a, uses: fail, retry: {max_retries: 9, delay: 30d, max_delay: 30d}}
              - {id: b, wait: 1h}
        """
    task = harness.run(text)
    assert (task.status, harness.steps(task)["r"].winner) == (Status.COMPLETED, "b")
    assert harness.statuses(task)["r/a"] == "cancelled"


@pytest.mark.parametrize(
    ("racers", "winner"),
    [
        ("[{id: a, uses: fail}, {id: b, wait: 1h}]", "b"),
        ("[{id: a, uses: fail, on_error: continue}, {id: b, wait: 1h}]", "b"),
        ("[{id: a, if: false, output: 1}, {id: b, wait: 1h}]", "b"),
        ("[{id: a, output: 1}, {id: b, output: 2}]", "a"),
        ("[{if: false, output: 1}, {output: 2}]", "output-2"),
        ("[{id: a, wait: {event: x, timeout: 1m, on_timeout: continue}}, {id: b, wait: 1h}]", "b"),
    ],
    ids=["not a failed one", "nor a tolerated one", "nor a skipped one", "the first", "without ids", "nor in vain"],
)
def test_only_who_completes_can_win(harness: Harness, racers: str, winner: str) -> None:
    use("fail", lambda: 1 / 0)
    task = harness.run(f"steps: [{{id: r, race: {racers}}}]")
    assert (task.status, harness.steps(task)["r"].winner) == (Status.COMPLETED, winner)


@pytest.mark.parametrize("more", ["", ", on_error: continue"])
def test_if_all_fail_the_race_fails_with_the_last_error(harness: Harness, more: str) -> None:
    def fail(message: str) -> None:
        raise Fail(message)

    use("fail", fail)
    text = f"""
        steps:
          - id: r
            race:
              - {{id: a, uses: fail, with: {{message: second}}, retry: {{max_retries: 1, delay: 10s}}{more}}}
              - {{id: b, uses: fail, with: {{message: first}}{more}}}
        """
    task = harness.run(text)
    assert (task.status, task.error and task.error.message) == (Status.FAILED, "second")
    assert harness.statuses(task) == {"r": "failed", "r/a": "failed", "r/b": "failed"}


def test_if_all_are_skipped_nobody_wins(harness: Harness) -> None:
    text = """
        steps:
          - {id: r, race: [{id: a, if: false, output: 1}, {id: b, if: false, output: 2}]}
          - {id: after, output: ["${{ steps.r.output }}", "${{ steps.r.winner }}", "${{ steps.r.status }}"]}
        """
    assert harness.output(harness.run(text), "after") == [None, None, "completed"]


def test_a_race_is_retried_as_a_whole(harness: Harness) -> None:
    calls: list[str] = []

    def fails_once() -> str:
        calls.append("call")
        if len(calls) == 1:
            raise Fail("again")
        return "done"

    use("fails_once", fails_once)
    task = harness.run("steps: [{id: r, retry: {max_retries: 1, delay: 10s}, race: [{id: a, uses: fails_once}]}]")
    assert (harness.output(task, "r"), harness.steps(task)["r"].tries) == ("done", 2)


def test_the_time_limit_of_a_race(timed: Harness) -> None:
    release = threading.Event()
    use("hold", lambda: release.wait(PATIENCE))
    use("release", release.set)
    text = """
        steps:
          - parallel:
              - {id: long, uses: hold}
              - id: r
                timeout: 200ms
                race: [{id: a, wait: 1h}, {id: b, wait: {event: never}}]
                on_error: continue
                on_failure: [{uses: release}]
        """
    task = timed.run(text)
    record = timed.steps(task)["parallel-1/r"]
    assert (record.status, record.error and record.error.code) == ("failed", "timeout")


def test_an_own_output_sees_the_racers(harness: Harness) -> None:
    text = """
        steps:
          - id: r
            race: [{id: a, output: 1}]
            output: {won: "${{ output }}", status: "${{ steps.a.status }}"}
        """
    assert harness.output(harness.run(text), "r") == {"won": 1, "status": "completed"}


def test_a_stop_in_a_race_stops_the_task(harness: Harness) -> None:
    text = """
        steps:
          - {id: r, race: [{id: a, uses: stop, with: {message: enough}}, {id: b, wait: 1h}]}
          - {id: after, output: 1}
        """
    task = harness.run(text)
    assert task.status is Status.COMPLETED
    assert harness.statuses(task) == {"r": "cancelled", "r/a": "completed", "r/b": "cancelled"}


def test_a_failure_beside_a_race_ends_it(harness: Harness) -> None:
    use("fail", lambda: 1 / 0)
    text = "steps: [{parallel: [{id: a, uses: fail}, {id: r, race: [{id: b, wait: 1h}, {id: c, wait: 2h}]}]}]"
    task = harness.run(text)
    assert task.status is Status.FAILED
    assert {path: harness.statuses(task)[f"parallel-1/{path}"] for path in ("r", "r/b", "r/c")} == {
        "r": "cancelled",
        "r/b": "cancelled",
        "r/c": "cancelled",
    }


def test_a_drained_race_is_decided_elsewhere(timed: Harness) -> None:
    begun, release = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert release.wait(PATIENCE)
        raise Fail("too late", retryable=False)

    use("hold", hold)
    created = timed.create("steps: [{id: r, race: [{id: a, uses: hold}, {id: b, wait: {event: x, timeout: 1d}}]}]")
    driver = threading.Thread(target=timed.once, args=(created.task_id,), daemon=True)
    driver.start()
    assert begun.wait(PATIENCE)
    timed.engine.begin_drain()
    release.set()
    driver.join(PATIENCE)
    assert timed.store.get(created.task_id).status is Status.QUEUED
    assert timed.statuses(created) == {"r": "running", "r/a": "failed", "r/b": "waiting"}
    timed.engine = timed.new_engine()
    timed.store.send(created.task_id, NewMail("x", "7"))
    assert timed.output(once(timed, created), "r") == 7


def test_who_has_won_stays_the_winner_though_the_losers_had_not_ended(harness: Harness) -> None:
    begun, release, calls = threading.Event(), threading.Event(), list[str]()

    def hold() -> None:
        calls.append("hold")
        begun.set()
        try:
            release.wait(PATIENCE)
        except TaskCancelled:
            release.wait(PATIENCE)
            raise

    use("hold", hold)
    use("win", lambda: begun.wait(PATIENCE))
    text = """
        steps:
          - id: r
            race: [{id: quick, uses: win}, {id: slow, steps: [{id: held, uses: hold}, {id: after, uses: hold}]}]
          - {id: later, wait: 1d}
        """
    created = harness.create(text)
    harness.store.crash_at = 2  # who has won is written, and that is all
    with pytest.raises(Crash):
        harness.once(created.task_id)
    assert harness.steps(created)["r"].winner == "quick"
    assert harness.statuses(created)["r/slow/held"] == "running"
    release.set()
    harness.lose()
    once(harness, created)
    assert harness.statuses(created) == {
        "r": "completed",
        "r/quick": "completed",
        "r/slow": "cancelled",
        "r/slow/held": "cancelled",
        "later": "waiting",
    }
    assert calls == ["hold"]


DECIDED = """
steps:
  - id: r
    race:
      - {id: quick, uses: act}
      - {id: slow, steps: [{id: first, uses: act}, {id: then, wait: {event: never}}, {id: after, uses: act}]}
      - {id: again, uses: fail, retry: {max_retries: 5, delay: 1d}}
  - {id: b, wait: 10s}
outputs: {won: "${{ steps.r.winner }}", output: "${{ steps.r.output }}"}
"""


@pytest.mark.parametrize("before", [False, True], ids=["after the write", "before the write"])
@pytest.mark.parametrize("suspend_after", [0.0, 5.0])
def test_a_crash_at_every_write_leaves_one_winner_and_nothing_open(
    tmp_path: Path, before: bool, suspend_after: float
) -> None:
    def fail() -> None:
        raise Fail("again")

    use("act", lambda: 1)
    use("fail", fail)
    whole = Harness(tmp_path, suspend_after=suspend_after)
    assert whole.outputs(whole.run(DECIDED)) == {"won": "quick", "output": 1}
    for crash_at in range(1, whole.store.writes + 1):
        harness = Harness(tmp_path, suspend_after=suspend_after)
        harness.store.crash_at, harness.store.before = crash_at, before
        created = harness.create(DECIDED)
        with suppress(Crash):
            harness.finish(created.task_id)
        if harness.store.get(created.task_id).status is Status.RUNNING:
            harness.lose()
        harness.engine = harness.new_engine()
        ended = harness.finish(created.task_id)
        assert harness.outputs(ended) == {"won": "quick", "output": 1}
        assert not {"running", "waiting"} & set(harness.statuses(ended).values())
        assert "r/slow/after" not in harness.steps(ended)
