"""What a `run:` step gives and how it fails, with real processes."""

from __future__ import annotations

import json
import os
import stat
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stepwell.actions.process import RUN, WITHHELD
from stepwell.actions.process_output import LineLog, Stream
from stepwell.errors import Fail
from stepwell.registry import actions
from stepwell.settings import NAMES, Settings
from stepwell.values import MAX_SIZE

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext


def run(context: ActionContext, command: str | list[Any], **inputs: Any) -> dict[str, Any]:
    """As the engine runs it."""
    result: dict[str, Any] = RUN.function(context=context, **RUN.bind({"command": command, **inputs}))
    return result


def test_a_script_gives_stdout_and_json(context: ActionContext) -> None:
    result = run(context, "echo one\necho two\n" + """echo '{"rows": 3}' > "$STEPWELL_OUTPUT" """)
    assert result == {"exit_code": 0, "stdout": "one\ntwo", "json": {"rows": 3}}


def test_it_is_no_action_that_uses_can_name() -> None:
    assert (RUN.name, "run" in actions) == ("run", False)
    assert RUN.input_names == ["command", "env", "shell", "cwd"]


def test_a_list_is_run_without_a_shell(context: ActionContext) -> None:
    result = run(context, ["printf", "%s|", "$HOME; *", 3, True, None, ["a"]])
    assert result["stdout"] == '$HOME; *|3|true|null|["a"]|'


def test_values_of_env_are_not_interpreted(context: ActionContext) -> None:
    env = {"X": '$(touch hacked); "', "N": 1.5, "B": False, "L": ["é"], "E": ""}
    result = run(context, 'printf "%s|" "$X" "$N" "$B" "$L" "$E"', env=env)
    assert result["stdout"] == '$(touch hacked); "|1.5|false|["é"]||'
    assert os.listdir(context.work_folder) == []


def test_a_long_value_of_env_is_a_file(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "inherited")
    result = run(context, 'echo "${DATA-unset}"; cat "$DATA_FILE"', env={"DATA": "é" * 60_000})
    assert result["stdout"] == "unset\n" + "é" * 60_000
    assert os.listdir(context.work_folder) == []


def test_the_process_knows_who_runs_it(context: ActionContext) -> None:
    result = run(context, "env | grep ^STEPWELL_ | sort")
    lines = dict(line.split("=", 1) for line in result["stdout"].splitlines())
    lines = {name: value for name, value in lines.items() if name not in os.environ}
    output = Path(lines.pop("STEPWELL_OUTPUT"))
    assert output.is_relative_to(context.work_folder)
    assert lines == {
        "STEPWELL_ATTEMPT": "2",
        "STEPWELL_IDEMPOTENCY_KEY": "task-1/group/fetch",
        "STEPWELL_PROJECT": os.getcwd(),
        "STEPWELL_STEP": "fetch",
        "STEPWELL_TASK_ID": "task-1",
    }


def test_settings_that_may_hold_passwords_are_withheld(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {name for name in NAMES if not Settings.model_fields[name.lower()].repr} == set(WITHHELD)
    for name in (*WITHHELD, "OTHER"):
        monkeypatch.setenv(name, f"inherited {name}")
    assert run(context, "env | grep inherited")["stdout"] == "OTHER=inherited OTHER"
    assert run(context, "echo $SECRET_KEY", env={"SECRET_KEY": "given"})["stdout"] == "given"


@pytest.mark.parametrize(
    ("command", "shell", "stdout"),
    [
        ("[[ -n $BASH_VERSION ]] && echo bash", None, "bash"),
        ("echo ${0##*/}", "sh", "sh"),
        ("import sys; print(sys.argv[0])", "python3", "-c"),
    ],
)
def test_shells(context: ActionContext, command: str, shell: str | None, stdout: str) -> None:
    assert run(context, command, shell=shell)["stdout"] == stdout


@pytest.mark.parametrize("script", ["false; echo no", "echo $missing; echo no", "false | cat; echo no"])
def test_a_script_stops_at_the_first_error(context: ActionContext, script: str) -> None:
    with pytest.raises(Fail) as failure:
        run(context, f"unset missing; {script}")
    assert failure.value.code == "exit_code"


def test_a_failure_shows_the_last_lines_of_stderr(context: ActionContext) -> None:
    with pytest.raises(Fail) as failure:
        run(context, "echo out; for i in $(seq 50); do echo line $i >&2; done; exit 7")
    error = failure.value
    assert (error.code, error.retryable) == ("exit_code", True)
    assert error.message.startswith("exit code 7\nline 41\n")
    assert error.message.endswith("\nline 50")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo out; exit 3", "exit code 3\nout"),
        ("exit 1", "exit code 1, without any output"),
        ("kill -9 $$", "ended by signal SIGKILL, without any output"),
        ("nosuchprogram", "exit code 127"),
    ],
)
def test_how_it_ended_is_said(context: ActionContext, script: str, message: str) -> None:
    with pytest.raises(Fail) as failure:
        run(context, script)
    assert failure.value.message.startswith(message)


