"""Signals: which step one is for, whether it fits, who may send it, and what a repeat does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine_cluster import Cluster
from tests.unit.engine_harness import Harness

from stepwell.errors import Conflict, Forbidden, InvalidInput, NotFound
from stepwell.loader import Catalog
from stepwell.plan import compile_definition
from stepwell.ports import Commit, Suspension
from stepwell.queues.silent import SilentQueue
from stepwell.registry import actions
from stepwell.secrets import Cipher
from stepwell.service import Defaults, Service, Submission
from stepwell.service.signals import MAX_PAYLOAD, Signals
from stepwell.service.waits import waiting_steps
from stepwell.settings import Settings
from stepwell.stores.memory import MemoryStore
from stepwell.task import Mail, NewMail, NewTask, Status, StepRecord, StepStatus, Task
from stepwell.values import decode
from stepwell.wiring import build

WORKFLOW = """
variables: {boss: {type: string, default: ada}}
steps:
  - {id: release, wait: {approval: "Publish?"}}
  - id: price
    wait:
      approval: What does it cost?
      variables: {amount: {type: number, required: true, min: 0}, tags: {type: list, items: string}}
      approvers: [ada, eve]
  - {id: late, wait: {approval: "Now?", approvers: ["${{ variables.boss }}"]}}
  - {id: paid, wait: {event: order.paid}}
  - id: each
    foreach: {in: [1, 2], as: n}
    steps: [{id: inner, wait: {approval: "${{ n }}?"}}]
  - {id: nap, wait: 1h}
