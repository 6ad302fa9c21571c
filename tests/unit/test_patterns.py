"""The control-flow patterns of van der Aalst, ter Hofstede and others as small workflows: which steps ran, and when.

The numbers are those of the revised catalogue; `docs/patterns.md` tells of all 43.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.docs_blocks import ROOT, table
from tests.unit.engine_cluster import Cluster
from tests.unit.engine_harness import EXTRA, Harness, use

from stepwell.engine.courier import Courier
from stepwell.loader import Catalog
from stepwell.ports import TaskFilter
from stepwell.publishing import Publisher
from stepwell.queues.silent import SilentQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Triggers
from stepwell.task import NewMail, Status, StepStatus, Task
from stepwell.values import encode


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    yield Cluster(Harness(tmp_path, suspend_after=0))
    EXTRA.clear()


@dataclass(frozen=True)
class Pattern:
    """A workflow, and the innermost steps of it that complete, in their order. What takes long is a wait of hours."""

    text: str
    completed: list[str]
    variables: dict[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()


SPLIT_AND_JOIN = """
steps:
  - {id: a, output: 1}
  - {id: b, needs: [a], wait: 2h}
  - {id: c, needs: [a], wait: 1h}
  - {id: d, needs: [b, c], output: 1}
"""
CHOICE = """
variables: {amount: {type: integer}}
steps:
  - id: choose
    switch:
      - {if: variables.amount < 10, steps: [{id: small, output: 1}]}
      - {if: variables.amount < 100, steps: [{id: medium, output: 1}]}
      - steps: [{id: large, output: 1}]
  - {id: merged, output: 1}
"""
TRIP = """
variables: {wanted: {type: list}}
steps:
  - {id: hotel, needs: [], if: "'hotel' in variables.wanted", wait: 2h}
  - {id: flight, needs: [], if: "'flight' in variables.wanted", wait: 1h}
  - {id: car, needs: [], if: "'car' in variables.wanted", wait: 3h}
  - {id: pay, needs: [hotel, flight, car], output: 1}
"""
BRANCHES = """
steps:
  - id: both
    parallel:
      - {id: letter, steps: [{id: written, wait: 2h}, {id: then, workflow: follow_up}]}
      - {id: call, steps: [{id: spoken, wait: 1h}, {id: after, workflow: follow_up}]}
"""
FOLLOW_UP = "{id: follow_up, steps: [{id: note, output: 1}]}"
JOIN = """
steps:
  - {id: a, needs: [], wait: 2h}
  - {id: b, needs: [], wait: 1h}
  - {id: c, needs: [], wait: 3h}
  - {id: go, needs: {any: WANTED, of: [a, b, c]}, output: 1}
"""
MESHED = """
steps:
  - {id: a, output: 1}
  - {id: b, needs: [a], if: false, output: 1}
  - {id: c, needs: [a], wait: 2h}
  - {id: d, needs: [a], wait: 1h}
  - {id: e, needs: [b, c], output: 1}
  - {id: f, needs: [b, d], output: 1}
  - {id: g, needs: [e, f], output: 1}
"""
FIRST = """
steps:
  - id: first
    race:
      - {id: region, steps: [{id: a, wait: 1h}, {id: b, wait: 1h}]}
      - {id: soon, wait: 90m}
  - {id: after, output: 1}
"""
REWORK = """
id: rework
variables: {round: {type: integer, default: 1}}
steps:
  - {id: write, wait: 1h}
  - {id: back, if: variables.round < 3, workflow: rework, with: {round: "${{ variables.round + 1 }}"}}
"""
ENDS = """
steps:
  - {id: a, needs: [], wait: 1h}
  - {id: b, needs: [], wait: 2h}
  - {id: c, needs: [a], output: 1}
"""
EACH = """
variables: {hours: {type: list, default: [3, 1, 2]}}
steps:
  - {id: each, foreach: {in: HOURS, max_parallel: 9}, OPTIONS wait: "${{ item }}h"}
  - {id: after, output: 1}
"""
ROUNDS = """
steps:
  - {id: drink, until: index == 1, steps: [{id: pour, wait: 1m}, {id: sip, output: 1}]}
  - {id: home, output: 1}
"""
STOPPED = """
steps:
  - {id: a, output: 1}
  - {id: b, needs: [a], wait: 1h}
  - {id: c, needs: [a], wait: 1m}
  - {id: enough, needs: [c], uses: stop}
  - {id: d, output: 1}
