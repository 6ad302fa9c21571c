"""The graph of a list of steps: edges, problems, reachability, heights, the countdown and the drawing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.graph import Graph, Needs, Progress, build, levels, render


def graph(
    *needs: Needs, references: dict[int, set[str]] | None = None, parallel: bool = False, names: str = "abcdefgh"
) -> Graph:
    mentioned = [(references or {}).get(position, set()) for position in range(len(needs))]
    return build(names[: len(needs)], needs, mentioned, parallel)


def run(made: Graph, take: Callable[[list[int]], int] = min) -> list[int]:
    """Runs it one step at a time; gives the order in which steps ran."""
    progress = Progress(made)
    ready = progress.start()
    ran = []
    while ready:
        position = take(ready)
        ready.remove(position)
        ran.append(position)
        ready += progress.done(position)
    assert progress.left == len(made) - len(ran)
    return ran


def test_without_needs_each_step_follows_the_one_before() -> None:
    made = graph(None, None, None)
    assert made.before == ((), (0,), (1,))
    assert made.after == ((1,), (2,), ())
    assert made.waits_for == (0, 1, 1)
    assert made.order == (0, 1, 2)
    assert made.height == (2, 1, 0)
    assert made.problems == ()


def test_in_a_parallel_group_steps_start_at_once_unless_they_need_or_mention_one() -> None:
    made = graph(None, None, ["a"], None, references={3: {"b"}}, parallel=True)
    assert made.before == ((), (), (0,), (1,))
    assert Progress(made).start() == [0, 1]


def test_empty_needs_start_at_once_and_names_wait_for_all_of_them() -> None:
    made = graph(None, [], ["a", "b", "a"])
    assert made.before == ((), (), (0, 1))
    progress = Progress(made)
    assert progress.start() == [0, 1]
    assert progress.done(1) == []
    assert progress.done(0) == [2]


def test_references_add_edges_to_steps_of_the_list_only() -> None:
    made = graph(None, [], [], references={2: {"a", "c", "outer"}})
    assert made.before == ((), (), (0,))


def test_a_list_without_steps() -> None:
    made = build([], [], [])
    assert (len(made), levels(made), render(made, []), Progress(made).start()) == (0, [], "", [])


@pytest.mark.parametrize("arrivals", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_partial_join_fires_once_after_enough_of_its_steps(arrivals: tuple[int, ...]) -> None:
    progress = Progress(graph([], [], [], (2, ["a", "b", "c"])))
    assert progress.start() == [0, 1, 2]
    assert [progress.done(position) for position in arrivals] == [[], [3], []]
    assert progress.left == 1


@pytest.mark.parametrize(("arrivals", "released"), [((0, 1, 2), [[], [], [3]]), ((2, 1, 0), [[], [3], []])])
def test_a_partial_join_waits_for_what_it_mentions_besides(arrivals: Sequence[int], released: list[list[int]]) -> None:
    made = graph([], [], [], (1, ["a", "b"]), references={3: {"a", "c"}})
    assert made.some_of[3] == {0, 1}
    assert made.waits_for[3] == 2
    progress = Progress(made)
    assert [progress.done(position) for position in arrivals] == released


def test_a_step_that_ended_before_its_turn_is_not_ready_again() -> None:
    progress = Progress(graph(None, None, None))
    assert progress.done(1) == [2]
    assert progress.done(0) == []


def test_a_step_is_done_once() -> None:
    progress = Progress(graph(None, None))
    progress.done(0)
    with pytest.raises(ValueError, match="step 0 is done already"):
        progress.done(0)


@pytest.mark.parametrize(
    ("needs", "problems"),
    [
        (
            [None, ["fetsh"]],
            [(1, "needs the unknown step 'fetsh' (did you mean 'fetch'?); it can name steps of its own list")],
        ),
        ([["fetch"], None], [(0, "fetch waits for itself: fetch → fetch")]),
        ([["total"], ["fetch"]], [(0, "fetch waits for total, which comes after it: fetch → total → fetch")]),
        ([None, (2, ["fetch", "fetch"])], [(1, "needs any 2, but names only 1 steps")]),
        (
            [["x1"], ["y2"]],
            [
                (0, "needs the unknown step 'x1'; it can name steps of its own list"),
                (1, "needs the unknown step 'y2'; it can name steps of its own list"),
            ],
        ),
    ],
)
def test_problems_name_the_step_and_what_is_wrong(needs: list[Needs], problems: list[tuple[int, str]]) -> None:
    assert list(build(["fetch", "total"], needs, [set(), set()]).problems) == problems


def test_a_reference_to_a_later_step_is_a_cycle_named_in_full() -> None:
    made = graph(None, None, None, references={0: {"c"}})
    assert made.problems == ((0, "a waits for c, which comes after it: a → b → c → a"),)


def test_each_cycle_is_reported_and_what_is_behind_one_is_not() -> None:
    made = graph(["b"], ["a"], ["b"], ["e"], ["d"], ["x"])
    assert [position for position, _ in made.problems] == [0, 3, 5]
    assert sorted(made.order) == [0, 1, 2, 3, 4, 5]


def test_a_step_without_id_is_named_by_its_place_and_a_long_cycle_is_shortened() -> None:
    count = 1000
    made = build([None, "last", *[None] * count], [["last"], *[None] * (count + 1)], [set()] * (count + 2))
    assert made.problems == ((0, "step 1 waits for last, which comes after it: step 1 → last → step 1"),)
    ids = [f"s{number}" for number in range(count)]
    ((position, message),) = build(ids, [["s999"], *[None] * (count - 1)], [set()] * count).problems
    assert position == 0
    assert message.startswith("s0 waits for s999, which comes after it: s0 → s1 → ")
    assert "s19 → … → s981" in message
    assert message.endswith("s999 → s0")


def test_ancestors_and_precedes_follow_every_path() -> None:
    made = graph(None, None, [], ["b", "c"], [])
    assert made.ancestors(3) == {0, 1, 2}
    assert made.precedes(0, 3)
    assert made.precedes(2, 3)
    assert not made.precedes(3, 0)
    assert not made.precedes(0, 2)
    assert not made.precedes(4, 3)
    assert not made.precedes(0, 0)


def test_long_lists_need_no_recursion() -> None:
    count = 100_000
    made = build([None] * count, [None] * count, [()] * count)
    assert made.height[0] == count - 1
    assert made.precedes(0, count - 1)
    assert len(made.ancestors(count - 1)) == count - 1
    assert run(made, take=lambda ready: ready[0]) == list(range(count))


def test_a_join_of_many_is_linear() -> None:
    names = [f"s{number}" for number in range(10_000)]
    made = build([*names, "join"], [*[[]] * 10_000, names], [()] * 10_001)
    assert run(made, take=lambda ready: ready[-1])[-1] == 10_000


def test_many_unknown_names_are_all_reported() -> None:
    names = [f"step_{number}" for number in range(3000)]
    made = build(names, [[f"{name}x"] for name in names], [()] * len(names))
    assert len(made.problems) == 3000
    assert sum("did you mean" in message for _, message in made.problems) == 20


@st.composite
def acyclic(draw: st.DrawFn) -> Graph:
    """Any graph whose edges point forward in the list."""
    count = draw(st.integers(0, 8))
    ids = [f"s{number}" for number in range(count)]

    def one(position: int) -> Iterator[Needs]:
        names = draw(st.lists(st.sampled_from(ids[:position]), unique=True)) if position else []
        yield from (None, names, (draw(st.integers(0, len(names))), names))

    needs = [draw(st.sampled_from(list(one(position)))) for position in range(count)]
    references = [draw(st.sets(st.sampled_from(ids[: position + 1]))) for position in range(count)]
    return build(ids, needs, references, draw(st.booleans()))


@given(acyclic(), st.data())
def test_every_step_runs_once_and_after_enough_others_in_whatever_order_they_end(
    made: Graph, data: st.DataObject
) -> None:
    ran = run(made, take=lambda ready: data.draw(st.sampled_from(ready)))
    assert made.problems == ()
    assert sorted(ran) == list(range(len(made)))
    for position in ran:
        earlier = set(ran[: ran.index(position)])
        assert set(made.before[position]) - made.some_of[position] <= earlier
        assert len(made.some_of[position] & earlier) >= made.any_of[position]


@given(acyclic())
def test_order_heights_levels_and_reachability_agree(made: Graph) -> None:
    level = {position: number for number, row in enumerate(levels(made)) for position in row}
    for position in range(len(made)):
        for earlier in made.before[position]:
            assert made.order.index(earlier) < made.order.index(position)
            assert level[earlier] < level[position]
            assert made.height[earlier] > made.height[position]
        assert {other for other in range(len(made)) if made.precedes(other, position)} == made.ancestors(position)


def test_the_drawing_shows_levels_and_what_each_step_waits_for() -> None:
    made = graph(None, ["a"], ["a"], (1, ["b", "c"]), references={3: {"a"}})
    assert render(made, ["fetch", "load", "archive", "page"]) == (
        "  1 ──► fetch\n"
        "  2 ┬─► load     after fetch\n"
        "    └─► archive  after fetch\n"
        "  3 ──► page     after fetch and 1 of load, archive"
    )


def test_a_long_list_is_drawn_as_a_list() -> None:
    labels = [f"s{number}" for number in range(51)]
    lines = render(build(labels, [None] * 51, [()] * 51), labels).splitlines()
    assert lines[:2] == ["s0", "s1  after s0"]
    assert len(lines) == 51