"""
AGREED = {"approved": True}
FORM = {"approved": {"type": "boolean", "required": True}, "comment": {"type": "string"}}
NOBODY = "nobody waits for this"


class Parts:
    """A service over a memory store whose time stands still, and one task of a workflow."""

    def __init__(self, folder: Path, text: str = WORKFLOW) -> None:
        (folder / "w.yaml").write_text(text, encoding="utf-8")
        self.now = 1000.0
        self.store, queue = MemoryStore(now=lambda: self.now), SilentQueue()
        catalog = Catalog(folder, registry=actions)
        self.service = Service(self.store, queue, queue, catalog, Cipher(None), Defaults())
        self.task_id = self.service.submit(catalog.get("w"), Submission()).task_id

    def waits(self, path: str, status: StepStatus = StepStatus.WAITING, **wait: Any) -> None:
        """The task waits for an approval at this path, or did."""
        told = {"kind": "approval", "message": "?", "form": FORM, "approvers": None, "due": None, **wait}
        step_id = path.rpartition("/")[2]
        self.records(StepRecord(path, path, status, "wait", id=step_id, started_at=self.now, wait=told))

    def records(self, record: StepRecord) -> None:
        """A run writes this, and suspends."""
        if self.service.get(self.task_id).status is Status.WAITING:
            self.store.send(self.task_id, NewMail(NOBODY, "1"))
        token = f"{self.now}{record.path}"
        claim = self.store.claim(self.task_id, token, "test")
        assert claim is not None
        self.store.suspend(self.task_id, token, Commit(steps=[record]), Suspension(mail=len(claim.mail)))

    def ends(self) -> None:
        """The task completes."""
        assert self.store.claim(self.task_id, "last", "test") is not None
        self.store.finish(self.task_id, "last", Commit(), Status.COMPLETED, None, None)

    def signal(self, name: str, payload: Any = AGREED, sender: str | None = None, key: str | None = None) -> bool:
        return self.service.signal(self.task_id, name, payload, sender, key).accepted

    @property
    def mail(self) -> list[Mail]:
        return [mail for mail in self.store.mailbox(self.task_id) if mail.name != NOBODY]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_an_answer_wakes_the_task(parts: Parts) -> None:
    parts.waits("release")
    found = parts.service.signal(parts.task_id, "release", AGREED, "ada")
    assert (found.name, found.accepted, found.task.status) == ("release", True, Status.QUEUED)
    [mail] = parts.mail
    assert (mail.name, decode(mail.payload), mail.sender) == ("release", {"approved": True, "comment": None}, "ada")


def test_the_first_answer_counts(parts: Parts) -> None:
    parts.waits("release")
    assert [parts.signal("release", AGREED, "ada") for _ in range(2)] == [True, False]
    with pytest.raises(Conflict, match=r"'release' was answered already by ada"):
        parts.signal("release", {"approved": False}, "ada")
    with pytest.raises(Conflict, match="by ada"):
        parts.signal("release", AGREED, "eve")
    assert len(parts.mail) == 1


def test_what_comes_early_is_kept(parts: Parts) -> None:
    assert parts.signal("release")
    assert not parts.signal("release")
    assert [mail.name for mail in parts.mail] == ["release"]


@pytest.mark.parametrize("name", ["release", "price"])
@pytest.mark.parametrize("payload", [{}, {"approved": "perhaps", "amount": -1, "coment": 1}, [], None, "yes"])
@pytest.mark.parametrize("early", [True, False])
def test_what_does_not_fit_the_form_is_refused(parts: Parts, name: str, payload: Any, early: bool) -> None:
    if not early:
        parts.waits(name, form=FORM if name == "release" else {"amount": {"type": "number", "required": True}})
    with pytest.raises(InvalidInput) as refused:
        parts.signal(name, payload)
    fields = {problem.field for problem in refused.value.problems}
    assert fields <= {"approved", "amount", "coment", "payload"}
    assert (fields == {"payload"}) == (not isinstance(payload, dict))
    assert not parts.mail


def test_a_problem_names_its_field_and_the_known_one(parts: Parts) -> None:
    with pytest.raises(InvalidInput, match=r"tags\[1\]: must be a string") as refused:
        parts.signal("price", {"amount": 1, "tags": ["a", 2], "amuont": 3})
    assert "amuont: unknown field (did you mean 'amount'?)" in str(refused.value)


@pytest.mark.parametrize("early", [True, False])
def test_only_approvers_may_answer(parts: Parts, early: bool) -> None:
    if not early:
        parts.waits("price", form={"amount": {"type": "number"}}, approvers=["ada", "eve"])
    with pytest.raises(Forbidden, match="'bob' may not answer 'price': its approvers are ada, eve"):
        parts.signal("price", {"amount": 1}, "bob")
    assert parts.signal("price", {"amount": 1}, "eve")


def test_without_keys_anybody_may_answer(parts: Parts) -> None:
    parts.waits("price", form={"amount": {"type": "number"}}, approvers=["ada"])
    assert parts.signal("price", {"amount": 1}, None)


def test_who_may_answer_can_be_unknown_before_it_waits(parts: Parts) -> None:
    with pytest.raises(Conflict, match="who may answer 'late' is known once it waits"):
        parts.signal("late", AGREED, "ada")
    parts.waits("late", approvers=["ada"])
    assert parts.signal("late", AGREED, "ada")


def test_too_late(parts: Parts) -> None:
    parts.waits("release", due=parts.now + 10)
    parts.now += 10.1
    with pytest.raises(Conflict, match="time limit is over"):
        parts.signal("release")


@pytest.mark.parametrize("status", [StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED])
def test_a_step_that_has_ended_takes_no_answer(parts: Parts, status: StepStatus) -> None:
    parts.waits("release", status)
    with pytest.raises(Conflict, match=f"'release' is {status} already"):
        parts.signal("release")
    assert not parts.mail


def test_the_repeat_of_an_answer_that_was_taken_changes_nothing(parts: Parts) -> None:
    parts.waits("release")
    parts.signal("release", AGREED, "ada")
    parts.now += 1
    parts.waits("release", StepStatus.COMPLETED)
    assert not parts.signal("release", AGREED, "ada")
    with pytest.raises(Conflict, match="answered already by ada"):
        parts.signal("release", {"approved": False}, "ada")


def test_an_ended_task_takes_only_repeats(parts: Parts) -> None:
    parts.signal("order.paid", {"n": 1}, key="k")
    parts.signal("release")
    parts.ends()
    assert not parts.signal("order.paid", {"n": 1}, key="k")
    assert not parts.signal("release")
    with pytest.raises(Conflict, match="completed already") as refused:
        parts.signal("order.paid", {"n": 2})
    assert refused.value.status == "completed"


def test_a_step_after_a_retry_is_answered_anew(parts: Parts) -> None:
    parts.signal("release", {"approved": False})
    parts.ends()
    parts.store.retry(parts.task_id, ["release"], 1)
    assert parts.signal("release", AGREED)


# -- which step ----------------------------------------------------------------------------------------------------


def test_the_oldest_wait_of_an_id(parts: Parts) -> None:
    with pytest.raises(Conflict, match=r"name the path of one, like each\[0\]/inner"):
        parts.signal("inner")
    parts.waits("each[1]/inner")
    parts.now += 1
    parts.waits("each[0]/inner")
    assert parts.service.signal(parts.task_id, "inner", AGREED).name == "each[1]/inner"
    assert parts.service.signal(parts.task_id, "each[0]/inner", AGREED).name == "each[0]/inner"
    assert parts.service.signal(parts.task_id, "each[7]/inner", AGREED).name == "each[7]/inner"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("relaese", "release"),
        ("order.payd", "order.paid"),
        ("nap", None),
        ("each", None),
        ("each/inner", "each\\[\\]/inner"),
        ("each[x]/inner", "each\\[\\]/inner"),
        ("", None),
        ("release/", "release"),
        ("release[0]", "release"),
        ("x" * 100_000, None),
    ],
)
def test_a_signal_for_nothing(parts: Parts, name: str, meant: str | None) -> None:
    with pytest.raises(NotFound, match=f"unknown signal .*did you mean '{meant}'" if meant else "unknown signal"):
        parts.signal(name)
    assert not parts.mail


SHAPES = """
steps:
  - id: fork
    parallel:
      - {id: left, wait: {approval: "?"}}
      - id: pick
        switch:
          - {if: false, steps: [{id: chosen, wait: {approval: "?"}}]}
          - {steps: [{id: other, output: 1}]}
  - id: first
    race:
      - {id: clock, wait: 1h}
      - {id: person, wait: {approval: "?"}}
  - id: again
    until: true
    steps: [{id: round, wait: {approval: "?"}}]
  - id: risky
    uses: log
    with: {message: x}
    on_failure: [{id: sorry, wait: {approval: "?"}}]
    compensate: [{id: undo, wait: {approval: "?"}}]
  - id: apart
    queue: workflow_execute
    foreach: [1, 2]
    steps: [{id: far, wait: {approval: "?"}}]
  - {id: other_workflow, workflow: inner_one}
