"""What is said on the command line, and what is written to the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stepwell import errors
from stepwell.cli.exits import Exit, code_of
from stepwell.cli.inputs import pairs, read_file, values
from stepwell.cli.output import duration, first_line, harmless, moment, print_json
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
