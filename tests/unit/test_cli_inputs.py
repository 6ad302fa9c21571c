"""What is said on the command line, and what is written to the terminal."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stepwell import errors
from stepwell.cli.exits import Exit, code_of
from stepwell.cli.inputs import pairs, read_file, values
from stepwell.cli.output import LONGEST_VALUE, as_lines, duration, first_line, harmless, moment, print_json, reason
from stepwell.cli.progress import progress_text
from stepwell.cli.streams import ASCII, tolerate
from stepwell.errors import Conflict, DefinitionError, InvalidInput, NotFound, StepwellError, Unavailable
from stepwell.workflow import Variable

DECLARED = {
    "day": Variable.model_validate({"type": "date"}),
    "count": Variable.model_validate({"type": "integer"}),
    "upload": Variable.model_validate({"type": "file"}),
}


def kept(path: Path) -> Mapping[str, Any]:
    return {"size": path.stat().st_size, "sha256": "0" * 64}


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert pairs("-v", ["a=b=c", "empty="]) == {"a": "b=c", "empty": ""}


@pytest.mark.parametrize("texts", [["a"], ["=b"], ["a=1", "a=2"]])
def test_pairs_refuse_what_is_none(texts: list[str]) -> None:
    with pytest.raises(InvalidInput, match="-v"):
        pairs("-v", texts)


def test_values_of_options_win_over_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"count": 1, "day": "2026-11-21"}')
    assert values(DECLARED, ["count=2"], file, kept) == {"count": 2, "day": "2026-11-21"}


def test_a_value_can_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("7")
    found = values(DECLARED, [f"count=@{file}", f"upload=@{file}", "day=@@x"], None, kept)
    assert found == {"count": 7, "upload": {"size": 1, "sha256": "0" * 64, "name": "a.txt"}, "day": "@x"}


@pytest.mark.parametrize("text", ["upload=@gone", "count=@gone"])
def test_a_file_that_is_not_there_is_told(text: str) -> None:
    with pytest.raises(NotFound, match="unknown file 'gone'"):
        values(DECLARED, [text], None, kept)


@pytest.mark.parametrize(("content", "error"), [("[1]", InvalidInput), ("a: b: c", DefinitionError)])
def test_a_file_of_variables_must_be_a_mapping(tmp_path: Path, content: str, error: type[Exception]) -> None:
    file = tmp_path / "in.yaml"
    file.write_text(content)
    with pytest.raises(error):
        read_file(file)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "in.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_file(file)


def test_every_error_has_an_exit_code() -> None:
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StepwellError)]
    assert {code_of(kind.__new__(kind)) for kind in classes} <= set(Exit)
    assert code_of(errors.QueueFull("full")) is code_of(Unavailable("away")) is code_of(Conflict("no")) is Exit.CONFLICT


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (-3, "0.00s"), (0.123, "0.12s"), (4.21, "4.2s"), (187, "3m 07s"), (7500, "2h 05m")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_texts_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\r\x00\x9b\tc\nd\ud800") == "a�[2Jb���\tc\nd?"
    assert first_line("\n one\ntwo") == "one"
    assert first_line("x" * 300) == "x" * 199 + "…"


def test_moments_are_in_utc() -> None:
    assert moment(1_795_303_525.0625) == "2026-11-21T23:25:25.062Z"
    assert moment(None) is None


def test_json_with_half_a_surrogate_pair_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"é": "\ud800"})
    out = capsys.readouterr().out
    assert "é" in out
    assert json.loads(out) == {"é": "\ud800"}


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_json_for_an_encoding_that_lacks_a_character_loses_none(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="gbk", write_through=True))
    print_json({"text": "é" * size})
    assert json.loads(written.getvalue()) == {"text": "é" * size}


def test_marks_that_an_encoding_lacks_are_written_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    monkeypatch.setattr("sys.stderr", io.StringIO())
    tolerate()
    sys.stdout.write("✓ completed, 漢字, ")
    sys.stdout.write("".join(ASCII))
    assert written.getvalue().decode("ascii") == "+ completed, ??, " + "".join(ASCII.values())
    assert all(len(text) == 1 for text in ASCII.values()), "columns stay where they are"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("exit code 1\nwc: first\nwc: notes.txt: no such file\n\n", "exit code 1: wc: notes.txt: no such file"),
        ("ended by signal SIGKILL\n  last", "ended by signal SIGKILL: last"),
        ("exit code 2, without any output", "exit code 2, without any output"),
        ("exit code 3", "exit code 3"),
        ("no orders\nof that day", "no orders"),
        ("exit code 1\n" + "x" * 500, "exit code 1: " + "x" * 186 + "…"),
    ],
)
def test_a_failure_is_told_in_a_line(message: str, line: str) -> None:
    assert reason(message) == line


def test_long_values_are_cut_and_short_ones_beside_them_are_not() -> None:
    shown = as_lines({"big": "x" * 5_000_000, "small": [1, {"a": None}]})
    assert "x" * 100 in shown
    assert len(shown) < LONGEST_VALUE + 200
    assert "… 5,000,002 characters; --json shows all" in shown
    assert shown.endswith('"small": [\n    1,\n    {\n      "a": null\n    }\n  ]\n}')


@pytest.mark.parametrize("value", [{}, {"a": 1, "b": {"c": ["é", None]}}, [1, [2]], "text", 3])
def test_short_values_are_shown_as_they_are(value: object) -> None:
    assert as_lines(value) == json.dumps(value, ensure_ascii=False, indent=2)


def test_many_values_are_cut_together() -> None:
    assert len(as_lines({str(number): "x" * 1000 for number in range(1000)})) < 21_000


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (None, ""),
        ({"progress_percent": 44.6, "stage": "loading", "message": "row 1\x1b[2J"}, "45% · loading · row 1�[2J"),
        ({"progress_percent": 0}, "0%"),
        ({"progress_percent": "most", "filename": "a.bin"}, "a.bin"),
    ],
)
def test_progress_is_told_in_a_few_words(progress: Mapping[str, Any] | None, text: str) -> None:
    assert progress_text(progress) == text