on_failure: [{id: fix, wait: {approval: "?"}}]
finally: [{id: sign, wait: {approval: "?"}}]
"""
INNER = """
steps:
  - {id: deep, wait: {approval: "?"}}
  - {id: itself, if: false, workflow: inner_one}
finally: [{id: close, wait: {event: "${{ task.id }}"}}]
"""


@pytest.fixture
def shaped(tmp_path: Path) -> Parts:
    (tmp_path / "inner_one.yaml").write_text(INNER, encoding="utf-8")
    return Parts(tmp_path, SHAPES)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("left", "fork/left"),
        ("chosen", "fork/pick/chosen"),
        ("person", "first/person"),
        ("again[4]/round", "again[4]/round"),
        ("sorry", "risky/on_failure/sorry"),
        ("undo", "risky/compensate/undo"),
        ("deep", "other_workflow/deep"),
        ("other_workflow/itself/itself/deep", "other_workflow/itself/itself/deep"),
        ("fix", "on_failure/fix"),
        ("sign", "finally/sign"),
    ],
)
def test_the_path_of_a_step_anywhere(shaped: Parts, name: str, path: str) -> None:
    assert shaped.service.signal(shaped.task_id, name, AGREED).name == path


def test_an_event_whose_name_is_an_expression_may_have_any_name(shaped: Parts) -> None:
    assert shaped.service.signal(shaped.task_id, "whatever", 1).name == "whatever"


@pytest.mark.parametrize("name", ["crew:apart", "two words", "a/b", "nul\0", ""])
def test_what_cannot_be_the_name_of_an_event(shaped: Parts, name: str) -> None:
    """That of the mail by which a crew tells its end least of all."""
    with pytest.raises(NotFound):
        shaped.signal(name, 1)
    assert not shaped.mail


def test_what_children_wait_for_is_told_to_them(shaped: Parts) -> None:
    parent = shaped.service.get(shaped.task_id)
    plan = shaped.service.plan(parent)
    assert "apart[]/far" not in {step.path for step in waiting_steps(plan, parent)}
    child = _child(shaped, parent, index=1)
    assert [step.path for step in waiting_steps(plan, child)] == ["apart[1]/far"]
    assert shaped.service.signal(child.task_id, "far", AGREED).name == "apart[1]/far"
    assert shaped.service.signal(child.task_id, "apart[1]/far", AGREED).accepted is False
    with pytest.raises(NotFound):
        shaped.service.signal(child.task_id, "apart[0]/far", AGREED)
    with pytest.raises(NotFound):
        shaped.service.signal(child.task_id, "left", AGREED)


def _child(parts: Parts, parent: Task, index: int) -> Task:
    """A part of the parent's step `apart`."""
    text = parts.store.definition(parent.definition)
    new = NewTask(
        "child",
        "w",
        parent.definition,
        text,
        "workflow_execute",
        1,
        "{}",
        60.0,
        0,
        ancestors=(parent.task_id,),
        place="apart",
        index=index,
        part=True,
    )
    return parts.store.create(new)[0]


