"""Workflows of a folder that run each other: what is found, what goes into a snapshot, and when it is made anew."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.errors import DefinitionError, Fail
from stepwell.loader import Broken, Catalog, Definition
from stepwell.plan import bundle_of, compile_definition
from stepwell.registry import Action, actions
from stepwell.workflow import Bundle

LEAF = "steps: [{output: 1}]\n"


def running(*names: str) -> str:
    """A file whose steps run these workflows."""
    return "steps: [" + ", ".join(f"{{workflow: {name}}}" for name in names) + "]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workflows").mkdir()
    return tmp_path / "workflows"


def written(folder: Path, **files: str) -> Catalog:
    """The catalog of a folder with these files, too."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Catalog(folder, registry=actions)


def included(definition: Definition) -> list[str]:
    return list(Bundle.model_validate_json(definition.text).included)


def reasons(catalog: Catalog) -> dict[str, list[str]]:
    """The problems of every file that does not load."""
    return {
        one.workflow_id: [f"{problem.line}:{problem.column}: {problem.message}" for problem in one.error.problems]
        for one in catalog.all()
        if isinstance(one, Broken)
    }


def test_a_snapshot_has_all_that_it_may_run(folder: Path) -> None:
    inner = "steps: [{parallel: [{race: [{output: 1}, {switch: [{steps: [{workflow: d}]}]}]}]}]\n"
    undo = "steps: [{output: 1, compensate: [{workflow: b}]}]\nfinally: [{workflow: c}]\n"
    catalog = written(folder, a=undo, b=inner, c=LEAF, d=running("c"), e=LEAF)
    found = {one.workflow_id: included(one) for one in catalog.all() if isinstance(one, Definition)}
    assert found == {"a": ["b", "c", "d"], "b": ["c", "d"], "c": [], "d": ["c"], "e": []}
    definition = catalog.get("a")
    assert definition.hash == hashlib.sha256(definition.text.encode()).hexdigest()


def test_a_snapshot_without_others_is_as_it_always_was(folder: Path) -> None:
    assert written(folder, a="name: x\n" + LEAF).get("a").text == '{"name":"x","steps":[{"output":1}]}'


def test_the_snapshot_for_a_child_task_is_that_of_the_file(folder: Path) -> None:
    catalog = written(folder, a=running("b"), b=running("c", "b"), c=LEAF)
    definition = catalog.get("b")
    assert bundle_of("b", compile_definition(catalog.get("a").text)) == (definition.text, definition.hash)
    assert bundle_of("c", compile_definition(definition.text)) == (catalog.get("c").text, catalog.get("c").hash)


def test_workflows_may_run_themselves_in_a_roundabout_way(folder: Path) -> None:
    catalog = written(folder, a=running("b"), b=running("c"), c=running("a"), me=running("me"))
    assert reasons(catalog) == {}
    assert [included(catalog.get(name)) for name in ("a", "b", "me")] == [["a", "b", "c"], ["a", "b", "c"], ["me"]]
    plan = compile_definition(catalog.get("a").text)
    assert plan.included["b"].included is plan.included


def test_all_problems_are_told_at_once_and_pass_on_to_those_that_run_it(folder: Path) -> None:
    catalog = written(
        folder,
        a=running("b"),
        b="steps: [{workflow: c, with: {x: 1}}]\n",
        c="steps:\n  - {workflow: nowhere}\n  - {output: 1, ned: []}\n",
        fine=LEAF,
    )
    assert reasons(catalog) == {
        "a": [f"1:20: the workflow 'b' does not load: see {folder}/b.yaml"],
        "b": [f"1:20: the workflow 'c' does not load: see {folder}/c.yaml"],
        "c": [
            "2:16: unknown workflow 'nowhere'",
            "3:17: unknown key 'ned' of a step (did you mean 'needs'?)",
        ],
    }


def test_what_breaks_the_one_in_a_circle_breaks_all_of_it(folder: Path) -> None:
    catalog = written(folder, a=running("b"), b=running("c"), c=running("a", "nowhere"))
    assert sorted(reasons(catalog)) == ["a", "b", "c"]
    (folder / "nowhere.yaml").write_text(LEAF)
    assert reasons(catalog) == {}


def test_a_workflow_with_two_files_cannot_be_run(folder: Path) -> None:
    catalog = written(folder, a=running("b"), b=LEAF, other="id: b\n" + LEAF)
    assert reasons(catalog)["a"] == [f"1:20: the workflow 'b' does not load: see {folder}/b.yaml"]


def test_a_change_of_what_it_runs_is_a_new_definition(folder: Path) -> None:
    catalog = written(folder, a=running("b"), b=running("c"), c=LEAF)
    before = catalog.get("a")
    (folder / "c.yaml").write_text("steps: [{output: changed}]\n")
    after = catalog.get("a")
    assert after.source == before.source
    assert after.hash != before.hash
    assert "changed" in after.text
    (folder / "c.yaml").unlink()
    with pytest.raises(DefinitionError, match="unknown workflow 'c'"):
        catalog.get("b")
    (folder / "c.yaml").write_text(LEAF)
    assert catalog.get("a").hash == before.hash


def test_variables_are_held_against_the_file_as_it_is_now(folder: Path) -> None:
    catalog = written(folder, a="steps: [{workflow: b, with: {x: 1}}]\n", b="variables: {x: {type: integer}}\n" + LEAF)
    assert catalog.get("a").workflow_id == "a"
    (folder / "b.yaml").write_text("variables: {y: {type: integer, required: true}}\n" + LEAF)
    assert reasons(catalog)["a"] == [
        "1:29: the workflow 'b' needs the variable 'y'",
        "1:30: the workflow 'b' has no variable 'x'; it has y",
    ]


def test_a_text_is_held_against_the_folder_and_itself(folder: Path) -> None:
    catalog = written(folder, a="id: a\nvariables: {old: {type: any}}\n" + running("b"), b=LEAF)
    text = "variables: {new: {type: any}}\nsteps: [{workflow: b}, {workflow: a, with: {new: 1}}]\n"
    definition = catalog.from_text(text, "a.yaml")
    assert included(definition) == ["a", "b"]
    assert "new" in Bundle.model_validate_json(definition.text).included["a"].variables
    with pytest.raises(DefinitionError, match=r"unknown workflow 'bb' \(did you mean 'b'\?\)"):
        catalog.from_text(running("bb"))
    (folder.parent / "apart.yaml").write_text(running("b"))
    assert included(catalog.from_file(folder.parent / "apart.yaml")) == ["b"]


def test_a_file_without_its_code_is_not_a_change_each_time(folder: Path) -> None:
    """It is looked at again with each call; what runs other workflows is not put together again for that."""
    looked: list[str] = []

    def resolve(target: str) -> Action:
        looked.append(target)
        raise Fail(f"call: there is no function {target!r}", code="invalid", retryable=False)

    written(folder, a=running("b"), b=LEAF, lost="steps: [{call: 'no:where'}]\n")
    catalog = Catalog(folder, registry=actions, resolve_call=resolve)
    first = catalog.get("a")
    assert catalog.get("a") is first
    assert looked == ["no:where", "no:where"]
