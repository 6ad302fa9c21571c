"""The JSON Schema for editors: the file in `schemas/` is current, and it accepts what loads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.unit.loader_samples import EVERYTHING, ORDERS
from tests.unit.test_loader_problems import KINDS, SHAPE

from stepwell.loader import schema
from stepwell.strict_yaml import parse

FILE = Path(__file__).parents[2] / "schemas" / "workflow.json"
VALIDATOR = Draft202012Validator(schema())

NOT_FOR_A_SCHEMA = {
    "keys of another kind",
    "numbers that are too small",
    "time limits of no time",
    "foreach.as hides a name",
    "a default case that is not the last",
    "a reserved id",
}
"""Mistakes that only the loader finds."""


def test_the_file_is_current() -> None:
    written = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    assert FILE.read_text() == written, "write it anew: stepwell schema > schemas/workflow.json"


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["title"] == "Stepwell workflow"


@pytest.mark.parametrize("text", [ORDERS, EVERYTHING], ids=["orders", "everything"])
def test_what_loads_is_valid(text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(parse(text).data)] == []


@pytest.mark.parametrize("name", sorted({*SHAPE, *KINDS} - NOT_FOR_A_SCHEMA))
def test_what_has_the_wrong_shape_is_not(name: str) -> None:
    assert not VALIDATOR.is_valid(parse((SHAPE | KINDS)[name].text).data)


@pytest.mark.parametrize(
    "step",
    [
        {"uses": "log", "timeout": "${{ variables.limit }}", "retry": {"max_retries": "${{ variables.n }}"}},
        {"run": ["ls", "${{ item }}"], "foreach": "variables.items", "cwd": "${{ item }}"},
        {"output": "x", "foreach": {"in": "x", "max_parallel": "${{ variables.n }}", "max_failed": "5%"}},
        {"output": "x", "until": True, "every": "${{ variables.limit }}", "max_times": "${{ variables.n }}"},
    ],
)
def test_expressions_are_valid_where_they_may_stand(step: dict[str, object]) -> None:
    assert VALIDATOR.is_valid({"steps": [step]})


@pytest.mark.parametrize(
    "step",
    [
        {"uses": "log", "ned": ["a"]},
        {"uses": "log", "run": "ls"},
        {"id": "a"},
        {"uses": "log", "timeout": "5 minutes"},
        {"uses": "log", "if": None},
        {"output": 1, "every": "5s"},
        {"output": 1, "until": True, "foreach": [1]},
    ],
)
def test_mistakes_show_in_the_editor(step: dict[str, object]) -> None:
    assert not VALIDATOR.is_valid({"steps": [step]})


def test_every_key_is_described_or_plain() -> None:
    keys = schema()["$defs"]["Step"]["properties"]
    assert [key for key, value in keys.items() if "description" not in value] == ["id", "name", "description"]
