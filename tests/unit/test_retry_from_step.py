"""Retries by hand: from a step, with other variables, on the original or the latest definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine_harness import Harness, use

from stepwell import lifecycle
from stepwell.errors import Conflict, DefinitionError, Fail, InvalidInput, NotFound, SettingsError
from stepwell.ids import new_task_id
from stepwell.loader import Catalog
from stepwell.queues.inline import InlineQueue
from stepwell.registry import Action, Registry
from stepwell.secrets import Cipher
from stepwell.service import Amendment, Defaults, Service, Submission
from stepwell.task import NewTask, Status, StepRecord, StepStatus, Task
from stepwell.values import decode

KEY = "0123456789abcdef0123456789abcdef"

ORDERS = """
variables:
  region: {type: string, required: true}
  count: {type: integer, default: 2, max: 10}
  token: {type: secret}
  table: {type: file}
steps:
  - {id: a, uses: do, with: {what: "a ${{ variables.region }}"}}
  - {id: b, uses: do, with: {what: "b ${{ variables.region }} ${{ variables.count }}"}}
  - {id: c, uses: do, with: {what: c, fail: "${{ variables.region == 'us' }}"}}
"""


def _do(what: str, fail: bool = False) -> str:
    if fail:
        raise Fail(f"{what} fails")
    return what


class Parts:
    """A service and an engine over one memory store, and a folder of workflows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "workflows"
        self.folder.mkdir()
        self.write(ORDERS)
        self.harness = Harness(folder)
        self.store = self.harness.store
        self.cipher = Cipher(KEY)
        self.queue = InlineQueue(lambda _, done: done(None), 1, 10)
        registry = Registry()
        registry.add(Action("do", _do))
        self.catalog = Catalog(self.folder, registry=registry)
        self.service = self.with_cipher(self.cipher)

    def with_cipher(self, cipher: Cipher) -> Service:
        return Service(self.store, self.queue, self.queue, self.catalog, cipher, Defaults())

    def write(self, text: str) -> None:
        (self.folder / "orders.yaml").write_text(text, encoding="utf-8")

    def ended(self, **variables: Any) -> Task:
        """A task of the workflow, run to its end."""
        task = self.service.submit(self.catalog.get("orders"), Submission({"region": "us", **variables}))
        return self.harness.finish(task.task_id)

    def again(self, task: Task, from_step: str | None = None, latest: bool = False, **variables: Any) -> Task:
        """The task once it was retried so and has ended again."""
        self.service.retry(task.task_id, from_step, Amendment(variables, latest))
        return self.harness.finish(task.task_id)

    def variables(self, task: Task) -> Any:
        stored = self.store.get(task.task_id).variables
        return decode(stored if isinstance(stored, str) else self.store.value(task.task_id, "variables"))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    parts = Parts(tmp_path)
    yield parts
    parts.queue.close()


@pytest.fixture
def did(parts: Parts) -> list[str]:
    """What the action `do` was called with, in order."""
    seen: list[str] = []

    def do(what: str, fail: bool = False) -> str:
        seen.append(what)
        return _do(what, fail)

    use("do", do)
    return seen


# -- variables ---------------------------------------------------------------------------------------------------------


def test_what_failed_runs_with_changed_variables_and_what_completed_keeps_its_output(
    parts: Parts, did: list[str]
) -> None:
    task = parts.ended()
    task = parts.again(task, region="eu")
    assert (task.status, task.attempt) == (Status.COMPLETED, 2)
    assert did == ["a us", "b us 2", "c", "c"]
    assert parts.variables(task) == {"region": "eu", "count": 2, "token": None, "table": None}


def test_from_a_step_on_all_runs_with_changed_variables(parts: Parts, did: list[str]) -> None:
    task = parts.ended(count=3)
    did.clear()
    assert parts.again(task, "b", region="eu").status is Status.COMPLETED
    assert did == ["b eu 3", "c"]
    did.clear()
    parts.again(task, "b", count=4)
    assert did == ["b eu 4", "c"]


@pytest.mark.parametrize(
    ("given", "field"),
    [({"regions": "eu"}, "variables.regions"), ({"count": 11}, "variables.count"), ({"region": 1}, "variables.region")],
)
def test_changed_variables_that_do_not_fit_change_nothing(parts: Parts, did: list[str], given: Any, field: str) -> None:
    task = parts.ended()
    with pytest.raises(InvalidInput) as refused:
        parts.again(task, **given)
    assert [problem.field for problem in refused.value.problems] == [field]
    assert parts.store.get(task.task_id) == task


def test_secrets_are_kept_and_changed_encrypted(parts: Parts, did: list[str]) -> None:
    task = parts.ended(token="first")
    parts.again(task, count=3)
    kept = parts.variables(task)["token"]
    assert "first" not in kept
    assert parts.cipher.decrypt(kept) == "first"
    parts.again(task, "a", token="second")
    assert parts.cipher.decrypt(parts.variables(task)["token"]) == "second"


