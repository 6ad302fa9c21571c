"""What loads: the workflow of the design, everything the language has, and files of any size, whole and quickly."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.unit.loader_samples import EVERYTHING, ORDERS

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.actions.call import resolve
from stepwell.errors import DefinitionError
from stepwell.loader import Catalog, load
from stepwell.plan import Block, compile_definition, compile_workflow
from stepwell.registry import actions
from stepwell.workflow import Workflow


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project folder with a `shop` package; nothing of it stays importable."""
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "orders.py").write_text(
        "def fetch(region: str, day: str) -> list[int]:\n    return [1]\n\n"
        "def total(frames: list[list[int]]) -> dict[str, int]:\n    return {'rows': 1}\n"
    )
    known = set(sys.modules)
    for name in [name for name in known if name.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def edges(block: Block) -> list[tuple[str, tuple[int, ...], list[object]]]:
    """Names and order of a compiled list, and of those inside."""
    return [
        (node.name, block.graph.before[node.index], edges(node.block) if node.block else [])  # type: ignore[misc]
        for node in block.nodes
    ]


def test_the_workflow_of_the_design(project: Path) -> None:
    workflow = load(ORDERS, "orders.yaml", registry=actions, resolve_call=partial(resolve, folder=project))
    assert [step.kind for step in workflow.steps] == ["call", "call", "parallel"]
    assert compile_workflow(workflow).steps.graph.before == ((), (0,), (1,))


def test_a_function_is_checked_like_an_action(project: Path) -> None:
    text = ORDERS.replace('region: "${{ region }}", ', "")
    with pytest.raises(DefinitionError, match=r"16:11: shop\.orders:fetch needs the input 'region'"):
        load(text, "orders.yaml", registry=actions, resolve_call=partial(resolve, folder=project))


@pytest.mark.parametrize("text", [ORDERS, EVERYTHING], ids=["orders", "everything"])
def test_a_snapshot_is_the_same_plan(text: str, tmp_path: Path) -> None:
    definition = Catalog(tmp_path, registry=actions).from_text(text, "a.yaml")
    again = Workflow.model_validate_json(definition.text)
    assert again == definition.workflow
    assert again.model_fields_set == definition.workflow.model_fields_set
    assert again.model_dump_json(by_alias=True, exclude_unset=True) == definition.text
    assert edges(compile_definition(definition.text).steps) == edges(compile_workflow(definition.workflow).steps)
    assert definition.source == text


def test_everything_loads() -> None:
    workflow = load(EVERYTHING, "e.yaml", registry=actions, resolve_call=partial(resolve, folder=Path()))
    assert [step.kind for step in workflow.steps] == [
        *("output", "output", "run", "uses", "run", "parallel", "switch", "call", "run")
    ]


def test_an_explicit_null_survives(tmp_path: Path) -> None:
    definition = Catalog(tmp_path, registry=actions).from_text("steps: [{uses: stop, output: null}]", "a.yaml")
    assert definition.text == '{"steps":[{"uses":"stop","output":null}]}'
    assert compile_definition(definition.text).steps.nodes[0].output is not None


def test_bytes_with_a_byte_order_mark(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path, registry=actions)
    assert catalog.from_text(b"\xef\xbb\xbfsteps: [{output: 1}]", "a.yaml") == catalog.from_text(
        "steps: [{output: 1}]", "a.yaml"
    )


TRAPS = {
    "with: {message: ${{ steps.a.output }}}": 'with: {message: "${{ steps.a.output }}"}',
    "if: 'a' in steps.a.output": "if: \"'a' in steps.a.output\"",
    "if: !steps.a.output": "if: not steps.a.output",
    "name: load: all": 'name: "load: all"',
    "if: steps.a.output == 'x #y'": "if: \"steps.a.output == 'x #y'\"",
    "output: {{ steps.a.output }}": 'output: "${{ steps.a.output }}"',
    "name: */5": 'name: "*/5"',
    "foreach: {in: range(1, 3)}": 'foreach: {in: "range(1, 3)"}',
    "output: steps.a.output": 'output: "${{ steps.a.output }}"',
}


@pytest.mark.parametrize(("wrong", "right"), TRAPS.items())
def test_traps_come_with_the_line_that_loads(wrong: str, right: str) -> None:
    text = "steps:\n  - {id: a, output: [1]}\n  - uses: log\n    with: {message: x}\n    "
    if wrong.startswith("with"):
        text = text.replace("    with: {message: x}\n", "")
    with pytest.raises(DefinitionError) as caught:
        load(text + wrong, "f.yaml", registry=actions)
    assert [problem.corrected for problem in caught.value.problems] == ["    " + right]
    assert load(text + right, "f.yaml", registry=actions).steps[1]


def calls_during(work: Callable[[], object]) -> int:
    """How many Python functions are called: a measure of work that does not depend on the machine."""
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def chain(steps: int) -> str:
    lines = ["steps:", "  - {id: s0, output: 0}"]
    for number in range(1, steps):
        needs = f"[s{number - 1}, s{number // 2}]"
        lines.append(f"  - id: s{number}\n    needs: {needs}\n    output: ${{{{ steps.s{number // 3}.output }}}}")
    return "\n".join(lines)


def wide(steps: int) -> str:
    inner = "\n".join(f"      - {{id: s{n}, output: '${{{{ steps.first.output }}}}'}}" for n in range(steps))
    return f"steps:\n  - {{id: first, output: 1}}\n  - id: all\n    parallel:\n{inner}\n    output: x\n"


@pytest.mark.parametrize("shape", [chain, wide])
def test_work_grows_with_the_number_of_steps(shape: Callable[[int], str]) -> None:
    small, large = (calls_during(partial(load, shape(steps), "f.yaml", registry=actions)) for steps in (1_000, 4_000))
    assert large < 5 * small


def test_ten_thousand_steps_load() -> None:
    assert len(load(chain(10_000), "f.yaml", registry=actions).steps) == 10_000


def forward(steps: int) -> str:
    lines = [f"  - {{id: s{n}, output: '${{{{ steps.s{steps - 1}.output }}}}'}}" for n in range(steps - 1)]
    return "\n".join(["steps:", *lines, f"  - {{id: s{steps - 1}, output: 1}}"])


def test_of_mistakes_without_end_the_first_are_told() -> None:
    with pytest.raises(DefinitionError) as caught:
        load(forward(3_000), "f.yaml", registry=actions)
    messages = [problem.message for problem in caught.value.problems]
    assert messages[0] == "step 's2999' runs after this one: nothing of it is known yet"
    assert len(messages) == 101
    assert messages[-1] == "more problems, from here on, are not shown"


def test_mistakes_do_not_multiply() -> None:
    def refused(steps: int) -> None:
        with pytest.raises(DefinitionError):
            load(forward(steps), "f.yaml", registry=actions)

    assert calls_during(partial(refused, 2_000)) < 5 * calls_during(partial(refused, 500))
