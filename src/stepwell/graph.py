"""The dependency graph of one list of steps: what runs after what, and a countdown that says what is ready."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import cast

from stepwell.errors import did_you_mean

Needs = None | Sequence[str] | tuple[int, Sequence[str]]
"""None: after the step before; names: after all of them; `(k, names)`: after any k of them."""

DRAWN = 50
"""`render` draws levels up to this many steps, and writes a plain list beyond."""

NAMED = 40
"""A longer cycle is named by its first and last steps only."""

HINTED = 20
"""So many unknown names get a `did you mean`; to look for one is slow in a long list."""


@dataclass(frozen=True)
class Graph:
    """Which steps of one list wait for which; a step is named by its position in the list, from 0.

    `before[i]` and `after[i]` are the steps directly before and after step i, ascending. `waits_for[i]` is how many
    of `before[i]` must end before it starts: all of them, except that of `some_of[i]` (a partial join) only
    `any_of[i]` are needed. `order` is topological, as near to the list as it can be. `height[i]` is the number of
    steps on the longest chain after it. `problems` are `(position, message)`; with a cycle among them, the order,
    heights and levels of its steps mean nothing.
    """

    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]
    some_of: tuple[frozenset[int], ...]
    any_of: tuple[int, ...]
    waits_for: tuple[int, ...]
    order: tuple[int, ...]
    height: tuple[int, ...]
    problems: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.before)

    def ancestors(self, position: int) -> frozenset[int]:
        """Every step on a path to this one; O(edges) for each call."""
        found: set[int] = set()
        todo = [position]
        while todo:
            new = [step for step in self.before[todo.pop()] if step not in found]
            found.update(new)
            todo.extend(new)
        return frozenset(found)

    def precedes(self, first: int, second: int) -> bool:
        """Whether there is a path from the first to the second, so that one may have run before the other.

        A path only descends, so higher steps than the first are not looked at: cheap for steps that are near.
        """
        seen = {second}
        todo = [second]
        while todo:
            position = todo.pop()
            if first in self.before[position]:
                return True
            new = [p for p in self.before[position] if p not in seen and self.height[p] < self.height[first]]
            seen.update(new)
            todo.extend(new)
        return False


class Progress:
    """A countdown over a graph: says once of each step that it is ready. All calls together cost O(edges)."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._waits = list(graph.waits_for)
        self._any = list(graph.any_of)
        self._done = [False] * len(graph)
        self.left = len(graph)
        """How many steps are not done."""

    def start(self) -> list[int]:
        """The steps that wait for nothing, ascending."""
        return [position for position, count in enumerate(self._graph.waits_for) if count == 0]

    def done(self, position: int) -> list[int]:
        """A step has ended; gives the steps that became ready by it, ascending. Twice for one is a `ValueError`."""
        if self._done[position]:
            raise ValueError(f"step {position} is done already")
        self._done[position] = True
        self.left -= 1
        return [later for later in self._graph.after[position] if self._released(later, position)]

    def _released(self, later: int, ended: int) -> bool:
        if ended in self._graph.some_of[later]:
            if self._any[later] == 0:
                return False
            self._any[later] -= 1
        self._waits[later] -= 1
        return self._waits[later] == 0 and not self._done[later]


def build(
    ids: Sequence[str | None],
    needs: Sequence[Needs],
    references: Sequence[Collection[str]],
    parallel: bool = False,
) -> Graph:
    """The graph of a list of steps.

    `needs[i]` as in `Needs`; in a `parallel` group None means at once. `references[i]` are the ids that step i
    mentions; those of this list (itself excepted, and the names of its own partial join, which it may read whether
    they have ended or not) come before it too. Ids are taken to be unique. What is wrong stands in `problems`.
    """
    places = {name: position for position, name in enumerate(ids) if name is not None}
    problems: list[tuple[int, str]] = []
    before: list[tuple[int, ...]] = []
    some_of: list[frozenset[int]] = []
    any_of: list[int] = []
    for position, need in enumerate(needs):
        count, names = _names(need)
        problems += [(position, message) for message in _unknown(names, places, len(problems) < HINTED)]
        named = {places[name] for name in names if name in places}
        some = frozenset(named) if count is not None else frozenset()
        if count is not None and count > len(set(names)):
            problems.append((position, f"needs any {count}, but names only {len(set(names))} steps"))
        previous = {position - 1} if need is None and position and not parallel else set()
        mentioned = {places[name] for name in references[position] if name in places} - {position}
        before.append(tuple(sorted(named | previous | mentioned)))
        some_of.append(some)
        any_of.append(count or 0)
    return _graph(ids, before, some_of, any_of, problems)


def levels(graph: Graph) -> list[list[int]]:
    """The steps by the length of the longest chain before them: nothing in a level waits for another of it."""
    depth = [0] * len(graph)
    for position in graph.order:
        depth[position] = 1 + max((depth[earlier] for earlier in graph.before[position]), default=-1)
    rows: list[list[int]] = [[] for _ in range(1 + max(depth, default=-1))]
    for position, level in enumerate(depth):
        rows[level].append(position)
    return rows


