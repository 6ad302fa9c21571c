"""`stepwell run` of workflows that wait or have child tasks, and `stepwell signal`: real programs, without a server."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.cli_program import CTRL_C, Project, interrupt
from tests.acceptance.serving import eventually

RELEASE = """
steps:
  - {id: before, output: 1}
  - {id: release, wait: {approval: Publish it?}}
outputs: {answer: "${{ steps.release.output }}"}
"""
PRICE = """
steps:
  - id: price
    wait:
      approval: How much?
      variables: {amount: {type: number, required: true}, tags: {type: list, items: string}}
outputs: {price: "${{ steps.price.output }}"}
"""
PAID = "steps: [{id: paid, wait: {event: order.paid}}]\noutputs: {event: '${{ steps.paid.output }}'}"
NAP = "steps: [{id: nap, wait: 300ms}, {id: after, output: rested}]\noutputs: {state: '${{ steps.after.output }}'}"
SPREAD = """
steps:
  - id: squares
    queue: workflow_execute
    foreach: {in: "${{ range(7) }}", max_parallel: 3}
    steps:
      - {id: nap, wait: 10ms}
      - {id: inner, output: "${{ item * item }}"}
  - {id: call, workflow: nap, queue: chat_process}
outputs: {squares: "${{ steps.squares.output }}", call: "${{ steps.call.output.state }}"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    one = Project(tmp_path)
    for name, text in (("release", RELEASE), ("price", PRICE), ("paid", PAID), ("nap", NAP), ("spread", SPREAD)):
        one.write(name, text)
    yield one
    one.close()


def left_waiting(project: Project, workflow: str) -> str:
    """The id of a task that waits, and that nobody looks at."""
    process = project.begin("run", workflow)
    eventually(lambda: project.run("task", "last").code == 0 and "◷ waiting" in project.ok("task", "last").out)
    ended = interrupt(process)
    assert ended.code == 130, ended.err
    task: str = project.ok("task", "last", "--json").document["task_id"]
    return task


def test_a_time_is_waited_for_in_the_terminal(project: Project) -> None:
    document = project.ok("run", "nap", "--json").document
    assert (document["status"], document["result"]["outputs"]) == ("completed", {"state": "rested"})


def test_it_tells_how_to_answer_and_goes_on(project: Project) -> None:
    terminal = project.terminal("run", "release")
    told = terminal.until("-d approved=true")
    found = re.search(r"answer with: stepwell signal (\S+) release", told)
    assert found
    assert re.search(r"release.*◷ waiting.*approval: Publish it\?", terminal.screen)
    project.ok("signal", found[1], "release", "-d", "approved=true", "-d", "comment=fine")
    assert terminal.ended() == 0
    assert '"comment": "fine"' in terminal.screen


def test_plain_lines_tell_it_too(project: Project) -> None:
    process = project.begin("run", "release")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, b"")
    line = next(line.decode() for line in lines if b"waiting" in line)
    answer = r"answer with: stepwell signal (\S+) release -d approved=true"
    found = re.fullmatch(rf"release: waiting \(approval: Publish it\?\); {answer}\n", line)
    assert found
    project.ok("signal", found[1], "release", "-d", "approved=false")
    assert process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_it_waiting(project: Project, number: signal.Signals) -> None:
    process = project.begin("run", "release")
    eventually(lambda: project.run("task", "last").code == 0 and "◷ waiting" in project.ok("task", "last").out)
    ended = interrupt(process, number)
    assert ended.code == 130
    assert re.search(r"waits on: a server goes on with it, or `stepwell retry`", ended.err)
    shown = project.ok("task", "last").out
    assert re.search(r"status +◷ waiting", shown)
    assert "answer with: stepwell signal" in shown
    project.ok("signal", "last", "release", "-d", "approved=true")
    again = project.ok("retry", "last", "--json").document
    assert (again["status"], again["result"]["outputs"]["answer"]["approved"]) == ("completed", True)


def test_ctrl_c_on_a_terminal_leaves_it_waiting(project: Project) -> None:
    terminal = project.terminal("run", "release")
    terminal.until("answer with")
    terminal.type(CTRL_C)
    assert terminal.ended() == 130
    assert "waits on" in terminal.screen


def test_fields_are_read_by_their_types(project: Project) -> None:
    task = left_waiting(project, "price")
    wrong = project.run("signal", task, "price", "-d", "amuont=3", "-d", "amount=much")
    assert wrong.code == 2
    assert "amuont: unknown field (did you mean 'amount'?)" in wrong.err
    assert "amount: must be a number" in wrong.err
    answer = project.ok("signal", task, "price", "-d", "amount=3.5", "-d", "tags=a, b", "--json").document
    assert answer == {"task_id": task, "name": "price", "accepted": True, "status": "queued"}
    assert project.ok("signal", task, "price", "--data", '{"amount": 3.5, "tags": ["a", "b"]}').out.count("already")
    assert project.run("signal", task, "price", "-d", "amount=4").code == 4
    outputs = project.ok("retry", task, "--json").document["result"]["outputs"]
    assert outputs == {"price": {"amount": 3.5, "tags": ["a", "b"]}}


def test_an_event_holds_anything(project: Project) -> None:
    task = left_waiting(project, "paid")
    assert project.run("signal", task, "order.payd", "-d", "a=1").code == 3
    assert project.run("signal", task, "order.paid", "-d", "a=1", "--data", "2").code == 2
    assert project.run("signal", task, "order.paid", "--data", "{").code == 2
    project.write("payload.json", '[1, {"b": null}]')
    project.ok("signal", task, "order.paid", "--data", "@payload.json", "--key", "k")
    assert "already" in project.ok("signal", task, "order.paid", "--data", "@payload.json", "--key", "k").out
    assert project.ok("retry", task, "--json").document["result"]["outputs"] == {"event": [1, {"b": None}]}


def test_children_run_in_the_same_terminal(project: Project) -> None:
    document = project.ok("run", "spread", "--json").document
    squares = [number * number for number in range(7)]
    assert document["result"]["outputs"] == {"squares": squares, "call": "rested"}
    task = document["task_id"]
    assert [one["task_id"] for one in project.ok("tasks", "--json").document["items"]] == [task]
    children = project.ok("tasks", "--parent", task, "--json").document["items"]
    places = [(one["place"], one.get("index"), one["status"]) for one in children]
    assert len([place for place, _, status in places if (place, status) == ("squares", "completed")]) == 7
    assert re.search(rf"parent +{task} \(squares, 2\)", project.ok("task", _of(children, "squares", 2)).out)


def test_an_event_of_another_terminal_wakes_it(project: Project) -> None:
    project.write("pay", "steps: [{uses: event.emit, with: {name: order.paid, payload: {n: 1}}}]")
    terminal = project.terminal("run", "paid")
    terminal.until("answer with")
    project.ok("run", "pay")
    assert terminal.ended() == 0
    assert '"n": 1' in terminal.screen


def _of(children: list[dict[str, object]], place: str, index: int) -> str:
    return next(str(one["task_id"]) for one in children if (one["place"], one["index"]) == (place, index))
