"""Typed variables: what fits and becomes of it, what is told of the rest, command lines, declarations, JSON Schema."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stepwell.errors import InvalidInput
from stepwell.variables import check, from_text, json_schema, problems, replace_secrets
from stepwell.workflow import Variable

SHA = "ab" * 32
DURATION = "must be a duration like 30s, 5m, 2h or a number of seconds"
FILE = "must be the sha256 of an upload, or its {sha256, name, size}"
NO_FILE = {"name": None, "size": None}


def declare(**variables: Any) -> dict[str, Variable]:
    """`declare(day="date", n={"type": "integer"})`, as a workflow file says it."""
    return {
        name: Variable.model_validate({"type": spec} if isinstance(spec, str) else spec)
        for name, spec in variables.items()
    }


def refused(declared: dict[str, Variable], **given: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        check(declared, given)
    return [(problem.field, problem.message) for problem in caught.value.problems]


ORDER = {
    "type": "object",
    "fields": {
        "price": {"type": "number", "required": True, "min": 0},
        "tags": {"type": "list", "items": "string"},
        "paid": {"type": "boolean", "default": False},
    },
}


@pytest.mark.parametrize(
    ("spec", "value", "normal"),
    [
        ("string", "5\0", "5\0"),
        ("integer", 5.0, 5),
        ("integer", -(10**300), -(10**300)),
        ("number", 5, 5),
        ("number", 0.5, 0.5),
        ("boolean", False, False),
        ("date", "2026-11-21", "2026-11-21"),
        ("date", date(2026, 11, 21), "2026-11-21"),
        ("datetime", "2026-11-21T09:30:00", "2026-11-21T09:30:00Z"),
        ("datetime", "2026-11-21 09:30:00.5+02:00", "2026-11-21T07:30:00.500000Z"),
        ("datetime", datetime(2026, 11, 21, 9, tzinfo=timezone(timedelta(hours=-1))), "2026-11-21T10:00:00Z"),
        ("duration", "5m", 300),
        ("duration", "500ms", 0.5),
        ("duration", 90, 90),
        ("list", (1, "a", None, [True]), [1, "a", None, [True]]),
        ({"type": "list", "items": "duration"}, ["1h", 2], [3600, 2]),
        ("object", {"a": {"b": [1.5]}}, {"a": {"b": [1.5]}}),
        (ORDER, {"price": 1}, {"price": 1, "tags": None, "paid": False}),
        ("any", None, None),
        ("any", {"a": [None, "x"]}, {"a": [None, "x"]}),
        ("file", SHA.upper(), {"sha256": SHA, **NO_FILE}),
        (
            "file",
            {"sha256": SHA, "name": "a.csv", "size": 3, "url": "/files/1"},
            {"sha256": SHA, "name": "a.csv", "size": 3},
        ),
        ("secret", "hunter22", "hunter22"),
        ({"type": "number", "enum": [1, 2.5]}, 1.0, 1.0),
        ({"type": "duration", "enum": ["1m", "1h"]}, 3600, 3600),
        ({"type": "duration", "min": "1m", "max": 120}, "2m", 120),
        ({"type": "datetime", "min": "2026-01-01T00:00:00.5Z"}, "2026-01-01T00:00:01Z", "2026-01-01T00:00:01Z"),
        ({"type": "string", "min": 2, "max": 2}, "ää", "ää"),
        ({"type": "string", "pattern": "b+"}, "abc", "abc"),
    ],
)
def test_what_fits_is_normalised_and_fits_again(spec: Any, value: Any, normal: Any) -> None:
    declared = declare(x=spec)
    checked = check(declared, {"x": value})
    assert json.dumps(checked) == json.dumps({"x": normal})
    assert check(declared, checked) == checked


@pytest.mark.parametrize(
    ("spec", "value", "message"),
    [
        ("string", 5, "must be a string, not 5"),
        ("integer", "5", 'must be a whole number, not the string "5"'),
        ("integer", True, "must be a whole number, not true"),
        ("integer", 1.5, "must be a whole number, not 1.5"),
        ("integer", 10**309, "must be a whole number, not a number of more than 308 digits"),
        pytest.param(
            "integer", 10**5000, "must be a whole number, not a number of more than 308 digits", id="beyond-str"
        ),
        ("number", float("nan"), "must be a number, not nan"),
        ("number", float("-inf"), "must be a number, not -inf"),
        ("number", False, "must be a number, not false"),
        ("boolean", "true", 'must be true or false, not the string "true"'),
        ("boolean", 1, "must be true or false, not 1"),
        ("date", "20261121", 'must be a date like 2026-11-21, not the string "20261121"'),
        ("date", "2026-02-30", 'must be a date like 2026-11-21, not the string "2026-02-30"'),
        ("date", datetime(2026, 1, 1, tzinfo=UTC), "must be a date like 2026-11-21, not a time"),
        ("datetime", "2026-11-21", 'must be a time like 2026-11-21T09:30:00Z, not the string "2026-11-21"'),
        (
            "datetime",
            "0001-01-01T00:00+14:00",
            'must be a time like 2026-11-21T09:30:00Z, not the string "0001-01-01T00:00+14:00"',
        ),
        ("duration", "soon", f'{DURATION}, not the string "soon"'),
        ("duration", -1, f"{DURATION}, not -1"),
        ("duration", 10**400, f"{DURATION}, not a number of more than 308 digits"),
        ("list", "a", "must be a list, not a string"),
        ("list", {}, "must be a list, not an object"),
        ("object", [], "must be an object, not a list"),
        ("any", {1, 2}, "must be JSON, not a Python set"),
        ("any", {1: 2}, "has the key 1, but keys must be strings"),
        ("any", float("inf"), "must be JSON, not inf"),
        ("file", "abc", f'{FILE}, not the string "abc"'),
        ("file", {"sha256": SHA, "name": "../a"}, f"{FILE}, not an object"),
        ("file", {"sha256": SHA, "size": -1}, f"{FILE}, not an object"),
        ({"type": "integer", "default": 1}, None, "must be a whole number, not null"),
        ({"type": "string", "min": 2}, "a", "must have at least 2 characters"),
        ({"type": "list", "max": 1}, [1, 2], "must have at most 1 items"),
        ({"type": "number", "min": 0.5}, 0, "must be at least 0.5"),
        ({"type": "integer", "max": 5}, 6, "must be at most 5"),
        ({"type": "date", "max": "2026-01-01"}, "2026-01-02", "must be at most 2026-01-01"),
        (
            {"type": "datetime", "max": "2026-01-01T00:00:00Z"},
            "2026-01-01T00:00:00.5Z",
            "must be at most 2026-01-01T00:00:00Z",
        ),
        ({"type": "string", "pattern": "^a$"}, "a\n", "must match the pattern ^a$"),
        ({"type": "string", "pattern": "a"}, "\ud800", "must match the pattern a"),
        ({"type": "string", "enum": ["eu", "us"]}, "ue", 'must be one of ["eu", "us"]'),
        ({"type": "any", "enum": [1, [0]]}, True, "must be one of [1, [0]]"),
        ({"type": "any", "enum": [{"a": 0}]}, {"a": False}, 'must be one of [{"a": 0}]'),
        ({"type": "any", "enum": [1, [0]]}, [False], "must be one of [1, [0]]"),
    ],
)
def test_what_does_not_fit_is_told(spec: Any, value: Any, message: str) -> None:
    assert refused(declare(x=spec), x=value) == [("variables.x", message)]


def test_variables_that_are_not_given_have_their_default_or_null() -> None:
    assert check(declare(a="string", b={"type": "list", "default": [1]}), {}) == {"a": None, "b": [1]}
    assert check(declare(a="string"), {"a": None}) == {"a": None}


def test_a_default_is_normalised_too_and_not_shared() -> None:
    declared = declare(every={"type": "duration", "default": "5m"}, regions={"type": "list", "default": ["eu"]})
    check(declared, {})["regions"].append("changed")
    assert check(declared, {}) == {"every": 300, "regions": ["eu"]}


def test_every_problem_is_told_at_once_with_its_place() -> None:
    declared = declare(
        day={"type": "date", "required": True},
        regions={"type": "list", "items": "string"},
        orders={"type": "list", "items": ORDER},
        extra="any",
    )
    given = {
        "dya": "2026-11-21",
        "regions": ["eu", 5, None],
        "orders": [{"price": 1}, {"price": -1, "pirce": 2}, {"tags": ["a", 1]}],
        "extra": {"deep": [1, {"x": float("nan")}]},
    }
    assert refused(declared, **given) == [
        ("variables.dya", "unknown variable (did you mean 'day'?)"),
        ("variables.day", "is required"),
        ("variables.regions[1]", "must be a string, not 5"),
        ("variables.regions[2]", "must be a string, not null"),
        ("variables.orders[1].pirce", "unknown field (did you mean 'price'?)"),
        ("variables.orders[1].price", "must be at least 0"),
        ("variables.orders[2].price", "is required"),
        ("variables.orders[2].tags[1]", "must be a string, not 1"),
        ("variables.extra.deep[1].x", "must be JSON, not nan"),
    ]


def test_a_wrong_secret_is_not_shown() -> None:
    declared = declare(token={"type": "secret", "pattern": "^x"}, pin="secret")
    assert refused(declared, token="hunter22", pin=[1234]) == [
        ("variables.token", "must match the pattern ^x"),
        ("variables.pin", "must be a string, not a list"),
    ]


def test_a_secret_in_the_place_of_a_list_or_object_is_not_shown() -> None:
    declared = declare(pins={"type": "list", "items": "secret"}, keys={"type": "object", "fields": {"a": "secret"}})
    found = refused(declared, pins="hunter22", keys="hunter22")
    assert "hunter22" not in str(found)
    assert len(found) == 2


def test_many_unknown_names_are_told_without_looking_for_each() -> None:
    declared = declare(**{f"value{n}": "any" for n in range(50)})
    found = refused(declared, **{f"valeu{n}": 1 for n in range(50)})
    assert sum("did you mean" in message for _, message in found) == 10


def test_large_wrong_values_make_short_messages() -> None:
    (problem,) = refused(declare(n="integer"), n="9" * 10_000_000)
    assert len(problem[1]) < 200
    ((field, _),) = refused({}, **{"x\ud800" * 1_000_000: 1})
    assert len(field) < 200
    field.encode()


def test_the_number_of_problems_is_bounded() -> None:
    found = refused(declare(rows={"type": "list", "items": "integer"}), rows=["x"] * 100_000)
    assert len(found) == 101
    assert found[99][0] == "variables.rows[99]"
    assert found[100] == ("variables", "has more problems than these 100")


@pytest.mark.parametrize("spec", ["any", "list"])
def test_nesting_is_bounded(spec: str) -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    assert check(declare(x=spec), {"x": value}) == {"x": value}
    ((field, message),) = refused(declare(x=spec), x=[value])
    assert (field, message) == ("variables.x" + "[0]" * 100, "is nested more than 100 deep")


def test_a_hostile_pattern_takes_linear_time() -> None:
    declared = declare(x={"type": "string", "pattern": "^(a+)+$"})
    assert refused(declared, x="a" * 1_000_000 + "b")


@pytest.mark.parametrize(
    ("spec", "text", "value"),
    [
        ("string", "5", "5"),
        ("date", "2026-11-21", "2026-11-21"),
        ("secret", "[1]", "[1]"),
        ("integer", "5", 5),
        ("integer", "5x", "5x"),
        ("integer", "9" * 5000, "9" * 5000),
        ("number", "2.5", 2.5),
        ("boolean", "true", True),
        ("boolean", "yes", "yes"),
        ("object", '{"a": 1}', {"a": 1}),
        ("list", '["a, b"]', ["a, b"]),
        ("list", "eu, us", ["eu", "us"]),
        ("list", "", []),
        ({"type": "list", "items": "integer"}, "1,2", [1, 2]),
        ({"type": "list", "items": "object"}, "1,2", "1,2"),
        ("list", "[" * 100_000, "[" * 100_000),
        ("any", "5", 5),
        ("any", "five", "five"),
    ],
)
def test_command_line_text_is_read_by_the_declared_type(spec: Any, text: str, value: Any) -> None:
    read = from_text(declare(x=spec), "x", text)
    assert (read, type(read)) == (value, type(value))


def test_an_unknown_name_on_the_command_line_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"variables\.dya: unknown variable \(did you mean 'day'\?\)"):
        from_text(declare(day="date"), "dya", "x")


@pytest.mark.parametrize(
    ("spec", "place", "message"),
    [
        (
            {"type": "integer", "default": "x"},
            "default",
            'the string "x" does not fit: must be a whole number, not the string "x"',
        ),
        (
            {"type": "list", "items": "integer", "default": [1, "x"]},
            "default",
            'a list does not fit: [1] must be a whole number, not the string "x"',
        ),
        (
            {"type": "date", "default": "${{ now() }}"},
            "default",
            "is taken literally: a default cannot hold an expression",
        ),
        (
            {"type": "integer", "required": True, "default": 1},
            "default",
            "a required variable cannot have a default: leave out one of the two",
        ),
        ({"type": "secret", "default": "x"}, "default", "the value of a secret cannot stand in the file"),
        ({"type": "integer", "min": 3, "max": 2, "default": "x"}, "min", "is 3.0, more than max, which is 2.0"),
        (
            {"type": "integer", "enum": ["x", 1]},
            "enum",
            'the string "x" does not fit: must be a whole number, not the string "x"',
        ),
        ({"type": "integer", "min": 3, "max": 2}, "min", "is 3.0, more than max, which is 2.0"),
        (
            {"type": "duration", "min": "1h", "max": "1m"},
            "min",
            'is the string "1h", more than max, which is the string "1m"',
        ),
        ({"type": "date", "min": 5}, "min", "must be a date like 2026-11-21, not 5.0"),
        ({"type": "string", "max": 1.5}, "max", "must be a whole number, not 1.5"),
        ({"type": "boolean", "min": 1}, "min", "the type boolean has no least value"),
        ({"type": "any", "max": 1}, "max", "the type any has no greatest value"),
        ({"type": "integer", "pattern": "x"}, "pattern", "only a string can have a pattern"),
        ({"type": "string", "items": "string"}, "items", "only a list has items"),
        ({"type": "list", "fields": {}}, "fields", "only an object has fields"),
        ({"type": "integer", "max": 2, "enum": [1, 3]}, "enum", "3 does not fit: must be at most 2"),
        (
            {"type": "string", "enum": ["a"], "default": "b"},
            "default",
            'the string "b" does not fit: must be one of ["a"]',
        ),
        (
            {"type": "list", "items": {"type": "string", "default": "a"}},
            "items.default",
            "the items of a list cannot have a default",
        ),
        (
            {"type": "object", "fields": {"a": {"type": "list", "items": {"type": "any", "min": 1}}}},
            "fields.a.items.min",
            "the type any has no least value",
        ),
    ],
)
def test_wrong_declarations_are_found_before_any_value(spec: Any, place: str, message: str) -> None:
    assert [(".".join(path), text) for path, text in problems(declare(x=spec))] == [(f"x.{place}", message)]


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(", "the pattern is no regular expression: unclosed group"),
        ("a(?=b)", "the pattern is no regular expression: look-around"),
        (r"(a)\1", "the pattern is no regular expression: backreferences"),
        ("a{1000}{1000}{1000}", "the pattern repeats too much"),
        ("a" * 1_001, "a pattern has at most 1,000 characters, this one 1,001"),
    ],
)
def test_a_pattern_that_cannot_be_run_in_linear_time_is_refused(pattern: str, says: str) -> None:
    ((path, message),) = problems(declare(x={"type": "string", "pattern": pattern}))
    assert path == ("x", "pattern")
    assert message.startswith(says)


def test_a_text_that_takes_its_pattern_long_is_refused() -> None:
    declared = declare(x={"type": "string", "pattern": "(?:a?){500}a{500}$"})
    (problem,) = refused(declared, x="a" * 1_000_000)
    assert problem[1].startswith("is too long for its pattern: at most ")


def test_right_declarations_have_no_problems() -> None:
    assert problems(declare(order=ORDER, day={"type": "date", "min": "2026-01-01", "default": "2026-11-21"})) == []


def test_secrets_are_replaced_at_any_depth() -> None:
    declared = declare(
        token="secret",
        name="string",
        nothing="secret",
        hosts={"type": "list", "items": {"type": "object", "fields": {"key": "secret", "port": "integer"}}},
    )
    values = check(declared, {"token": "t", "name": "n", "hosts": [{"key": "k", "port": 1}]})
    assert replace_secrets(declared, values, lambda secret: f"<{secret}>") == {
        "token": "<t>",
        "name": "n",
        "nothing": None,
        "hosts": [{"key": "<k>", "port": 1}],
    }


def test_the_json_schema_says_what_forms_need() -> None:
    declared = declare(
        day={"type": "date", "required": True, "description": "The day to load"},
        region={"type": "string", "enum": ["eu", "us"]},
        limit={"type": "integer", "min": 1, "max": 5, "default": 2},
        every={"type": "duration", "enum": ["1m"]},
        upload="file",
    )
    schema = json_schema(declared)
    Draft202012Validator.check_schema(schema)
    properties = schema.pop("properties")
    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["day"],
        "additionalProperties": False,
    }
    assert properties["day"] == {"type": "string", "format": "date", "description": "The day to load"}
    assert properties["region"] == {"type": ["string", "null"], "enum": ["eu", "us", None]}
    assert properties["limit"] == {"type": "integer", "minimum": 1, "maximum": 5, "default": 2}
    assert properties["every"]["examples"] == ["1m"]
    validator = Draft202012Validator(json_schema(declared))
    assert validator.is_valid({"day": "", "upload": None})
    assert [validator.is_valid({"day": "", "every": every}) for every in ("5m", 0, -1, "soon")] == [
        True,
        True,
        False,
        False,
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
SPELLED = st.sampled_from(
    [
        "2026-11-21",
        "2026-11-21T10:00:00Z",
        "2026-11-21 10:00",
        "5m",
        "10",
        SHA,
        {"sha256": SHA},
        {"sha256": SHA, "x": 1},
    ]
)
LIMITS = {"min": st.integers(-1, 2), "max": st.integers(0, 3)}


def simple(*types: str, **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.sampled_from(types)}, optional={"required": st.booleans(), **keys})


SPEC = st.recursive(
    simple("boolean", "date", "datetime", "file", "any", "list", "object")
    | simple("integer", "number", "duration", "string", "secret", **LIMITS)
    | simple("any", "string", "number", enum=st.lists(JSON, min_size=1, max_size=3))
    | simple("string", pattern=st.sampled_from(["^a", "b", r"^\d+$"])),
    lambda inner: (
        simple("list", items=inner, **LIMITS)
        | simple("object", fields=st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
    ),
    max_leaves=4,
)
INEXPRESSIBLE = ("date", "datetime", "file", "duration")
"""Types of which the schema takes more than `check` does: formats, and bounds of durations."""


def mentions(spec: dict[str, Any], types: tuple[str, ...]) -> bool:
    inner = [spec[key] for key in ("items",) if key in spec] + list(spec.get("fields", {}).values())
    return spec["type"] in types or any(mentions(one, types) for one in inner)


@given(st.dictionaries(st.sampled_from("abc"), SPEC, max_size=2), st.data())
def test_the_json_schema_takes_what_check_takes(specs: dict[str, Any], data: st.DataObject) -> None:
    declared = declare(**specs)
    if problems(declared):
        return
    values = data.draw(st.dictionaries(st.sampled_from("abc"), JSON | SPELLED, max_size=3))
    valid = Draft202012Validator(json_schema(declared)).is_valid(values)
    try:
        checked = check(declared, values)
    except InvalidInput:
        assert not valid or any(mentions(spec, INEXPRESSIBLE) for spec in specs.values())
    else:
        assert valid
        assert check(declared, checked) == checked
        assert json.loads(json.dumps(checked, allow_nan=False)) == checked
