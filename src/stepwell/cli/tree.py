"""The lines of the tree of steps: the plan of a workflow and what is known of its steps, as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from stepwell.cli.follow import Seen
from stepwell.cli.output import duration, reason
from stepwell.plan import Block, Node, Plan

ACTIVE = frozenset({"running", "retrying", "waiting", "failed"})
"""What is shown first where there is not room for all."""

ASIDE = frozenset({"on_failure", "compensate"})
"""The blocks of a step that run beside what is inside it."""

UNSEEN = Seen()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the tree; `attempts` is `2/4`, `note` the last log line or the error."""

    path: str
    depth: int
    label: str
    status: str
    attempts: str = ""
    took: str = ""
    note: str = ""


def lines(plan: Plan, steps: Mapping[str, Seen], now: float) -> list[Line]:
    """Every step in order of the definition; what runs only after a failure is there once it has begun."""
    return list(_Tree(plan.included, steps, now).plan(plan))


def cropped(tree: Sequence[Line], height: int) -> list[Line]:
    """At most `height` lines: those of active steps first, then their neighbours before; the rest is counted."""
    if len(tree) <= height:
        return list(tree)
    active = [number for number, line in enumerate(tree) if line.status in ACTIVE]
    begun = [number for number, line in enumerate(tree) if line.status != "pending"]
    last = begun[-1] if begun else 0
    nearest = sorted(range(len(tree)), key=lambda number: abs(number - last))
    chosen = set(list(dict.fromkeys([*active[-height:], *nearest]))[: height - 1])
    left = Counter(line.status for number, line in enumerate(tree) if number not in chosen)
    counts = ", ".join(f"{count} {status}" for status, count in left.most_common())
    return [*(tree[number] for number in sorted(chosen)), Line("", 0, f"… and {counts}", "")]


class _Tree:
    """Walks a plan beside what is known of its steps."""

    def __init__(self, included: Mapping[str, Plan], steps: Mapping[str, Seen], now: float) -> None:
        self._included, self._steps, self._now = included, steps, now
        self._begun = {prefix for path in steps for prefix in _prefixes(path)}

    def plan(self, plan: Plan, path: str = "", depth: int = 0) -> Iterator[Line]:
        """All of a workflow; of one inside a step, that is at `path`."""
        yield from self._block(plan.steps, path, depth)
        for name, block in (("on_failure", plan.on_failure), ("on_cancel", plan.on_cancel), ("finally", plan.finally_)):
            yield from self._aside(block, f"{path}/{name}" if path else name, depth)

    def _block(self, block: Block, path: str, depth: int) -> Iterator[Line]:
        for node in block.nodes:
            yield from self._node(node, f"{path}/{node.name}" if path else node.name, depth)

    def _node(self, node: Node, path: str, depth: int) -> Iterator[Line]:
        yield self._line(node, path, depth)
        if node.foreach is None and node.until is None and node.queue is None:
            if node.block is not None:
                yield from self._block(node.block, path, depth + 1)
            yield from self._case(node, path, depth)
            yield from self._workflow(node, path, depth)
        yield from self._aside(node.on_failure, f"{path}/on_failure", depth + 1)
        yield from self._aside(node.compensate, f"{path}/compensate", depth + 1)

    def _case(self, node: Node, path: str, depth: int) -> Iterator[Line]:
        """The steps of the case that was chosen: the one that has all that was begun, for cases share names like
        `log-1`."""
        begun = self._begun_in(path) if node.cases else set()
        for _, block in node.cases:
            if begun and begun <= {inner.name for inner in block.nodes}:
                yield from self._block(block, path, depth + 1)
                return

    def _begun_in(self, path: str) -> set[str]:
        """The names of the steps directly inside one that were begun."""
        inside = (begun.rpartition("/") for begun in self._begun)
        return {name.partition("[")[0] for outer, _, name in inside if outer == path} - ASIDE

    def _workflow(self, node: Node, path: str, depth: int) -> Iterator[Line]:
        """The steps of another workflow, once it has begun: it may run itself, without end."""
        plan = self._included.get(node.step.workflow or "")
        if plan is not None and any(f"{path}/{inner.name}" in self._begun for inner in plan.steps.nodes):
            yield from self.plan(plan, path, depth + 1)

    def _aside(self, block: Block | None, path: str, depth: int) -> Iterator[Line]:
        if block is not None and path in self._begun:
            yield Line(path, depth, path.rpartition("/")[2], "")
            yield from self._block(block, path, depth + 1)

    def _line(self, node: Node, path: str, depth: int) -> Line:
        seen = self._steps.get(path, UNSEEN)
        note = reason(seen.note) if seen.note else ""
        return Line(
            path=path,
            depth=depth,
            label=node.name,
            status=seen.status,
            attempts=attempts(node, seen),
            took=duration(seen.seconds(self._now)),
            note=" ".join(filter(None, (parts(seen), note))),
        )


def attempts(node: Node, seen: Seen) -> str:
    """`2/4` where retries are a plain number; the second attempt alone where they are not; else nothing."""
    retry = node.step.retry
    allowed = retry.max_retries if retry is not None else None
    if seen.attempts and isinstance(allowed, int) and node.foreach is None:
        return f"{seen.attempts}/{allowed + 1}"
    return str(seen.attempts) if seen.attempts > 1 else ""


def parts(seen: Seen) -> str:
    """`9998/10000 done, 2 failed, 8 running` of a `foreach`, `round 3` of an `until`."""
    if not seen.parts:
        return ""
    if not seen.total:
        return f"round {sum(seen.parts.values())}"
    failed, running = seen.parts["failed"], seen.parts["running"] if seen.status == "running" else 0
    counts = [f"{failed} failed" if failed else "", f"{running} running" if running else ""]
    return ", ".join([f"{seen.parts['completed']}/{seen.total} done", *filter(None, counts)])


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[: number + 1]) for number in range(len(parts)))
