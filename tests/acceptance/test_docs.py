"""What the documents list is what the code has: keys, states, events, codes, settings, actions, layers, tests."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic import BaseModel
from tests.acceptance.docs_blocks import PAGES, ROOT, headings, names, section, table

import stepwell.actions  # noqa: F401 - importing it registers the actions
from stepwell import ports
from stepwell.api import problems
from stepwell.api.app import create_app
from stepwell.api.problems import KINDS as KINDS_OF_PROBLEM
from stepwell.cli.app import app
from stepwell.cli.exits import MEANINGS
from stepwell.engine.scope import StepView
from stepwell.expressions.functions import FUNCTIONS
from stepwell.expressions.library import FILTERS
from stepwell.lifecycle import STEP_MOVES, TASK_MOVES, created, step_event, task_events
from stepwell.registry import actions
from stepwell.settings import Settings
from stepwell.task import Error, NewTask, Status, StepRecord, StepStatus, Task
from stepwell.wiring import build
from stepwell.workflow import (
    KINDS,
    UNSUPPORTED_STEP_KEYS,
    UNSUPPORTED_TRIGGER_KEYS,
    UNSUPPORTED_WORKFLOW_KEYS,
    EventTrigger,
    Foreach,
    Retry,
    Step,
    Variable,
    VariableType,
    Wait,
    Workflow,
)

DOCS = ROOT / "docs"
LANGUAGE = DOCS / "language.md"
SOURCES = sorted((ROOT / "src" / "stepwell").rglob("*.py"))


def keys(model: type[BaseModel]) -> set[str]:
    """The keys of a part of the language, as they are written."""
    return {field.alias or name for name, field in model.model_fields.items()}


def first_cells(text: str) -> set[str]:
    """What stands in code in the first column of the first table."""
    return {name for row in table(text) for name in names(row[0])}


# -- the language --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Keys of a step", Step),
        ("Keys of a workflow", Workflow),
        ("foreach", Foreach),
        ("retry", Retry),
        ("wait", Wait),
        ("triggers", EventTrigger),
    ],
)
def test_every_key_is_described(heading: str, model: type[BaseModel]) -> None:
    assert first_cells(section(LANGUAGE, heading)) == keys(model)


def test_every_key_and_type_of_a_variable_is_described() -> None:
    types, described = section(LANGUAGE, "1 Variables").split("| key | meaning |")
    assert first_cells(types) == set(get_args(VariableType))
    assert first_cells(f"| key | meaning |{described}") == keys(Variable)


def test_every_kind_of_step_is_described() -> None:
    assert first_cells(section(LANGUAGE, "Kinds of step")) == {*KINDS, "output"}


def test_every_filter_and_function_is_named() -> None:
    text = section(LANGUAGE, "2 Expressions")
    filters, functions = (re.search(rf"^{what}: (.*?)\.", text, re.M | re.S) for what in ("Filters", "Functions"))
    assert filters is not None
    assert functions is not None
    assert names(filters[1]) == sorted(FILTERS)
    assert set(names(functions[1])) == {*FUNCTIONS, "now", "uuid", "random"}


def test_every_member_of_a_step_is_named() -> None:
    row = next(row for row in table(section(LANGUAGE, "3 Names")) if row[0] == "`steps`")
    assert [name.rpartition(".")[2] for name in names(row[1])] == list(StepView.KEYS)


def test_every_key_that_is_refused_is_named() -> None:
    found = set(names(section(LANGUAGE, "Not in this version").partition("```")[0]))
    assert found == UNSUPPORTED_STEP_KEYS | UNSUPPORTED_WORKFLOW_KEYS | UNSUPPORTED_TRIGGER_KEYS


def test_every_action_and_input_is_described() -> None:
    described = {names(row[0])[0]: names(row[1]) for row in table(section(DOCS / "outputs.md", "Common actions"))}
    ours = [name for name in actions if actions.get(name).function.__module__.startswith("stepwell.")]
    assert described == {name: actions.get(name).input_names for name in ours}


def test_the_whole_context_is_described() -> None:
    members = {name for name in {*ports.Context.__annotations__, *vars(ports.Context)} if not name.startswith("_")}
    assert first_cells(section(DOCS / "actions.md", "The context")) == members


# -- states, events, errors ----------------------------------------------------------------------------------------


def _moves(heading: str) -> set[tuple[str, str]]:
    found = re.findall(r"^ +(\w+) --> (\w+)", section(DOCS / "states.md", heading), re.M)
    assert len(found) == len(set(found))
    return set(found)


def test_the_pictures_of_the_states_are_the_tables() -> None:
    tasks = {(str(before), str(after)) for before, afters in TASK_MOVES.items() for after in afters}
    steps = {(str(before), str(after)) for before, afters in STEP_MOVES.items() for after in afters}
    assert _moves("Tasks") == tasks
    assert _moves("Steps") == steps


def test_every_state_of_a_task_is_described() -> None:
    assert first_cells(section(DOCS / "states.md", "Tasks")) == set(Status)


def _event_kinds() -> Iterator[str]:
    new = NewTask("t", "w", "h", "{}", "q", 1, "{}", 1.0, 0)
    queued, delayed = created(new, 0.0), created(replace(new, delay=9.0), 0.0)
    pairs: list[tuple[Task | None, Task]] = [(None, queued), (None, delayed)]
    pairs.append((queued, replace(queued, cancel_requested=True)))
    for before, afters in TASK_MOVES.items():
        pairs += [(replace(queued, status=before), replace(queued, status=after)) for after in afters]
    yield from (event.kind for pair in pairs for event in task_events(*pair))
    records = (StepRecord("p", "0", status, "uses", attempts=1, error=Error("c", "m")) for status in StepStatus)
    yield from (event.kind for event in map(step_event, records) if event)
    yield "log"


def test_every_event_is_described() -> None:
    text = (DOCS / "events.md").read_text(encoding="utf-8")
    assert first_cells(text) == set(_event_kinds())


def _codes(source: Path) -> Iterator[str]:
    """The literal codes of all errors that a module makes."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            named = [word.value for word in node.keywords if word.arg == "code"]
            makes = getattr(node.func, "attr", getattr(node.func, "id", "")) in ("Error", "_error")
            for value in [*named, *(node.args[:1] if makes else [])]:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value


