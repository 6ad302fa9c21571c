"""Names in Chinese on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.acceptance.cli_program import Project

WORKFLOW = """
variables: {关键词: {type: string, default: 猫}}
steps:
  - {id: 步骤, output: "${{ variables.关键词 }}"}
  - {id: 门, run: test -e "$GATE", env: {GATE: "%s"}}
outputs: {结果: "${{ steps.步骤.output }}"}
"""


@pytest.mark.parametrize("name", ["转码", "workflows/转码.yaml"])
def test_a_workflow_in_chinese(tmp_path: Path, name: str) -> None:
    project, gate = Project(tmp_path), tmp_path / "门"
    project.write("转码", WORKFLOW % gate)
    assert "步骤" in project.ok("show", name).out
    failed = project.run("run", name, "-v", "关键词=狗")
    assert failed.code == 1
    assert "门: failed" in failed.out
    gate.touch()
    again = project.ok("retry", "last", "--from-step", "步骤", "--json").document
    assert (again["workflow_id"], again["status"], again["result"]["outputs"]) == ("转码", "completed", {"结果": "狗"})