@pytest.mark.parametrize(
    ("command", "inputs", "message"),
    [
        (["./nosuch"], {}, "'./nosuch' cannot be started: it was not found"),
        (["./data"], {}, "may not be executed (chmod +x)"),
        (["./noshebang"], {}, "nor a script with an interpreter"),
        (["cat", "x" * 3_000_000], {}, "too long: pass large values as files"),
        ("echo", {"shell": "nosuchshell"}, "the shell 'nosuchshell' is not on PATH"),
        ("echo", {"env": {"PATH": "/nosuch"}}, "the shell 'bash' is not on PATH: install it, or set `shell: sh`"),
    ],
)
def test_what_cannot_be_started(
    context: ActionContext, command: str | list[Any], inputs: dict[str, Any], message: str
) -> None:
    (context.work_folder / "data").write_text("")
    (context.work_folder / "noshebang").write_bytes(b"\x7fELF")
    (context.work_folder / "noshebang").chmod(stat.S_IRWXU)
    with pytest.raises(Fail) as failure:
        run(context, command, **inputs)
    assert message in failure.value.message
    assert (failure.value.code, failure.value.retryable) == ("cannot_start", False)


@pytest.mark.parametrize(
    ("command", "inputs", "message"),
    [
        ([], {}, "names no program"),
        ([""], {}, "names no program"),
        (["a\0b"], {}, "an argument contains a NUL"),
        ("echo \0", {}, "the script contains a NUL"),
        ("echo", {"env": {"A": "x\0"}}, "env.A contains a NUL"),
        ("echo", {"env": {"A": "\ud800"}}, "env.A contains '\\ud800'"),
        ("echo", {"env": {"A=B": "x"}}, "'A=B' is not a name"),
        ("echo", {"env": {"": "x"}}, "'' is not a name"),
        ("echo", {"env": {"A": float("inf")}}, "env.A is not JSON"),
        (["echo"], {"shell": "sh"}, "`shell` is for scripts"),
        ("echo", {"cwd": "nosuch"}, "cwd: there is no folder"),
        ("echo", {"cwd": "../x"}, "not inside the work folder"),
    ],
)
def test_bad_inputs_are_named(
    context: ActionContext, command: str | list[Any], inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(Fail) as failure:
        run(context, command, **inputs)
    assert message in failure.value.message
    assert (failure.value.code, failure.value.retryable) == ("invalid", False)


def test_it_starts_in_the_work_folder_or_in_cwd(context: ActionContext, tmp_path: Path) -> None:
    (context.work_folder / "sub").mkdir()
    assert run(context, "pwd -P")["stdout"] == str(context.work_folder.resolve())
    assert run(context, ["pwd"], cwd="sub")["stdout"] == str(context.work_folder / "sub")
    assert run(context, ["pwd"], cwd=str(tmp_path))["stdout"] == str(tmp_path)


def test_a_program_may_be_in_the_project_folder(
    context: ActionContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, context.work_folder):
        script = folder / "load.sh"
        script.write_text(f"#!/bin/sh\necho {folder.name} $1")
        script.chmod(stat.S_IRWXU)
    assert run(context, ["./load.sh", "x"])["stdout"] == "work x"
    (context.work_folder / "load.sh").unlink()
    assert run(context, ["./load.sh", "x"])["stdout"] == f"{tmp_path.name} x"


@pytest.mark.parametrize(("written", "value"), [("", None), (" \n", None), ("[1]", [1]), ("null", None)])
def test_what_is_written_as_output(context: ActionContext, written: str, value: Any) -> None:
    assert run(context, 'printf "%s" "$W" > "$STEPWELL_OUTPUT"', env={"W": written})["json"] == value


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        ("echo rows=3", "invalid", "what was written to $STEPWELL_OUTPUT is not JSON: line 1, column 1"),
        ("echo NaN", "invalid", "NaN is not a JSON value"),
        (r"printf '\377'", "invalid", "'$STEPWELL_OUTPUT' is not utf-8 text"),
        (f"head -c {MAX_SIZE + 1} /dev/zero", "too_large", "'$STEPWELL_OUTPUT' is larger than"),
    ],
)
def test_output_that_is_not_json(context: ActionContext, script: str, code: str, message: str) -> None:
    with pytest.raises(Fail) as failure:
        run(context, f'{script} > "$STEPWELL_OUTPUT"')
    assert message in failure.value.message
    assert (failure.value.code, failure.value.retryable) == (code, False)