"""
SEQUENCE = "steps: [{id: a, output: 1}, {id: b, wait: 1h}, {id: c, output: 1}]"


def each(hours: str, options: str = "") -> str:
    return EACH.replace("HOURS", hours).replace("OPTIONS", options)


GIVEN = each('"${{ variables.hours }}"')
ITEMS = ["each[1]", "each[2]", "each[0]", "after"]
REWORKED = ["write", "back/write", "back/back/write"]

PATTERNS: dict[str, Pattern] = {
    "1 sequence": Pattern(SEQUENCE, ["a", "b", "c"]),
    "2 parallel split, 3 synchronization": Pattern(SPLIT_AND_JOIN, ["a", "c", "b", "d"]),
    "4 exclusive choice, 5 simple merge": Pattern(CHOICE, ["choose/small", "merged"], {"amount": 5}),
    "4 exclusive choice of the default": Pattern(CHOICE, ["choose/large", "merged"], {"amount": 500}),
    "6 multi-choice, 7 synchronizing merge": Pattern(TRIP, ["flight", "car", "pay"], {"wanted": ["car", "flight"]}),
    "6 multi-choice of none, 7": Pattern(TRIP, ["pay"], {"wanted": []}),
    "8 multi-merge, by a workflow": Pattern(
        BRANCHES,
        ["both/call/spoken", "both/call/after/note", "both/letter/written", "both/letter/then/note"],
        others=(FOLLOW_UP,),
    ),
    "9 discriminator": Pattern(JOIN.replace("WANTED", "1"), ["b", "go", "a", "c"]),
    "10 cycles by 22 recursion": Pattern(REWORK, REWORKED, others=(REWORK,)),
    "11 implicit termination": Pattern(ENDS, ["a", "c", "b"]),
    "13 instances, known when written": Pattern(each("[3, 1, 2]"), ITEMS),
    "13 branches, known when written": Pattern(JOIN.replace("WANTED", "3"), ["b", "a", "c", "go"]),
    "14 instances, known when begun": Pattern(GIVEN, ["each[1]", "each[0]", "after"], {"hours": [2, 1]}),
    "14 no instances": Pattern(GIVEN, ["each", "after"], {"hours": []}),
    "14 instances as child tasks": Pattern(each("[3, 1, 2]", "queue: other,"), ITEMS),
    "21 structured loop": Pattern(
        ROUNDS, ["drink[0]/pour", "drink[0]/sip", "drink[1]/pour", "drink[1]/sip", "home"]
    ),
    "25 cancel region, 29 cancelling discriminator": Pattern(FIRST, ["first/region/a", "first/soon", "after"]),
    "30 partial join": Pattern(JOIN.replace("WANTED", "2"), ["b", "a", "go", "c"]),
    "37 local synchronizing merge": Pattern(MESHED, ["a", "d", "f", "c", "e", "g"]),
    "43 explicit termination": Pattern(STOPPED, ["a", "c", "enough"]),
}  # fmt: skip


def completed(cluster: Cluster, task: Task) -> list[str]:
    """The innermost steps that completed, in the order in which they did."""
    records = cluster.harness.steps(task)
    leaves = [
        record
        for path, record in records.items()
        if record.status is StepStatus.COMPLETED
        and not any(re.match(rf"{re.escape(path)}[/\[]", one) for one in records)
    ]
    return [record.path for record in sorted(leaves, key=lambda record: record.completed_at or 0.0)]


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_which_steps_complete_in_which_order(cluster: Cluster, pattern: Pattern) -> None:
    task = cluster.run(pattern.text, *pattern.others, **pattern.variables)
    assert task.status is Status.COMPLETED, task.error
    assert completed(cluster, task) == pattern.completed


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_a_crash_at_any_write_changes_nothing_of_that(tmp_path: Path, pattern: Pattern) -> None:
    def ran(crash_at: int | None) -> Cluster:
        cluster = Cluster(Harness(tmp_path, suspend_after=0))
        cluster.harness.store.crash_at = crash_at
        task = cluster.run(pattern.text, *pattern.others, **pattern.variables)
        assert task.status is Status.COMPLETED, task.error
        assert completed(cluster, task) == pattern.completed
        return cluster

    for write in range(1, ran(None).harness.store.writes + 1):
        assert ran(write).crashes == 1


def waiting(cluster: Cluster, text: str) -> Task:
    """A task that has been run until it waits."""
    return cluster.finish(cluster.create(text), until=lambda task: task.status is Status.WAITING)


def signal(cluster: Cluster, task: Task, name: str, payload: object = None) -> Task:
    """The task after an event was sent to it alone, and it went on."""
    cluster.harness.store.send(task.task_id, NewMail(name, encode(payload)))
    assert cluster.work()
    return cluster.harness.store.get(task.task_id)


def test_wcp_2_parallel_split_runs_branches_at_the_same_time(cluster: Cluster) -> None:
    use("meet", threading.Barrier(2, timeout=20).wait)
    task = cluster.run("steps: [{id: a, output: 1}, {id: b, needs: [a], uses: meet}, {id: c, needs: [a], uses: meet}]")
    assert task.status is Status.COMPLETED, task.error
    assert sorted(completed(cluster, task)) == ["a", "b", "c"]


MANY = "steps: [{id: tell, foreach: [1, 2, 3], uses: event.emit, with: {name: told, payload: '${{ item }}'}}]"
TOLD = """
triggers: [{event: told, with: {number: "${{ event }}"}}]
variables: {number: {type: integer}}
steps: [{id: long, wait: 1h}]
"""


def test_wcp_12_instances_that_nobody_waits_for(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "told.yaml").write_text(TOLD, encoding="utf-8")
    store, queue, catalog = cluster.harness.store, SilentQueue(), Catalog(tmp_path, registry=actions)
    service = Service(store, queue, queue, catalog, Cipher(None), Defaults())
    courier = Courier(store, queue, "test", Triggers(service, catalog).fire)
    task = cluster.run(MANY)
    assert completed(cluster, task) == ["tell[0]", "tell[1]", "tell[2]"]
    courier.deliver()
    cluster.work()
    started = store.list(TaskFilter(workflow_id="told")).items
    assert [(one.status, one.variables) for one in reversed(started)] == [
        (Status.WAITING, f'{{"number":{number}}}') for number in (1, 2, 3)
    ]


PARCELS = """
steps:
  - id: parcels
    until: output == 'last'
    steps: [{id: parcel, wait: {event: parcel}}, {id: stored, output: "${{ steps.parcel.output }}"}]
  - {id: after, output: 1}
