"""`stepwell run` and `stepwell retry`: real workflows in a temporary folder, without a server."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from tests.acceptance.cli_program import Project, interrupt

ACTIONS = """
import os, sys, time
from pathlib import Path

def greet(name, context):
    context.logger.info("greeting %s", name)
    print("from the action")
    return f"Hello, {name}!"

def square(x):
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x * x

def flaky(times):
    count = Path("count")
    done = int(count.read_text()) if count.exists() else 0
    count.write_text(str(done + 1))
    if done < times:
        raise ConnectionError(f"failure {done + 1}")
    return done

def gate(path):
    if not Path(path).exists():
        raise FileNotFoundError(path)
    return "open"

def hang():
    print("hanging", flush=True)
    time.sleep(600)

def stubborn():
    print("hanging", flush=True)
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass

def die():
    os._exit(9)
"""

HELLO = """
name: Hello
variables:
  name: {type: string, default: World}
  numbers: {type: list, items: integer, default: [1, 2]}
steps:
  - {id: greet, call: "acts:greet", with: {name: "${{ variables.name }}"}}
  - id: each
    foreach: ${{ variables.numbers }}
    call: acts:square
    with: {x: "${{ item }}"}
outputs: {said: "${{ steps.greet.output }}", squares: "${{ steps.each.output }}"}
"""

HANGING = """
steps:
  - {id: hold, call: "acts:%s"}
  - {id: never, output: 1}
on_cancel: [{id: undo, uses: log, with: {message: undone}}]
finally: [{id: tidy, run: touch "$TIDIED", env: {TIDIED: "%s"}}]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    one = Project(tmp_path)
    one.write("acts.py", ACTIONS)
    one.write("hello", HELLO)
    yield one
    one.close()


def failing(project: Project, *args: str) -> str:
    """The id of a task of `gated` that failed because its gate is shut."""
    project.write("gated", 'steps: [{id: first, output: 1}, {id: gate, call: "acts:gate", with: {path: open.txt}}]')
    ended = project.run("run", "gated", "--json", *args)
    assert ended.code == 1
    task_id: str = ended.document["task_id"]
    return task_id


def test_a_run_shows_each_step_its_end_and_the_outputs(project: Project) -> None:
    ended = project.ok("run", "hello", "-v", "name=Ada", "-v", "numbers=3, 4")
    assert "greet: started" in ended.out
    assert "greet: info: greeting Ada" in ended.out
    assert "each: completed in" in ended.out
    assert "(2/2 done)" in ended.out
    assert '"said": "Hello, Ada!"' in ended.out
    assert "✓ completed" in ended.out
    assert "\x1b" not in ended.out + ended.err, "no escape codes into a pipe"


def test_json_is_one_document_whatever_actions_print(project: Project) -> None:
    ended = project.ok("run", "workflows/hello.yaml", "--json", "--vars", str(project.write("in.yaml", "numbers: [5]")))
    task = ended.document
    assert task["status"] == "completed"
    assert task["result"]["outputs"] == {"said": "Hello, World!", "squares": [25]}
    assert task["result"]["variables"] == {"name": "World", "numbers": [5]}
    assert "from the action" in ended.err
    assert "greet: started" in ended.err


def test_quiet_shows_only_the_end(project: Project) -> None:
    assert "greet: started" not in project.ok("run", "hello", "--quiet").out


def test_a_value_can_be_the_content_of_a_file(project: Project) -> None:
    project.write("numbers.json", "[6, 7]")
    ended = project.ok("run", "hello", "--json", "-v", "numbers=@numbers.json", "-v", "name=@@home")
    assert ended.document["result"]["outputs"] == {"said": "Hello, @home!", "squares": [36, 49]}


def test_a_file_variable_takes_the_file_itself(project: Project) -> None:
    project.write("filed", "variables: {f: {type: file}}\nsteps: [{output: 1}]\noutputs: {f: '${{ variables.f }}'}")
    project.write("a.txt", "content")
    document = project.ok("run", "filed", "--json", "-v", "f=@a.txt").document["result"]["outputs"]["f"]
    assert (document["name"], document["size"]) == ("a.txt", 7)


