"""`stepwell run` on a terminal: the live tree, the debugger, and Ctrl-C."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.cli_program import CTRL_C, Project

ACTIONS = """
import time
from pathlib import Path

def debug():
    answer = 41
    breakpoint()
    answer += 1
    return answer

def debug_old():
    import pdb
    answer = 41
    pdb.set_trace()
    return answer

def ask():
    return input("your name? ")

def wait_for(path, context):
    context.progress(percent=45, stage="loading", message="row 450")
    while not Path(path).exists():
        time.sleep(0.01)

def hang():
    print("hanging", flush=True)
    time.sleep(600)
"""

PROMPT = "(Pdb) "
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9]m")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    one = Project(tmp_path)
    one.write("acts.py", ACTIONS)
    yield one
    one.close()


def waiting(project: Project) -> Path:
    """A workflow that runs until this file is there."""
    path = project.folder / "go"
    step = f"{{id: hold, call: 'acts:wait_for', with: {{path: '{path}'}}}}"
    project.write("held", f"steps: [{{id: first, output: 1}}, {{steps: [{step}], id: group}}, {{id: last, output: 2}}]")
    return path


def test_the_tree_shows_every_step_while_it_runs(project: Project) -> None:
    go = waiting(project)
    terminal = project.terminal("run", "held")
    tree = terminal.until("· pending")
    assert re.search(r"first.*✓ completed", tree)
    assert re.search(r"\n  group .*▶ running", tree)
    assert re.search(r"\n    hold .*▶ running", tree)
    assert re.search(r"hold .*45% · loading · row 450", terminal.until("row 450"))
    assert re.search(r"progress +45% · loading · row 450", project.ok("task", "last").out)
    assert COLOUR.search(tree)
    go.touch()
    assert terminal.ended() == 0
    assert terminal.screen.rindex(SHOW_CURSOR) > terminal.screen.rindex(HIDE_CURSOR)
    assert "✓ completed" in terminal.screen.rpartition("task ")[2]


def test_no_color_is_respected(project: Project) -> None:
    go = waiting(project)
    terminal = project.terminal("run", "held", NO_COLOR="1")
    terminal.until("▶ running")
    go.touch()
    assert terminal.ended() == 0
    assert not COLOUR.search(terminal.screen)


@pytest.mark.parametrize("action", ["debug", "debug_old"])
def test_a_debugger_has_the_terminal_and_time_limits_wait_for_it(project: Project, action: str) -> None:
    project.write(
        "bug",
        f"steps: [{{id: bug, call: 'acts:{action}', timeout: 1s}}]\noutputs: {{y: '${{{{ steps.bug.output }}}}'}}",
    )
    terminal = project.terminal("run", "bug")
    terminal.until(PROMPT)
    terminal.type("import time; time.sleep(2.5)\n")  # more than the time limit, spent in the debugger
    terminal.until(PROMPT)
    terminal.type("p answer * 2\n")
    quiet = terminal.until(PROMPT)
    assert "82" in quiet
    assert "running" not in quiet, "nothing is drawn over the debugger"
    terminal.type("answer = 1\n")
    terminal.until(PROMPT)
    terminal.type("c\n")
    assert terminal.ended() == 0
    assert re.search(r'"y": [12]\b', terminal.screen)


def test_the_tree_comes_back_after_the_debugger(project: Project) -> None:
    go = project.folder / "go"
    hold = f"{{id: hold, call: 'acts:wait_for', with: {{path: '{go}'}}}}"
    project.write("bug", f"steps: [{{id: bug, call: 'acts:debug'}}, {hold}]")
    terminal = project.terminal("run", "bug")
    terminal.until(PROMPT)
    terminal.type("c\n")
    terminal.until("▶ running")
    go.touch()
    assert terminal.ended() == 0


def test_ctrl_c_at_the_prompt_of_the_debugger_cancels(project: Project) -> None:
    project.write("bug", "steps: [{id: bug, call: 'acts:debug'}]")
    terminal = project.terminal("run", "bug")
    terminal.until(PROMPT)
    terminal.type(CTRL_C)
    assert terminal.ended() == 130


def test_input_has_the_terminal(project: Project) -> None:
    project.write("asks", "steps: [{id: ask, call: 'acts:ask'}]\noutputs: {name: '${{ steps.ask.output }}'}")
    terminal = project.terminal("run", "asks")
    terminal.until("your name? ")
    terminal.type("Ada\n")
    assert terminal.ended() == 0
    assert '"name": "Ada"' in terminal.screen


def test_ctrl_c_cancels_and_undoes_and_a_second_one_leaves_at_once(project: Project) -> None:
    project.write(
        "held",
        "steps: [{id: hold, call: 'acts:hang'}]\n"
        "on_cancel: [{id: undo, uses: log, with: {message: undoing}}, {id: hangs, call: 'acts:hang'}]",
    )
    terminal = project.terminal("run", "held")
    terminal.until("hanging")
    terminal.type(CTRL_C)
    terminal.until("press Ctrl-C again to leave at once")
    terminal.until("hanging")
    terminal.until("▶ running")
    terminal.type(CTRL_C)
    assert terminal.ended() == 130
    assert terminal.screen.rindex(SHOW_CURSOR) > terminal.screen.rindex(HIDE_CURSOR)


def test_ctrl_c_lets_the_final_steps_run(project: Project) -> None:
    tidied = project.folder / "tidied"
    project.write(
        "held",
        "steps: [{id: hold, call: 'acts:hang'}]\n"
        f"finally: [{{id: tidy, uses: file.write, with: {{path: '{tidied}', content: done}}}}]",
    )
    terminal = project.terminal("run", "held")
    terminal.until("hanging")
    terminal.type(CTRL_C)
    assert terminal.ended() == 130
    assert tidied.read_text() == "done"
    assert "⊗ cancelled" in terminal.screen.rpartition("task ")[2]