def test_lines_are_logged(context: ActionContext, caplog: pytest.LogCaptureFixture) -> None:
    run(context, r"echo one; echo two >&2; printf 'caf\303\251 %%s\r\nbad \377\nlast'")
    assert sorted(caplog.messages) == ["bad �", "café %s", "last", "one", "two"]


def test_long_lines_and_many_lines_are_cut(context: ActionContext, caplog: pytest.LogCaptureFixture) -> None:
    run(context, "head -c 100000 /dev/zero | tr '\\0' x; echo; seq 20000; echo end")
    assert caplog.messages[0] == "x" * 8192 + "… (cut)"
    assert caplog.messages[9999:] == ["9999", "more than 10,000 lines: the rest is not logged"]


def test_a_long_stdout_keeps_its_start_and_its_end(context: ActionContext, caplog: pytest.LogCaptureFixture) -> None:
    stdout = run(context, "echo start; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end")["stdout"]
    assert stdout.startswith("start\nxxx")
    assert stdout.endswith("xxx\nend")
    assert "bytes left out" in stdout
    assert 1024 * 1024 <= len(stdout) < 1024 * 1024 + 100
    assert "stdout is too long" in caplog.text


SECRET = "hunter22-" * 20


@pytest.mark.parametrize("before", [8192 - 100, 300 - 100, 0])
@pytest.mark.parametrize("times", [1, 3000])
def test_secrets_are_masked_before_lines_are_cut(
    context: ActionContext, caplog: pytest.LogCaptureFixture, before: int, times: int
) -> None:
    context.secrets = {"KEY": SECRET}
    script = f"import sys; sys.stderr.write('x' * {before} + '{SECRET}' * {times} + '\\n'); sys.exit(1)"
    with pytest.raises(Fail) as failure:
        run(context, script, shell="python3")
    for text in (failure.value.message, *caplog.messages):
        assert "hunter" not in text
    assert times > 1 or caplog.messages[0].startswith("x" * before + "***")


def test_secrets_are_masked_before_stdout_is_cut(context: ActionContext) -> None:
    context.secrets = {"KEY": SECRET}
    stdout = run(context, f"print('{SECRET} ' * 20_000)", shell="python3")["stdout"]
    assert set(stdout.split()) <= {"***", "[…", "left", "out", "…]", "bytes", f"{20_000 * 181 + 1 - 1024**2:,}"}


def test_a_line_without_end_takes_little_memory() -> None:
    ignored: list[str] = []
    stream, chunk = Stream(LineLog(ignored.append), str), b"x" * 65536
    tracemalloc.start()
    try:
        for _ in range(400):
            stream.feed(chunk)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_stdout_of_just_the_bound_is_kept_whole(context: ActionContext) -> None:
    script = "head -c 1048576 /dev/zero | tr '\\0' x"
    assert run(context, script)["stdout"] == "x" * 1048576


def test_both_streams_may_be_flooded(context: ActionContext) -> None:
    script = "import sys; [(sys.stderr.write('e' * 9999), sys.stdout.write('o' * 9999)) for _ in range(200)]"
    assert len(run(context, script, shell="python3")["stdout"]) > 1_000_000


def test_nothing_can_be_read_from_stdin(context: ActionContext) -> None:
    assert run(context, ["cat"])["stdout"] == ""


def test_the_result_is_json(context: ActionContext) -> None:
    result = run(context, r"printf '\000\377'")
    assert json.loads(json.dumps(result)) == {"exit_code": 0, "stdout": "\0�", "json": None}