def test_a_secret_that_cannot_be_read_here_is_told(parts: Parts, did: list[str]) -> None:
    task = parts.ended(token="first")
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        parts.with_cipher(Cipher(KEY[::-1])).retry(task.task_id, None, Amendment({"count": 3}))


def test_files_and_large_values_are_kept(parts: Parts, did: list[str]) -> None:
    upload = {"sha256": "ab" * 32, "name": "t.csv", "size": 3}
    task = parts.ended(table=upload)
    parts.again(task, region="e" * 100_000)
    assert parts.variables(task)["region"] == "e" * 100_000
    assert parts.variables(task)["table"] == upload
    parts.again(task, "c", count=1)
    assert (parts.variables(task)["region"], parts.variables(task)["count"]) == ("e" * 100_000, 1)
    assert not parts.store.unused(["ab" * 32])


# -- definitions -------------------------------------------------------------------------------------------------------


def test_it_runs_on_the_original_definition_unless_asked_otherwise(parts: Parts, did: list[str]) -> None:
    task = parts.ended()
    parts.write(ORDERS.replace("what: c,", "what: new c,"))
    before = task.definition
    assert parts.again(task).definition == before
    assert did[-1] == "c"


def test_the_latest_definition_runs_from_what_failed(parts: Parts, did: list[str]) -> None:
    task = parts.ended()
    did.clear()
    latest = ORDERS.replace("  - {id: b,", "  - {id: new, uses: do, with: {what: new}}\n  - {id: b,")
    latest = latest.replace("what: c, fail: \"${{ variables.region == 'us' }}\"", "what: new c")
    parts.write(f"{latest}finally: [{{output: 1}}]")
    task = parts.again(task, latest=True)
    assert task.status is Status.COMPLETED
    assert did == ["new", "new c"]
    assert task.definition == parts.catalog.get("orders").hash
    assert task.undo
    positions = {path: record.position for path, record in parts.harness.steps(task).items()}
    assert list(positions) == ["a", "b", "new", "c", "finally/output-1"]
    assert positions["c"] == "0.000003"  # its place in the latest definition


def test_variables_follow_the_latest_declarations(parts: Parts, did: list[str]) -> None:
    task = parts.ended(count=3)
    parts.write("variables: {count: {type: integer}, extra: {type: string, default: x}}\nsteps: [{id: a, output: 1}]")
    task = parts.again(task, latest=True)
    assert parts.variables(task) == {"count": 3, "extra": "x"}
    parts.write("variables: {count: {type: boolean}, more: {type: any, required: true}}\nsteps: [{id: a, output: 1}]")
    with pytest.raises(InvalidInput) as refused:
        parts.again(task, "a", latest=True)
    assert [problem.field for problem in refused.value.problems] == ["variables.count", "variables.more"]
    assert parts.again(task, "a", latest=True, count=True, more="y").status is Status.COMPLETED


def test_a_step_that_the_latest_definition_has_not_is_told(parts: Parts, did: list[str]) -> None:
    task = parts.ended()
    parts.write(ORDERS.replace("id: b,", "id: bb,"))
    with pytest.raises(InvalidInput, match=r"from_step: the latest .* of 'orders' has no step 'b' \(did you mean"):
        parts.again(task, "b", latest=True)
    assert parts.store.get(task.task_id).ended
    did.clear()
    parts.again(task, "bb", latest=True)
    assert did == ["b us 2", "c"]


def test_a_workflow_that_is_gone_or_broken_is_told(parts: Parts, did: list[str]) -> None:
    task = parts.ended()
    parts.write("steps: [{uses: nothing}]")
    with pytest.raises(DefinitionError):
        parts.again(task, latest=True)
    (parts.folder / "orders.yaml").unlink()
    with pytest.raises(NotFound, match="workflow 'orders'"):
        parts.again(task, latest=True)
    assert parts.again(task, region="eu").status is Status.COMPLETED


# -- what may be retried -----------------------------------------------------------------------------------------------


def test_a_completed_task_is_retried_only_from_a_step(parts: Parts, did: list[str]) -> None:
    task = parts.ended(region="eu")
    for amendment in (None, Amendment({"count": 3}), Amendment(latest=True)):
        with pytest.raises(Conflict, match="from_step") as refused:
            parts.service.retry(task.task_id, None, amendment)
        assert refused.value.status == "completed"
    did.clear()
    parts.again(task, "c")
    assert did == ["c"]


def test_a_child_is_retried_with_its_root(parts: Parts) -> None:
    def child(*ancestors: str) -> str:
        definition = parts.catalog.get("orders")
        new = NewTask(
            new_task_id(), "orders", definition.hash, definition.text, "workflow_execute", 1, "{}", 60, 0,
            ancestors=ancestors, place="each", index=0,
        )  # fmt: skip
        return parts.store.create(new)[0].task_id

    for ancestors in (("root",), ("root", "parent")):
        with pytest.raises(Conflict, match="retry task root") as refused:
            parts.service.retry(child(*ancestors))
        assert ancestors[-1] in str(refused.value)