"""


def test_wcp_15_instances_whose_number_shows_on_the_way(cluster: Cluster) -> None:
    task = waiting(cluster, PARCELS)
    for payload in ("one", "another", "last"):
        task = signal(cluster, task, "parcel", payload)
    assert task.status is Status.COMPLETED
    rounds = [f"parcels[{index}]/{step}" for index in range(3) for step in ("parcel", "stored")]
    assert completed(cluster, task) == [*rounds, "after"]


DEFERRED = """
steps:
  - id: answer
    race:
      - {id: letter, steps: [{id: came, wait: {event: letter}}, {id: read, output: 1}]}
      - {id: call, steps: [{id: rang, wait: {event: call}}, {id: talk, output: 1}]}
      - {id: silence, wait: 14d}
  - {id: after, output: 1}
"""


@pytest.mark.parametrize(
    ("event", "winner", "ran"),
    [("letter", "letter", ["came", "read"]), ("call", "call", ["rang", "talk"]), (None, "silence", None)],
)
def test_wcp_16_deferred_choice(cluster: Cluster, event: str | None, winner: str, ran: list[str] | None) -> None:
    task = waiting(cluster, DEFERRED)
    task = cluster.finish(task) if event is None else signal(cluster, task, event)
    chosen = ["answer/silence"] if ran is None else [f"answer/{winner}/{step}" for step in ran]
    assert completed(cluster, task) == [*chosen, "after"]
    records = cluster.harness.steps(task)
    assert records["answer"].winner == winner
    lost = {f"answer/{name}" for name in ("letter", "call", "silence")} - {f"answer/{winner}"}
    assert {str(records[path].status) for path in lost} == {"cancelled"}


INTERLEAVED = """
max_parallel: 1
steps:
  - {id: x_ray, needs: [], uses: alone}
  - {id: blood, needs: [], uses: alone}
  - {id: result, needs: [blood], uses: alone}
  - {id: talk, needs: [x_ray, result], uses: alone}
"""


def test_wcp_17_and_40_one_at_a_time_in_a_task(cluster: Cluster) -> None:
    at_once, most = threading.Semaphore(1), list[bool]()

    def alone() -> None:
        most.append(at_once.acquire(blocking=False))
        at_once.release()

    use("alone", alone)
    order = completed(cluster, cluster.run(INTERLEAVED))
    assert sorted(order) == ["blood", "result", "talk", "x_ray"]
    assert order.index("blood") < order.index("result")
    assert order[-1] == "talk"
    assert most == [True] * 4


MILESTONE = """
steps:
  - id: until_shipped
    race:
      - {id: shipped, wait: {event: shipped}}
      - {id: change, steps: [{id: asked, wait: {event: change}}, {id: changed, output: 1}]}
  - {id: after, output: 1}