# -- events --------------------------------------------------------------------------------------------------------


def test_each_event_counts_but_the_same_key(parts: Parts) -> None:
    accepted = [parts.signal("order.paid", {"n": 1}, key=key) for key in (None, None, "k", "k")]
    assert accepted == [True, True, True, False]
    assert [decode(mail.payload) for mail in parts.mail] == [{"n": 1}] * 3


@pytest.mark.parametrize(("name", "payload"), [("order.paid", {"n": 2}), ("release", AGREED)])
def test_a_key_belongs_to_one_signal(parts: Parts, name: str, payload: Any) -> None:
    parts.signal("order.paid", {"n": 1}, key="k")
    with pytest.raises(Conflict, match="idempotency key 'k' belongs to another signal"):
        parts.signal(name, payload, key="k")


@pytest.mark.parametrize("payload", [None, 0, "", [], {}, [1, {"a": "\0\ud800"}], "x" * (MAX_PAYLOAD - 2)])
def test_an_event_may_hold_any_json(parts: Parts, payload: Any) -> None:
    assert parts.signal("order.paid", payload)
    assert decode(parts.mail[0].payload) == payload


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("x" * (MAX_PAYLOAD - 1), "1,048,576 bytes"),
        ("ä" * (MAX_PAYLOAD // 2), "1,048,576 bytes"),
        (float("nan"), "must be JSON"),
        ({"a": 10**400}, "a: must be JSON"),
        (_nested(102), "nested more than 100 deep"),
    ],
)
def test_a_payload_that_is_refused(parts: Parts, payload: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        parts.signal("order.paid", payload)
    assert "variables" not in str(refused.value)
    assert not parts.mail


def test_what_a_task_waits_for(parts: Parts) -> None:
    parts.waits("price")
    parts.waits("release", StepStatus.COMPLETED)
    waits = parts.service.waits(parts.service.get(parts.task_id))
    assert [record.path for record in waits] == ["price"]
    form = parts.service.form(parts.service.get(parts.task_id), "price")
    assert form is not None
    assert list(form) == ["approved", "comment"]


def test_whoever_runs_tasks_here_is_rung(tmp_path: Path) -> None:
    """The store queues a task that is told something: it rings, as wiring has it."""
    (tmp_path / "w.yaml").write_text(WORKFLOW, encoding="utf-8")
    store = MemoryStore()
    system = build(Settings(workflows_dir=tmp_path, files_url=str(tmp_path / "files")), store=store, interactive=True)
    assert system.silent is not None
    task_id = system.service.submit(system.service.catalog.get("w"), Submission(), here=True).task_id
    assert system.silent.taken() is not None
    store.claim(task_id, "token", "test")
    store.suspend(task_id, "token", Commit(), Suspension())
    system.service.signal(task_id, "release", AGREED)
    rung = system.silent.taken()
    assert rung is not None
    assert (rung.task_id, system.silent.taken()) == (task_id, None)
    system.stop()


CLOSING = """
id: inner
steps: [{id: work, output: 1}]
on_failure: [{id: tell, output: 1}]
finally: [{id: close, wait: {approval: "Close?", approvers: [ada]}}]
"""


@pytest.mark.parametrize("name", ["close", "call/workflow.finally/close"])
def test_an_approval_at_the_end_of_another_workflow_is_found_where_it_waits(tmp_path: Path, name: str) -> None:
    cluster = Cluster(Harness(tmp_path))
    task = cluster.create("id: outer\nsteps: [{id: call, workflow: inner}]", CLOSING)
    cluster.work()
    store = cluster.harness.store
    [waiting] = [record.path for record in store.steps(task.task_id).items if record.status is StepStatus.WAITING]
    signals, plan = Signals(store), compile_definition(store.definition(task.definition))
    with pytest.raises(Forbidden):
        signals.send(store.get(task.task_id), plan, name, AGREED, "eve", None)
    assert signals.send(store.get(task.task_id), plan, name, AGREED, "ada", None) == (waiting, True)
    assert cluster.finish(task).status is Status.COMPLETED