def test_what_a_caller_says_is_kept(project: Project) -> None:
    options = ("--priority", "high", "--label", "team=blue", "--external-id", "order-7", "--max-retries", "2")
    task = project.ok("run", "hello", "--json", *options).document
    assert (task["priority"], task["labels"], task["external_id"]) == ("high", {"team": "blue"}, "order-7")
    assert task["max_retries"] == 2


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("run", "helo"), 3, "unknown workflow 'helo' (did you mean 'hello'?)"),
        (("run", "gone.yaml"), 3, "unknown file 'gone.yaml'"),
        (("run", "hello", "-v", "nam=x"), 2, "did you mean 'name'?"),
        (("run", "hello", "-v", "name"), 2, "'name' is not of the form key=value"),
        (("run", "hello", "-v", "name=a", "-v", "name=b"), 2, "'name' is given twice"),
        (("run", "hello", "-v", "numbers=x"), 2, "variables.numbers[0]: must be a whole number"),
        (("run", "hello", "-v", "numbers=@gone.json"), 3, "unknown file 'gone.json'"),
        (("run", "hello", "--priority", "hgih"), 2, "did you mean 'high'?"),
        (("run", "hello", "--timeout", "soon"), 2, "'soon' is not a duration"),
        (("run", "hello", "--nonsense"), 2, "No such option"),
        (("retry", "0193a2b4-5c6d"), 3, "unknown task '0193a2b4-5c6d'"),
        (("retry", "193"), 2, "at least 4 characters"),
        (("retry", "last"), 3, "unknown task 'last'"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(project: Project, args: tuple[str, ...], code: int, told: str) -> None:
    ended = project.run(*args)
    assert (ended.code, ended.out) == (code, "")
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_broken_file_is_told_with_its_places(project: Project) -> None:
    project.write("broken", "steps:\n  - {id: a, uses: lgo}\n")
    ended = project.run("run", "broken")
    assert ended.code == 2
    assert "workflows/broken.yaml:2:" in ended.err


def test_a_wrong_setting_is_told(project: Project) -> None:
    ended = project.run("run", "hello", PORT="many")
    assert ended.code == 2
    assert "PORT=many" in ended.err


def test_a_failed_task_ends_with_1_and_says_why(project: Project) -> None:
    ended = project.run("run", "hello", "-v", "numbers=1, -2")
    assert ended.code == 1
    assert "ValueError: -2 is negative" in ended.out
    assert "✗ failed" in ended.out


def test_many_items_are_one_line(project: Project) -> None:
    numbers = json.dumps(list(range(300)))
    project.write("numbers.json", numbers)
    ended = project.ok("run", "hello", "-v", "numbers=@numbers.json", "-v", "name=x")
    lines = [line for line in ended.out.partition("\noutputs")[0].splitlines() if "each" in line]
    assert len(lines) == 3, "its start, its end, and its row"
    assert "300/300 done" in lines[-1]


def test_a_step_is_tried_again(project: Project) -> None:
    project.write(
        "flaky", "steps: [{id: f, call: 'acts:flaky', with: {times: 2}, retry: {max_retries: 3, delay: 10ms}}]"
    )
    ended = project.ok("run", "flaky")
    assert "f: attempt 2 failed: ConnectionError: failure 2" in ended.out
    assert "3/4" in ended.out


def test_a_task_that_waits_for_its_retry_is_waited_for(project: Project) -> None:
    project.write("flaky", "max_retries: 1\nsteps: [{id: f, call: 'acts:flaky', with: {times: 1}}]")
    task = project.ok("run", "flaky", "--json").document
    assert (task["status"], task["retry_count"]) == ("completed", 1)


def test_a_task_that_was_left_waiting_is_gone_on_with(project: Project) -> None:
    project.write("flaky", "max_retries: 1\nsteps: [{id: f, call: 'acts:flaky', with: {times: 1}}]")
    process = project.begin("run", "flaky")
    wait_for(process.stdout, b"f: attempt 1 failed")
    wait_for(process.stdout, b"it waits before it is tried again: ConnectionError: failure 1")
    process.kill()
    task_id = project.ok("tasks", "--json").document["items"][0]["task_id"]
    assert project.ok("retry", task_id, "--json").document["status"] == "completed"


def test_a_task_that_stops_itself_as_cancelled_ends_with_5(project: Project) -> None:
    project.write("stops", "steps: [{uses: stop, with: {status: cancelled, message: enough}}]")
    assert project.run("run", "stops").code == 5


def test_a_time_limit_ends_plain_python_that_sleeps_in_the_main_thread(project: Project) -> None:
    project.write("late", "steps: [{id: hang, call: 'acts:hang', timeout: 100ms}]")
    ended = project.run("run", "late", "--json")
    assert ended.code == 1
    assert ended.document["error"]["code"] == "timeout"


def test_the_terminal_is_given_back_although_code_ignores_its_time_limit(project: Project) -> None:
    project.write("late", "steps: [{id: hang, call: 'acts:stubborn', timeout: 100ms}]")
    ended = project.run("run", "late", "--json")
    assert ended.code == 1
    assert ended.document["error"]["code"] == "timeout"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("action", ["hang", "stubborn"])
def test_a_signal_cancels_cleanly(project: Project, action: str, number: signal.Signals) -> None:
    project.write("held", HANGING % (action, project.folder / "tidied"))
    process = project.begin("run", "held", "--json")
    wait_for(process.stderr, b"hanging")
    ended = interrupt(process, number)
    assert ended.code == 130
    assert ended.document["status"] == "cancelled"
    assert (project.folder / "tidied").exists()
    steps = project.ok("task", ended.document["task_id"], "--json").document["steps"]
    assert [(step["path"], step["status"]) for step in steps] == [
        ("hold", "cancelled"),
        ("on_cancel/undo", "completed"),
        ("finally/tidy", "completed"),
    ]


def test_retry_goes_on_from_what_failed(project: Project) -> None:
    task_id = failing(project)
    project.write("open.txt", "")
    task = project.ok("retry", task_id[:20], "--json").document
    assert (task["task_id"], task["status"]) == (task_id, "completed")
    steps = project.ok("task", task_id, "--json").document["steps"]
    assert [step["attempts"] for step in steps if step["path"] == "gate"] == [2]


def test_retry_from_a_step_runs_what_comes_after_it_again(project: Project) -> None:
    task_id = project.ok("run", "hello", "--json").document["task_id"]
    ended = project.ok("retry", task_id, "--from-step", "each")
    assert "each: started" in ended.out
    assert "greet: started" not in ended.out


def test_retry_of_an_unknown_step_is_told(project: Project) -> None:
    task_id = project.ok("run", "hello", "--json").document["task_id"]
    ended = project.run("retry", task_id, "--from-step", "grete")
    assert ended.code == 3
    assert "did you mean 'greet'?" in ended.err


def test_retry_can_leave_the_running_to_others(project: Project) -> None:
    task_id = failing(project)
    assert project.ok("retry", task_id, "--no-run", "--json").document["status"] == "queued"
    project.write("open.txt", "")
    assert project.ok("retry", task_id, "--json").document["status"] == "completed"


def test_retry_goes_on_with_a_task_whose_process_died(project: Project) -> None:
    project.write("dies", "steps: [{id: first, output: 1}, {id: die, call: 'acts:die'}, {id: last, output: 2}]")
    assert project.run("run", "dies", LEASE_SECONDS="5").code == 9
    task_id = project.ok("tasks", "--json").document["items"][0]["task_id"]
    project.write("acts.py", "def die():\n    return 1\n")
    ended = project.ok("retry", task_id, "--json", LEASE_SECONDS="5")
    assert ended.document["status"] == "completed"
    assert re.search(r"its process \(\S+\) last wrote at \S+Z; if it died, this goes on in at most 5s", ended.err)


def test_retry_does_not_take_a_task_from_a_process_that_lives(project: Project) -> None:
    project.write("held", "steps: [{id: hold, call: 'acts:hang'}]")
    process = project.begin("run", "held", LEASE_SECONDS="1")
    wait_for(process.stdout, b"hanging")
    ended = project.run("retry", "last", LEASE_SECONDS="1")
    assert (ended.code, ended.out) == (4, "")
    assert "is running in a live process" in ended.err


def test_retry_tells_that_the_workflow_has_changed(project: Project) -> None:
    task_id = failing(project)
    hint = "the workflow has changed since; this runs the definition the task started with"
    assert hint not in project.run("retry", task_id).err
    project.write("gated", "steps: [{id: other, output: 1}]")
    assert hint in project.run("retry", task_id).err
    project.write("gated", "steps: [{id: other}]")
    assert hint in project.run("retry", task_id).err
    (project.folder / "workflows" / "gated.yaml").unlink()
    ended = project.run("retry", task_id)
    assert (ended.code, hint in ended.err) == (1, False)


def test_the_last_line_of_a_script_that_failed_is_told(project: Project) -> None:
    project.write("script", "steps: [{id: count, run: 'echo first >&2; echo no such file >&2; exit 3'}]")
    ended = project.run("run", "script")
    lines = [line for line in ended.out.splitlines() if "exit code 3" in line]
    assert len(lines) == 3, "when it happens, in its row, and at the end"
    assert all(line.rstrip().endswith("exit code 3: no such file") for line in lines)
    assert "exit code 3: no such file" in project.ok("tasks").out


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "gbk"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_an_encoding_without_the_marks_is_no_failure(project: Project, env: dict[str, str]) -> None:
    project.write("name.txt", "✓é")
    ended = project.python("-m", "stepwell", "run", "hello", "-v", "name=@name.txt", **env)
    assert ended.code == 0, ended.err
    assert "+ completed" in ended.out
    ended = project.python("-m", "stepwell", "task", "last", "--json", **env)
    assert ended.document["result"]["variables"]["name"] == "✓é"


@pytest.mark.parametrize("exists", [True, False])
def test_without_any_workflow_the_folder_is_named(project: Project, exists: bool) -> None:
    folder = project.folder / "none"
    if exists:
        folder.mkdir()
    ended = project.run("run", "hello", WORKFLOWS_DIR="none")
    assert ended.code == 3
    assert f"unknown workflow 'hello'; there is no {'workflow in' if exists else 'folder'} '{folder}'" in ended.err
    assert "WORKFLOWS_DIR" in project.run("list", WORKFLOWS_DIR="none").err


def wait_for(stream: IO[bytes] | None, text: bytes) -> None:
    """Read lines up to one with this text."""
    assert stream is not None
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"it ended without {text!r}")
