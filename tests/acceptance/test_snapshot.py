"""A task runs to its end on the definition that it started with, whatever becomes of its file."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.cli_program import Project

BEFORE = """
steps:
  - {id: first, output: old}
  - {id: gate, run: [test, -e, "${{ env.HOME }}/open"]}
  - {id: last, output: "${{ steps.first.output }} to the end"}
outputs: {said: "${{ steps.last.output }}"}
"""
AFTER = "steps: [{id: first, output: new}]\noutputs: {said: new}\n"


def test_a_retry_keeps_the_definition_of_its_task(tmp_path: Path) -> None:
    project = Project(tmp_path)
    file, settings = project.write("changing", BEFORE), {"HOME": str(tmp_path), "EXPRESSION_ENV": "HOME"}
    task = project.run("run", "changing", "--json", **settings).document
    assert task["status"] == "failed"
    file.write_text(AFTER, encoding="utf-8")
    (tmp_path / "open").touch()
    retried = project.run("retry", task["task_id"], "--json", **settings).document
    started = project.run("run", "changing", "--json", **settings).document
    assert retried["result"]["outputs"] == {"said": "old to the end"}
    assert started["result"]["outputs"] == {"said": "new"}
    file.unlink()
    again = project.run("retry", task["task_id"], "--from-step", "last", "--json", **settings).document
    assert again["result"]["outputs"] == {"said": "old to the end"}
