"""Retries by hand over the API and on the command line: of what was undone, with other variables, as now defined."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.cli_program import Project
from tests.acceptance.serving import Server

SAGA = """
variables:
  log: {type: string, required: true}
  card: {type: string, default: bad}
  note: {type: string, default: kept}
steps:
  - id: reserve
    run: 'echo reserve >> "$LOG"'
    env: &log {LOG: "${{ variables.log }}", CARD: "${{ variables.card }}", NOTE: "${{ variables.note }}"}
    compensate: [{id: release, run: 'echo release >> "$LOG"', env: *log}]
  - {id: charge, run: 'echo "charge $CARD $NOTE" >> "$LOG"; test "$CARD" = good', env: *log}
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the steps wrote."""
    return tmp_path / "saga.log"


def _failed(shared: Server, log: Path) -> str:
    shared.write("saga", SAGA)
    task = shared.post("/workflows/saga/execute", {"variables": {"log": str(log)}}).json()
    assert task["status"] == "failed", task
    return f"/workflows/tasks/{task['task_id']}"


def _lines(log: Path) -> list[str]:
    lines = log.read_text().splitlines()
    log.write_text("")
    return lines


def _ended(shared: Server, path: str) -> Any:
    return shared.ended(path.rpartition("/")[2])


def test_what_was_undone_runs_again_with_changed_variables(shared: Server, log: Path) -> None:
    path = _failed(shared, log)
    assert _lines(log) == ["reserve", "charge bad kept", "release"]
    answer = shared.post(f"{path}/retry", {"variables": {"card": "good"}})
    assert answer.status_code == 202, answer.text
    task = _ended(shared, path)
    assert (task["status"], task["result"]["variables"]["card"]) == ("completed", "good")
    assert _lines(log) == ["reserve", "charge good kept"]
    refused = shared.post(f"{path}/retry", {"variables": {"card": "better"}})
    assert (refused.status_code, refused.json()["task_status"]) == (409, "completed")
    assert "from_step" in refused.json()["detail"]
    assert shared.post(f"{path}/retry?from_step=charge", {"variables": {"note": "new"}}).status_code == 202
    assert _ended(shared, path)["status"] == "completed"
    assert _lines(log) == ["charge good new"]


def test_the_latest_definition_is_taken_if_asked_for(shared: Server, log: Path) -> None:
    path = _failed(shared, log)
    shared.write("saga", SAGA.replace('test "$CARD" = good', "true"))
    assert shared.post(f"{path}/retry", {"definition": "original"}).status_code == 202
    assert _ended(shared, path)["status"] == "failed"
    assert shared.post(f"{path}/retry?from_step=charge", {"definition": "latest"}).status_code == 202
    assert _ended(shared, path)["status"] == "completed"


@pytest.mark.parametrize(
    ("query", "body", "status", "field"),
    [
        ("", {"variables": {"card": 1}}, 422, "variables.card"),
        ("", {"variables": {"cart": "x"}}, 422, "variables.cart"),
        ("", {"definition": "newest"}, 422, "definition"),
        ("", {"variable": {}}, 422, "variable"),
        ("?from_step=old", {"definition": "latest"}, 422, "from_step"),
    ],
)
def test_what_does_not_fit_is_told(shared: Server, log: Path, query: str, body: Any, status: int, field: str) -> None:
    shared.write("saga", SAGA + "  - {id: old, output: 1}\n")
    task = shared.post("/workflows/saga/execute", {"variables": {"log": str(log), "card": "good"}}).json()
    shared.write("saga", SAGA)
    answer = shared.post(f"/workflows/tasks/{task['task_id']}/retry{query or '?from_step=charge'}", body)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["field"] == field


def test_a_workflow_that_is_gone_has_no_latest_definition(shared: Server, log: Path) -> None:
    path = _failed(shared, log)
    (shared.folder / "workflows" / "saga.yaml").unlink()
    answer = shared.post(f"{path}/retry", {"definition": "latest"})
    assert (answer.status_code, "'saga'" in answer.json()["detail"]) == (404, True)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A folder in which the program runs."""
    project = Project(tmp_path)
    project.write("saga", SAGA)
    yield project
    project.close()


def test_the_command_line_changes_variables_and_the_definition(project: Project, log: Path) -> None:
    ended = project.run("run", "saga", "-v", f"log={log}", "--json")
    assert ended.code == 1
    task_id = ended.document["task_id"]
    assert project.run("retry", task_id, "--set", "card=worse", "-q").code == 1
    project.write("changes.yaml", "note: file")
    task = project.ok("retry", task_id, "--from", "charge", "--vars", "changes.yaml", "-v", "card=good", "--json")
    assert task.document["status"] == "completed"
    assert _lines(log)[-2:] == ["reserve", "charge good file"]
    refused = project.run("retry", task_id)
    assert (refused.code, "from_step" in refused.err) == (4, True)
    project.write("saga", SAGA.replace("charge $CARD", "CHARGE $CARD"))
    told = project.ok("retry", task_id, "--from-step", "charge")
    assert "--latest" in told.err
    latest = project.ok("retry", task_id, "--from-step", "charge", "--latest")
    assert "has changed since" not in latest.err
    assert _lines(log) == ["charge good file", "CHARGE good file"]


def test_the_command_line_tells_a_wrong_variable(project: Project, log: Path) -> None:
    task_id = project.run("run", "saga", "-v", f"log={log}", "--json").document["task_id"]
    ended = project.run("retry", task_id, "--set", "cart=good")
    assert (ended.code, "did you mean 'card'?" in ended.err) == (2, True)