"""


@pytest.mark.parametrize(
    ("events", "ran"),
    [
        (["change", "shipped"], ["until_shipped/change/asked", "until_shipped/change/changed", "after"]),
        (["shipped", "change"], ["until_shipped/shipped", "after"]),
    ],
)
def test_wcp_18_milestone(cluster: Cluster, events: list[str], ran: list[str]) -> None:
    task = cluster.create(MILESTONE)
    for name in events:
        cluster.harness.store.send(task.task_id, NewMail(name, "null"))
        cluster.work()
        if cluster.harness.store.get(task.task_id).ended:
            break
    assert completed(cluster, cluster.harness.store.get(task.task_id)) == ran


CANCELLED = """
steps:
  - {id: before, output: 1}
  - id: work
    race: [{id: long, wait: 9d}, {id: withdrawn, wait: {event: withdraw}}]
  - {id: after, output: 1}
on_cancel: [{id: sorry, output: 1}]
"""


def test_wcp_19_a_step_is_cancelled_and_the_task_goes_on(cluster: Cluster) -> None:
    task = signal(cluster, waiting(cluster, CANCELLED), "withdraw")
    assert task.status is Status.COMPLETED
    assert completed(cluster, task) == ["before", "work/withdrawn", "after"]
    assert cluster.harness.statuses(task)["work/long"] == "cancelled"


def test_wcp_20_the_whole_task_is_cancelled(cluster: Cluster) -> None:
    task = waiting(cluster, CANCELLED)
    cluster.harness.store.cancel(task.task_id)
    task = cluster.finish(task)
    assert task.status is Status.CANCELLED
    assert completed(cluster, task) == ["before", "on_cancel/sorry"]
    assert {path for path, status in cluster.harness.statuses(task).items() if status == "cancelled"} == {
        "work", "work/long", "work/withdrawn"
    }  # fmt: skip


PERSISTENT = "steps: [{id: first, wait: 1h}, {id: second, wait: {event: news}}]"


def test_wcp_24_a_persistent_trigger_is_kept_until_somebody_waits(cluster: Cluster) -> None:
    task = waiting(cluster, PERSISTENT)
    Publisher(cluster.harness.store).publish("news", "early")
    task = cluster.finish(task)
    assert completed(cluster, task) == ["first", "second"]
    assert cluster.harness.output(task, "second") == "early"


CROWD = """
steps:
  - id: asked
    race:
      - {id: crowd, foreach: {in: [1, 2], max_parallel: 2}, QUEUE wait: {event: never}}
      - {id: enough, wait: {event: enough}}
  - {id: after, output: 1}
"""


@pytest.mark.parametrize("queue", ["", "queue: other,"])
def test_wcp_26_all_instances_are_cancelled(cluster: Cluster, queue: str) -> None:
    task = waiting(cluster, CROWD.replace("QUEUE", queue))
    cluster.work()
    cluster.harness.store.send(task.task_id, NewMail("enough", "null"))
    task = cluster.finish(task)
    assert completed(cluster, task) == ["asked/enough", "after"]
    statuses = cluster.harness.statuses(task)
    assert {statuses[f"asked/crowd{item}"] for item in ("", "[0]", "[1]")} == {"cancelled"}
    assert {child.status for child in cluster.children(task)} <= {Status.CANCELLED}


def test_wcp_35_no_further_instance_begins_after_enough(cluster: Cluster) -> None:
    text = "steps: [{id: bids, foreach: {in: [1, 2, 3], stop_after: 2}, wait: 1h}, {id: after, output: 1}]"
    assert completed(cluster, cluster.run(text)) == ["bids[0]", "bids[1]", "after"]


def test_every_pattern_that_is_said_to_be_there_is_shown_here() -> None:
    rows = [row for part in (ROOT / "docs" / "patterns.md").read_text().split("\n## ")[1:] for row in table(part)]
    said = {int(row[0]): row[2] for row in rows}
    names = [*PATTERNS, *(name for name in globals() if name.startswith("test_wcp_"))]
    shown = {int(number) for name in names for number in re.findall(r"(?<!\d)\d+(?!\d)", name)}
    assert set(said) == set(range(1, 44))
    assert {number for number, answer in said.items() if answer == "yes"} <= shown