@pytest.mark.parametrize(
    ("from_step", "error"),
    [("nothing", NotFound), ("in", InvalidInput)],
)
def test_a_step_that_is_unknown_or_ambiguous_is_told(
    parts: Parts, did: list[str], from_step: str, error: type[Exception]
) -> None:
    parts.write("steps: [{id: g, foreach: '[1, 2]', steps: [{id: in, output: 1}]}]")
    task = parts.service.submit(parts.catalog.get("orders"), Submission())
    parts.harness.finish(task.task_id)
    with pytest.raises(error):
        parts.service.retry(task.task_id, from_step)


def test_from_an_item_on_only_that_item_runs(parts: Parts, did: list[str]) -> None:
    parts.write(
        "steps: [{id: g, foreach: '[1, 2, 3]', steps: [{id: in, uses: do, with: {what: 'n${{ item }}'}}]},"
        " {id: z, uses: do, with: {what: z}}]"
    )
    task = parts.service.submit(parts.catalog.get("orders"), Submission())
    task = parts.harness.finish(task.task_id)
    did.clear()
    parts.again(task, "g[1]/in")
    assert did == ["n2", "z"]


# -- what is begun afresh: pure ----------------------------------------------------------------------------------------


def _step(path: str, status: str = "completed", **changes: Any) -> StepRecord:
    begun = None if status == "pending" else 1.0
    return StepRecord(path, path, StepStatus(status), "call", attempts=1, tries=1, started_at=begun, **changes)


RESETS: dict[str, tuple[list[StepRecord], list[str]]] = {
    "a compensated step with its block": (
        [_step("a"), _step("a/compensate/x"), _step("a/compensate/y", "failed"), _step("b"), _step("c", "failed")],
        ["a", "a/compensate/x", "a/compensate/y", "c"],
    ),
    "all inside and around it": (
        [_step("g"), _step("g/h"), _step("g/h/in"), _step("g/h/compensate/x"), _step("g/other"), _step("z")],
        ["g", "g/h", "g/h/in", "g/h/compensate/x"],
    ),
    "an item": (
        [_step("e"), _step("e[0]"), _step("e[0]/a"), _step("e[1]"), _step("e[1]/a"), _step("e[1]/a/compensate/x")],
        ["e", "e[1]", "e[1]/a", "e[1]/a/compensate/x"],
    ),
    "not what was reset before": (
        [_step("a"), replace(_step("a/compensate/x", "pending"), attempts=3)],
        [],
    ),
    "what was skipped counts, as it was begun": (
        [_step("a"), replace(_step("a/compensate/x", "skipped"), started_at=None)],
        ["a", "a/compensate/x"],
    ),
    "losers of a race that is run again": (
        [_step("r"), _step("r/won"), _step("r/won/compensate/x"), _step("r/lost", "cancelled"), _step("r/lost/in")],
        ["r", "r/won", "r/won/compensate/x", "r/lost"],
    ),
    "a step that is called compensate is no block": (
        [_step("g"), _step("g/compensate"), _step("g/compensate/in")],
        [],
    ),
    "not even with a block of its own inside": (
        [_step("g"), _step("g/compensate"), _step("g/compensate/in"), _step("g/compensate/in/compensate/x")],
        ["g", "g/compensate", "g/compensate/in", "g/compensate/in/compensate/x"],
    ),
    "final blocks of another workflow that failed": (
        [_step("call", "failed"), *map(_step, ("call/on_failure/x", "call/finally/y")), _step("call/b", "failed")],
        ["call", "call/on_failure/x", "call/finally/y", "call/b"],
    ),
    "final blocks of another workflow that completed stay": (
        [_step("call"), _step("call/a"), _step("call/finally/y"), _step("z", "failed")],
        ["z"],
    ),
    "a step that is called finally is no block": (
        [_step("g", "failed"), _step("g/finally"), _step("g/finally/in")],
        ["g"],
    ),
    "waits": ([_step("a"), _step("w", "waiting", wait={"kind": "time"})], ["w"]),
}  # fmt: skip


@pytest.mark.parametrize("name", RESETS)
def test_what_is_begun_afresh(name: str) -> None:
    records, expected = RESETS[name]
    assert lifecycle.to_reset(records) == expected


def test_a_step_that_stopped_the_task_and_is_begun_afresh_has_not_stopped_it() -> None:
    before = _step("a", wait={"kind": "time"}, winner="x", stopped={"status": "completed", "message": ""})
    after = lifecycle.reset(before)
    assert (after.stopped, after.wait, after.winner, after.status) == (None, None, None, "pending")
