"""The commands of `stepwell` that only look: workflows, tasks, expressions; and `cancel`, `schema`, `serve`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.acceptance.cli_program import Project, interrupt

from stepwell.cli.app import app
from stepwell.cli.exits import MEANINGS

ORDERS = """
name: Orders
description: Loads the orders of a day.
variables:
  day: {type: date, required: true, description: The day to load}
  regions: {type: list, items: string, default: [eu, us]}
steps:
  - id: fetch
    foreach: {in: "${{ variables.regions }}", as: region}
    steps:
      - {id: name, output: "${{ region | upper }}"}
      - {id: log, uses: log, with: {message: "at ${{ region }}"}}
    output: ${{ steps.name.output }}
  - {id: check, uses: fail, with: {message: "no orders\\x1b[2J", code: empty}, on_error: continue}
  - {parallel: [{id: load, output: 1}, {id: archive, output: 2}]}
outputs: {regions: "${{ steps.fetch.output }}"}
"""
BROKEN = "steps:\n  - {id: a, uses: lgo}\n  - {id: a, output: 1}\n"


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """A project in which one task of `orders` has completed, and its id."""
    project = Project(tmp_path_factory.mktemp("orders"))
    project.write("orders", ORDERS)
    task = project.ok("run", "orders", "-v", "day=2026-11-21", "--label", "team=blue", "--json").document
    yield project, task["task_id"]
    project.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    one = Project(tmp_path)
    yield one
    one.close()


def test_validate_tells_every_problem_of_all_files(project: Project) -> None:
    project.write("orders", ORDERS)
    project.write("broken", BROKEN)
    ended = project.run("validate")
    assert ended.code == 2
    assert re.search(r"^workflows/broken\.yaml:2:\d+: .*did you mean 'log'\?", ended.out, re.MULTILINE)
    assert re.search(r"^2 files, [2-9] problems$", ended.out, re.MULTILINE)
    document = project.run("validate", "--json", "broken", "workflows/orders.yaml").document
    assert document["files"] == 2
    assert {problem["line"] for problem in document["problems"]} >= {2, 3}
    assert set(document["problems"][0]) == {"file", "line", "column", "message", "source", "corrected"}


def test_validate_opens_no_store_and_loads_nothing_heavy(project: Project) -> None:
    project.write("orders", ORDERS)
    heavy = ("sqlalchemy", "fastapi", "uvicorn", "rich", "httpx", "pydantic_settings")
    program = (
        "import sys; from stepwell.cli.app import app; app(standalone_mode=False);"
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    ended = project.python("-c", program, "validate", "workflows/orders.yaml")
    assert ended.out.splitlines() == ["1 file, 0 problems", ""]
    assert not (project.folder / "data").exists()


def test_validate_without_a_folder_or_with_an_unknown_id_is_an_error(project: Project) -> None:
    assert project.run("validate", "orders").code == 3
    shutil.rmtree(project.folder / "workflows")
    ended = project.run("validate")
    assert (ended.code, "WORKFLOWS_DIR" in ended.err) == (2, True)


def test_list_shows_every_file(project: Project) -> None:
    project.write("orders", ORDERS)
    project.write("broken", BROKEN)
    out = project.ok("list").out
    assert re.search(r"orders +Orders +workflows/orders\.yaml", out)
    assert re.search(r"broken +workflows/broken\.yaml +[2-9]", out)
    items = project.ok("list", "--json").document["items"]
    assert [(item["id"], item["valid"]) for item in items] == [("broken", False), ("orders", True)]


def test_show_draws_the_graph_and_the_variables(orders: tuple[Project, str]) -> None:
    project, _ = orders
    out = project.ok("show", "orders").out
    assert "Loads the orders of a day." in out
    assert re.search(r"day +date +required +The day to load", out)
    assert re.search(r"regions +list of string +\[\"eu\",\"us\"\]", out)
    assert "2 ──► check       after fetch" in out
    assert "1 ┬─► load" in out
    document = project.ok("show", "workflows/orders.yaml", "--json").document
    assert document["definition"]["name"] == "Orders"
    assert document["variables_schema"]["required"] == ["day"]


def test_tasks_are_listed_and_filtered(orders: tuple[Project, str]) -> None:
    project, task_id = orders
    assert task_id in project.ok("tasks").out
    found = project.ok(
        "tasks", "--json", "--label", "team=blue", "--status", "completed", "--workflow", "orders"
    ).document
    assert [item["task_id"] for item in found["items"]] == [task_id]
    assert found["next_cursor"] is None
    assert project.ok("tasks", "--json", "--status", "failed").document["items"] == []
    ended = project.run("tasks", "--status", "complete")
    assert (ended.code, "did you mean 'completed'?" in ended.err) == (2, True)


def test_a_task_is_shown_by_the_beginning_of_its_id(orders: tuple[Project, str]) -> None:
    project, task_id = orders
    out = project.ok("task", task_id[:18], "--logs").out
    assert re.search(r"fetch +✓ completed", out)
    assert "2/2 done" in out
    assert re.search(r"check +✗ failed +1? +\S+ +no orders", out)
    assert re.search(r"fetch\[1\]/log info: at us", out)
    assert "\x1b" not in out, "a message cannot steer the terminal"


def test_a_task_is_found_by_what_a_narrow_list_shows_of_it(orders: tuple[Project, str]) -> None:
    project, task_id = orders
    assert task_id in project.ok("tasks", COLUMNS="120").out
    narrow = project.ok("tasks", COLUMNS="80").out
    assert task_id[-8:] in narrow.split()
    for name in (task_id[-8:], "last"):
        assert project.ok("task", name, "--json").document["task_id"] == task_id


def test_items_that_failed_are_listed_and_all_of_them_by_the_page(project: Project) -> None:
    project.write("acts.py", "def take(x):\n    assert x % 10 != 7, 'bad'\n")
    loop = f"foreach: {{in: {list(range(250))}, on_item_error: continue}}"
    project.write("many", f"steps: [{{id: each, {loop}, call: 'acts:take', with: {{x: '${{{{ item }}}}'}}}}]")
    project.run("run", "many")
    ended = project.ok("task", "last")
    listed = re.findall(r"^(each\[\d+\]) +✗ failed +1 +\S+ +AssertionError: bad", ended.out, re.MULTILINE)
    assert listed == [f"each[{number}]" for number in range(7, 250, 10)]
    assert ended.out.count("Traceback") == 10
    assert "15 more errors are told whole with --json" in ended.err
    ended = project.ok("task", "last", "--items", "--page", "3")
    assert re.findall(r"^each\[(\d+)\] ", ended.out, re.MULTILINE) == [str(number) for number in range(200, 250)]
    assert "250 items, page 3 of 3: --page shows another" in ended.err


def test_a_large_value_is_cut_for_people_and_whole_as_json(project: Project) -> None:
    project.write("big", "variables: {text: {type: string}, n: {type: integer}}\nsteps: [{id: a, output: 1}]")
    project.write("text.txt", "x" * 5_000_000)
    project.ok("run", "big", "-v", "text=@text.txt", "-v", "n=7")
    out = project.ok("task", "last").out
    assert len(out) < 5_000
    assert "… 5,000,002 characters; --json shows all" in out
    assert '"n": 7' in out
    assert len(project.ok("task", "last", "--json").document["result"]["variables"]["text"]) == 5_000_000


def test_a_task_as_json_has_steps_and_logs(orders: tuple[Project, str]) -> None:
    project, task_id = orders
    document = project.ok("task", task_id, "--json", "--logs").document
    assert document["result"]["outputs"] == {"regions": ["EU", "US"]}
    assert [step["path"] for step in document["steps"]][:2] == ["fetch", "fetch[0]"]
    assert [line["message"] for line in document["logs"]] == ["at eu", "at us"]


@pytest.mark.parametrize(
    ("expression", "at", "value"),
    [
        ("steps.fetch.output", "", ["EU", "US"]),
        ("steps.check.error.code", "", "empty"),
        ("variables.regions | length + 1", "", 3),
        ("on ${{ variables.day }}", "", "on 2026-11-21"),
        ("task.workflow", "", "orders"),
        ("region ~ index", "fetch[1]", "us1"),
        ("steps.name.output", "fetch[1]/log", "US"),
        ("error.message is defined", "check", True),
        ("output", "fetch[0]/name", "EU"),
    ],
)
def test_an_expression_is_tried_on_a_record(
    orders: tuple[Project, str], expression: str, at: str, value: object
) -> None:
    project, task_id = orders
    assert project.ok("eval", task_id, expression, *(("--at", at) if at else ())).document == value


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("steps.fech.output",), 2, "fech"),
        (("1 +",), 2, "stepwell: "),
        (("1", "--at", "nowhere"), 3, "unknown step 'nowhere'"),
        (("1", "--at", "fetch[9]"), 3, "unknown step 'fetch[9]'"),
    ],
)
def test_a_wrong_expression_is_told(orders: tuple[Project, str], args: tuple[str, ...], code: int, told: str) -> None:
    project, task_id = orders
    ended = project.run("eval", task_id, *args)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_secrets_are_not_shown(project: Project) -> None:
    project.write("keys", "variables: {key: {type: secret}}\nsteps: [{id: a, output: 1}]\n")
    secret = {"SECRET_KEY": "k" * 40}
    task_id = project.ok("run", "keys", "-v", "key=hunter2hunter2", "--json", **secret).document["task_id"]
    shown = project.ok("task", task_id, "--json", **secret).out + project.ok("eval", task_id, "variables", **secret).out
    assert "hunter2" not in shown


def test_cancel_ends_what_is_queued_and_refuses_what_has_ended(project: Project) -> None:
    project.write("gated", "steps: [{id: gate, uses: fail, with: {message: shut}}]")
    task_id = project.run("run", "gated", "--json").document["task_id"]
    ended = project.run("cancel", task_id)
    assert (ended.code, "failed already" in ended.err) == (4, True)
    project.ok("retry", task_id, "--no-run")
    assert project.ok("cancel", task_id, "--json").document["status"] == "cancelled"


def test_the_schema_is_one_and_takes_workflows(project: Project) -> None:
    document = project.ok("schema", "--write", "workflow.json")
    assert document.out == ""
    schema = project.ok("schema").document
    Draft202012Validator.check_schema(schema)
    assert (project.folder / "workflow.json").read_text().startswith("{")
    ended = project.run("schema", "--write", "no/such/folder.json")
    assert (ended.code, "cannot be written" in ended.err) == (2, True)


def test_every_command_and_exit_code_is_documented(project: Project) -> None:
    out = project.ok("--help").out
    for code, meaning in MEANINGS.items():
        assert re.search(rf"^ *{int(code)}  {re.escape(meaning)}", out, re.MULTILINE)
    for command in app.registered_commands:
        assert command.help is not None
        assert "Exit codes: 0 " in command.help, command.name
    assert re.fullmatch(r"stepwell \d+\.\d+\.\d+\S*\n", project.ok("--version").out)


def test_serve_serves_until_it_is_told_to_stop(project: Project) -> None:
    process = project.begin("serve", "--port", "0")
    assert process.stdout is not None
    assert b"http://127.0.0.1:" in process.stdout.readline()
    assert interrupt(process).code == 0