def test_every_code_is_described() -> None:
    made = {code for source in SOURCES if "api" not in source.parts for code in _codes(source)}
    assert first_cells(section(DOCS / "errors.md", "Codes")) == made | {"step_failed"}


# -- command line and HTTP -----------------------------------------------------------------------------------------


def test_every_command_and_option_is_described() -> None:
    program = typer.main.get_command(app)
    assert isinstance(program, typer.core.TyperGroup)
    commands = {
        name: [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        for name, command in program.commands.items()
    }
    rows = table((DOCS / "cli.md").read_text(encoding="utf-8"))
    assert {names(row[0])[0].partition(" ")[0]: names(row[2]) for row in rows} == commands


def test_every_exit_code_is_described() -> None:
    assert table(section(DOCS / "cli.md", "Exit codes")) == [[f"{int(code)}", text] for code, text in MEANINGS.items()]


def test_every_operation_is_described(tmp_path: Path) -> None:
    system = build(Settings(database_url=f"sqlite:///{tmp_path}/tasks.db", workflows_dir=tmp_path))
    paths = create_app(system).openapi()["paths"]
    system.stop()
    operations = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert first_cells((DOCS / "api.md").read_text(encoding="utf-8")) == operations


def test_every_problem_is_described() -> None:
    kinds = {*KINDS_OF_PROBLEM.values(), *(kind for kind in vars(problems).values() if isinstance(kind, problems.Kind))}
    described = {(names(row[0])[0], row[1]) for row in table(section(DOCS / "api.md", "Problems"))}
    assert described == {(f"urn:stepwell:problem:{kind.name}", str(kind.status)) for kind in kinds}


# -- settings, layers, tests, links --------------------------------------------------------------------------------


def test_every_setting_is_described() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    defaults = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.M))
    rows = [
        [f"`{name.upper()}`", f"`{defaults[name.upper()]}`" if defaults[name.upper()] else "", field.description]
        for name, field in Settings.model_fields.items()
    ]
    assert table((DOCS / "settings.md").read_text(encoding="utf-8")) == rows


def test_the_layers_are_those_of_the_test() -> None:
    tree = ast.parse((ROOT / "tests" / "unit" / "test_layers.py").read_text(encoding="utf-8"))
    rows = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and node.value and ast.unparse(node.target) == "ROWS"
    )
    described = table(section(DOCS / "inside.md", "Layers"))
    assert [(row[0], tuple(names(row[1]))) for row in described] == [(str(n), row) for n, row in enumerate(rows, 1)]


def test_every_part_is_described() -> None:
    parts = {path.relative_to(ROOT / "src" / "stepwell").parts[0].removesuffix(".py") for path in SOURCES}
    assert parts - {"__init__", "__main__"} == first_cells(section(DOCS / "inside.md", "What is where"))


def test_every_test_that_a_guarantee_names_is_there() -> None:
    named = re.findall(r"`(tests/\w+/\w+\.py)::(\w+)`", (DOCS / "guarantees.md").read_text(encoding="utf-8"))
    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in _text(ROOT / file)]
    assert named
    assert missing == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_every_link_inside_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8"))
    assert links or page.name not in ("README.md", "README.zh-CN.md")
    for target, anchor in links:
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            assert anchor in map(_anchor, headings(path)), f"{target}#{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in DOCS.glob("*.md") if f"docs/{page.name}" not in readme] == []


def test_both_readmes_show_the_same_commands() -> None:
    english, chinese = (re.findall(r"^```(?:console|sh).*?^```$", page.read_text(), re.M | re.S) for page in PAGES[:2])
    assert english
    for one, other in itertools.zip_longest(english, chinese):
        assert one == other