def render(graph: Graph, labels: Sequence[str]) -> str:
    """A text drawing: a numbered level for what may run at the same time, and after what each step runs."""
    if len(graph) > DRAWN:
        return "\n".join(f"{labels[position]}{_after(graph, labels, position)}" for position in graph.order)
    width = max(map(len, labels), default=0)
    lines = []
    for number, level in enumerate(levels(graph), start=1):
        for position, branch in zip(level, _branches(len(level)), strict=True):
            head = str(number) if position == level[0] else ""
            label = labels[position].ljust(width)
            lines.append(f"{head:>3} {branch}► {label}{_after(graph, labels, position)}".rstrip())
    return "\n".join(lines)


def _names(need: Needs) -> tuple[int | None, Sequence[str]]:
    """How many are needed (None: all), and of which names."""
    if need is None:
        return None, ()
    if isinstance(need, tuple) and need and isinstance(need[0], int):
        return cast("tuple[int, Sequence[str]]", need)
    return None, cast("Sequence[str]", need)


def _unknown(names: Sequence[str], places: Collection[str], hinted: bool) -> Iterator[str]:
    for name in names:
        if name not in places:
            hint = did_you_mean(name, places) if hinted else ""
            yield f"needs the unknown step {name!r}{hint}; it can name steps of its own list"


def _graph(
    ids: Sequence[str | None],
    before: list[tuple[int, ...]],
    some_of: list[frozenset[int]],
    any_of: list[int],
    problems: list[tuple[int, str]],
) -> Graph:
    after = _reversed(before)
    order = _order(before, after)
    left = set(range(len(ids))).difference(order)
    problems += _cycles(ids, before, left)
    return Graph(
        before=tuple(before),
        after=after,
        some_of=tuple(some_of),
        any_of=tuple(any_of),
        waits_for=tuple(len(b) - len(s) + a for b, s, a in zip(before, some_of, any_of, strict=True)),
        order=(*order, *sorted(left)),
        height=_heights(order, after),
        problems=tuple(sorted(problems)),
    )


def _reversed(before: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    after: list[list[int]] = [[] for _ in before]
    for position, earlier in enumerate(before):
        for step in earlier:
            after[step].append(position)
    return tuple(map(tuple, after))


def _order(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[int]:
    """Topological, the smallest position first (Kahn 1962); what is in or behind a cycle is left out."""
    waits = [len(earlier) for earlier in before]
    ready = [position for position, count in enumerate(waits) if count == 0]
    heapify(ready)
    order = []
    while ready:
        position = heappop(ready)
        order.append(position)
        for later in after[position]:
            waits[later] -= 1
            if waits[later] == 0:
                heappush(ready, later)
    return order


def _heights(order: Sequence[int], after: Sequence[Sequence[int]]) -> tuple[int, ...]:
    height = [0] * len(after)
    for position in reversed(order):
        height[position] = 1 + max((height[later] for later in after[position]), default=-1)
    return tuple(height)


def _cycles(
    ids: Sequence[str | None], before: Sequence[Sequence[int]], left: Collection[int]
) -> Iterator[tuple[int, str]]:
    """A problem for each cycle that is met when one walks backwards from the steps that the order left out.

    All of them are in a cycle or behind one, so each has a step before it that was left out too.
    """
    walked: set[int] = set()
    for start in sorted(left):
        path: list[int] = []
        position = start
        while position not in walked:
            walked.add(position)
            path.append(position)
            position = next(earlier for earlier in before[position] if earlier in left)
        if position in path:
            yield _cycle(ids, path[path.index(position) :])


def _cycle(ids: Sequence[str | None], backwards: list[int]) -> tuple[int, str]:
    forwards = backwards[::-1]
    first = forwards.index(min(forwards))
    cycle = [*forwards[first:], *forwards[: first + 1]]
    names = [ids[position] or f"step {position + 1}" for position in cycle]
    waits_for = "itself" if cycle[-2] == cycle[0] else f"{names[-2]}, which comes after it"
    reason = f"{names[0]} waits for {waits_for}"
    if len(names) > NAMED:
        names[NAMED // 2 : -NAMED // 2] = ["…"]
    return cycle[0], f"{reason}: {' → '.join(names)}"


def _branches(count: int) -> list[str]:
    return ["──"] if count == 1 else ["┬─", *["├─"] * (count - 2), "└─"]


def _after(graph: Graph, labels: Sequence[str], position: int) -> str:
    """`  after a, b and 1 of c, d`, or nothing."""
    some = graph.some_of[position]
    parts = [", ".join(labels[step] for step in graph.before[position] if step not in some)]
    if some:
        parts.append(f"{graph.any_of[position]} of " + ", ".join(labels[step] for step in sorted(some)))
    text = " and ".join(filter(None, parts))
    return f"  after {text}" if text else ""
