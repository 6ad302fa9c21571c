"""Which steps run, in what order, at the same time, and what they see of each other."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine_harness import PATIENCE, Harness, use

from stepwell.task import Status


def test_steps_follow_one_another_and_see_earlier_outputs(harness: Harness, ran: list[Any]) -> None:
    task = harness.run(
        """
        variables: {name: {type: string}}
        steps:
          - {id: a, uses: note, with: {what: "${{ variables.name }}"}}
          - {id: b, uses: note, with: {what: "${{ steps.a.output }}!"}}
        outputs: {said: "${{ steps.b.output }}"}
        """,
        name="Ada",
    )
    assert ran == ["Ada", "Ada!"]
    assert harness.outputs(task) == {"said": "Ada!"}


def test_needs_decides_the_order_and_an_empty_one_starts_at_once(harness: Harness, ran: list[Any]) -> None:
    harness.run(
        """
        max_parallel: 1
        steps:
          - {id: last, uses: note, with: {what: last}, needs: [middle]}
          - {id: middle, uses: note, with: {what: middle}, needs: [first]}
          - {id: first, uses: note, with: {what: first}, needs: []}
        """
    )
    assert ran == ["first", "middle", "last"]


def test_reading_a_step_is_needing_it(harness: Harness, ran: list[Any]) -> None:
    harness.run(
        """
        max_parallel: 1
        steps:
          - {id: b, uses: note, with: {what: "${{ steps.a.output }}2"}, needs: []}
          - {id: a, uses: note, with: {what: a}, needs: []}
        """
    )
    assert ran == ["a", "a2"]


def test_a_partial_join_starts_after_some(harness: Harness) -> None:
    release = threading.Event()

    def wait() -> None:
        assert release.wait(PATIENCE)

    use("wait", wait)
    use("release", release.set)
    task = harness.run(
        """
        steps:
          - {id: slow, uses: wait, needs: []}
          - {id: quick, output: 1, needs: []}
          - {id: join, uses: release, needs: {any: 1, of: [slow, quick]}}
        """
    )
    assert task.status is Status.COMPLETED  # `slow` ends only because `join` started before it


def test_parallel_steps_run_at_the_same_time(harness: Harness) -> None:
    meeting = threading.Barrier(3)
    use("meet", lambda: meeting.wait(PATIENCE) >= 0)
    task = harness.run("steps: [{parallel: [{id: a, uses: meet}, {id: b, uses: meet}, {id: c, uses: meet}]}]")
    assert harness.output(task, "parallel-1") == {"a": True, "b": True, "c": True}


def test_max_parallel_bounds_the_steps_of_a_task(harness: Harness) -> None:
    lock, now, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def count() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        both.wait(PATIENCE)
        with lock:
            now -= 1

    use("count", count)
    harness.run("max_parallel: 2\nsteps:\n" + "".join(f"  - {{id: s{n}, uses: count, needs: []}}\n" for n in range(8)))
    assert most == 2


def test_the_longest_chain_starts_first(harness: Harness, ran: list[Any]) -> None:
    harness.run(
        """
        max_parallel: 1
        steps:
          - {id: short, uses: note, with: {what: short}, needs: []}
          - {id: long, uses: note, with: {what: long}, needs: []}
          - {id: long2, uses: note, with: {what: long2}, needs: [long]}
          - {id: long3, uses: note, with: {what: long3}, needs: [long2]}
        """
    )
    assert ran == ["long", "long2", "short", "long3"]


def test_a_sequence_runs_in_the_thread_that_called_the_engine(harness: Harness) -> None:
    threads: list[int] = []
    use("where", lambda: threads.append(threading.get_ident()))
    harness.run("steps: [{uses: where}, {uses: where}, {steps: [{uses: where}]}]")
    assert threads == [threading.get_ident()] * 3


def test_async_actions_share_one_loop_and_hold_no_threads(harness: Harness) -> None:
    import asyncio

    threads: set[int] = set()

    async def wait() -> None:
        threads.add(threading.get_ident())
        await asyncio.sleep(0.01)

    use("wait", wait)
    text = "max_parallel: 50\nsteps:\n" + "".join(f"  - {{id: s{n}, uses: wait, needs: []}}\n" for n in range(50))
    assert harness.run(text).status is Status.COMPLETED
    assert len(threads) == 1
    assert threads != {threading.get_ident()}


def test_a_false_condition_skips_and_later_steps_run(harness: Harness, ran: list[Any]) -> None:
    task = harness.run(
        """
        steps:
          - {id: a, if: "1 > 2", uses: note, with: {what: a}}
          - {id: b, uses: note, with: {what: "${{ steps.a.status }} ${{ steps.a.output }}"}}
        """
    )
    assert ran == ["skipped null"]
    assert harness.statuses(task) == {"a": "skipped", "b": "completed"}


def test_groups_are_seen_from_outside_as_one_step(harness: Harness) -> None:
    task = harness.run(
        """
        steps:
          - id: last
            steps: [{id: a, output: 1}, {id: b, output: "${{ steps.a.output + 1 }}"}]
          - id: shaped
            steps: [{id: c, output: 5}, {id: d, output: 6}]
            output: "${{ steps.c.output + steps.last.output }}"
          - id: both
            parallel: [{id: e, output: 1}, {output: 2}]
        outputs: {last: "${{ steps.last.output }}", shaped: "${{ steps.shaped.output }}",
                  both: "${{ steps.both.output }}"}
        """
    )
    assert harness.outputs(task) == {"last": 2, "shaped": 7, "both": {"e": 1, "output-2": 2}}


@pytest.mark.parametrize(("n", "expected"), [(1, "one"), (2, "two"), (3, None)])
def test_switch_takes_the_first_case_that_holds(harness: Harness, n: int, expected: str | None) -> None:
    task = harness.run(
        """
        variables: {n: {type: integer}}
        steps:
          - id: choice
            switch:
              - {if: variables.n == 1, steps: [{output: one}]}
              - {if: variables.n <= 2, steps: [{output: two}]}
        outputs: {chosen: "${{ steps.choice.output }}"}
        """,
        n=n,
    )
    assert harness.outputs(task) == {"chosen": expected}


def test_switch_falls_to_its_default(harness: Harness) -> None:
    task = harness.run("steps: [{id: s, switch: [{if: false, steps: [{output: 1}]}, {steps: [{output: 2}]}]}]")
    assert harness.output(task, "s") == 2


def test_outputs_are_what_json_makes_of_them(harness: Harness) -> None:
    use("tuple", lambda: {1: (1, 2), "set": {3}})
    task = harness.run("steps: [{id: a, uses: tuple}, {id: b, output: '${{ steps.a.output }}'}]")
    assert harness.output(task, "b") == {"1": [1, 2], "set": [3]}


def test_changing_an_input_changes_nobody_elses(harness: Harness, ran: list[Any]) -> None:
    use("spoil", lambda values: values.append("spoiled"))
    task = harness.run(
        """
        steps:
          - {id: a, output: [1]}
          - {id: b, uses: spoil, with: {values: "${{ steps.a.output }}"}}
          - {id: c, uses: note, with: {what: "${{ steps.a.output }}"}}
        """
    )
    assert ran == [[1]]
    assert harness.output(task, "a") == [1]


def test_large_outputs_lie_apart_and_read_back_whole(harness: Harness, ran: list[Any]) -> None:
    use("large", lambda: "x" * 200_000)
    task = harness.run(
        "steps: [{id: a, uses: large}, {id: b, uses: note, with: {what: '${{ steps.a.output | length }}'}}]"
    )
    assert ran == [200_000]
    assert not isinstance(harness.steps(task)["a"].output, str)
    assert harness.output(task, "a") == "x" * 200_000


def test_files_travel_to_later_steps(harness: Harness) -> None:
    task = harness.run(
        """
        steps:
          - {id: make, run: "mkdir d; echo hi > d/a.txt", files: ["d/*.txt"]}
          - {id: read, run: "cat d/a.txt", needs_files: [make]}
        outputs: {names: "${{ steps.make.files | list }}", text: "${{ steps.read.output.stdout }}"}
        """
    )
    assert harness.outputs(task) == {"names": ["d/a.txt"], "text": "hi"}


def test_uploads_are_restored_by_the_name_of_their_variable(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    upload = {**harness.files.put(tmp_path / "rows.csv"), "name": "uploads/rows.csv"}
    task = harness.run(
        """
        variables: {data: {type: file}, more: {type: list, items: file}}
        steps:
          - {id: rows, uses: csv.parse, with: {path: rows.csv}, needs_files: [data, more]}
        """,
        data=upload,
        more=[],
    )
    assert harness.output(task, "rows") == [{"a": "1", "b": "2"}]


def test_files_of_equal_names_are_refused(harness: Harness) -> None:
    task = harness.run(
        """
        steps:
          - {id: make, foreach: [1, 2], run: "echo hi > a.txt", files: [a.txt]}
          - {id: read, run: "cat a.txt", needs_files: [make]}
        """
    )
    assert task.error is not None
    assert "two of the files" in task.error.message


def test_stop_ends_the_task_on_purpose(harness: Harness, ran: list[Any]) -> None:
    text = """
        steps:
          - {id: a, uses: stop, with: {status: %s, message: enough}}
          - {id: b, uses: note, with: {what: b}}
        finally: [{id: z, uses: note, with: {what: z}}]
        """
    assert harness.run(text % "completed").status is Status.COMPLETED
    assert harness.run(text % "cancelled").status is Status.CANCELLED
    assert ran == ["z", "z"]


def test_now_uuid_and_random_stand_still_for_one_step(harness: Harness) -> None:
    task = harness.run(
        """
        steps:
          - {id: a, output: ["${{ uuid() }}", "${{ uuid() }}", "${{ random() }}", "${{ now() }}"]}
          - {id: b, output: "${{ uuid() }}"}
        """
    )
    first, second, number, _ = harness.output(task, "a")
    assert len({first, second, harness.output(task, "b")}) == 3
    assert 0 <= number < 1
