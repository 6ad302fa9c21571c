"""Strict YAML: what is read as what, what is refused, and where everything stands."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import DefinitionError, Problem
from stepwell.strict_yaml import Place, composer, parse


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test holds with libyaml and with PyYAML's own parser."""
    monkeypatch.setattr(composer, "Loader", getattr(yaml, request.param))


def problems(text: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        parse(text, "flow.yaml")
    return caught.value.problems


def problem(text: str | bytes) -> Problem:
    (only,) = problems(text)
    return only


TEXTS = [
    *["yes", "on", "True", "FALSE", "Null", "NULL", "inf", "nan", ".", "+", "=", "a:b"],
    *["010", "-01", "007.5", "0x1F", "0o14", "0b1", "1_000", "1.2.3", "5m", "5%"],
    *["12:30:00", "2024-01-01", "2024-01-01T00:00:00Z"],
]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("12345678901234567890", 12345678901234567890),
        ("1.5", 1.5),
        ("-.5e3", -500.0),
        ("1e3", 1000.0),
        *[(text, text) for text in TEXTS],
        ('"200"', "200"),
        ("'true'", "true"),
        ('"\\u00e9\\x41"', "éA"),
        ("'it''s'", "it's"),
        ("{a: [1, {b: c}]}", {"a": [1, {"b": "c"}]}),
        ("[]", []),
        ("{}", {}),
        ("{a: }", {"a": None}),
        ('{"a":1}', {"a": 1}),
        ("|\n  one\n  two\n", "one\ntwo\n"),
        (">-\n  one\n  two\n", "one two"),
    ],
)
def test_scalars_and_collections(written: str, value: object) -> None:
    read = parse(f"k: {written}\n").data
    assert read == {"k": value}
    assert isinstance(read, dict)
    assert type(read["k"]) is type(value)


@pytest.mark.parametrize(
    "text",
    ["", "\n", "# only a comment\n", "---\n", "\ufeff"],
)
def test_nothing_is_null(text: str) -> None:
    assert parse(text).data is None


@pytest.mark.parametrize(
    "text", ["a: 1\r\nb: 2\r\n", "a: 1\rb: 2", "\ufeffa: 1\nb: 2", "%YAML 1.2\n---\na: 1\nb: 2\n...\n"]
)
def test_line_ends_byte_order_mark_and_directive(text: str) -> None:
    assert parse(text).data == {"a": 1, "b": 2}
    assert parse(text.encode()).data == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' stands twice in this mapping, first in line 1"),
        ("{a: 1, a: 2}", 1, 8, "'a' stands twice"),
        ("x:\n  200: ok\n", 2, 3, "put 200 in quotes"),
        ("true: 1\n", 1, 1, "put true in quotes"),
        ("null: 1\n", 1, 1, "put null in quotes"),
        ("{: 1}", 1, 2, "a key or a value is missing"),
        ("? [a]\n: 1\n", 1, 3, "a key is a text"),
        ("? {a: 1}\n: 1\n", 1, 3, "a key is a text"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, 3, "merge keys (<<)"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document begins here"),
        ("%YAML 1.1\n---\na: 1\n", 1, 1, "read as YAML 1.2"),
        ("%TAG !e! tag:x,2024:\n---\na: 1\n", 1, 1, "remove the %TAG line"),
        ("a: !!python/object:os.system x\n", 1, 4, "tags are not used here"),
        ("a:\n  !custom\n  b: 1\n", 2, 3, "tags are not used here"),
        ("a: !!set {b: }\n", 1, 4, "tags are not used here"),
        ("a: !%ED%A0%80 x\n", 1, None, ""),
        ("a: .inf\n", 1, 4, "not a JSON number"),
        ("a: -.INF\n", 1, 4, "not a JSON number"),
        ("a: .nan\n", 1, 4, "not a JSON number"),
        ("a: 1e999\n", 1, 4, "too large for JSON"),
        ("a: 123456789012345678901\n", 1, 4, "more than 20 digits"),
        ('a: "x\\0y"\n', 1, 4, "NUL"),
        ('a: "\\ud83d\\ude00"\n', 1, None, "half of a character"),
        ("a: b\0c\n", 1, 5, "NUL"),
        ("ok: 1\na: b\x07c\n", 2, 5, "U+0007"),
        ("a: b\u2028c\n", 1, 5, "U+2028"),
        ("a: b\x85c\n", 1, 5, "U+0085"),
        ("a: b\ufeffc\n", 1, 5, "U+FEFF"),
        ("a: \ud83d\n", 1, 4, "half of a character"),
        (b"a: 1\nb: \xff\n", 2, 4, "byte 0xFF is not UTF-8"),
        ("a: 1\n".encode("utf-16"), 1, 1, "not UTF-8"),
        ("a: *nowhere\n", 1, 4, "unknown anchor 'nowhere'"),
        ("a: &known 1\nb: *knwon\n", 2, 4, "did you mean 'known'?"),
        ("a: &a [*a]\n", 1, 8, "stands inside what it refers to"),
        ("a: &a\n  b: *a\n", 2, 6, "stands inside what it refers to"),
        ("{a, b: 1}", 1, 2, "'a' has no value"),
        ("a: [1,\n  2\nb: 3\n", 1, 4, "'[' is not closed"),
        ("a:\n  - b\n c: 1\n", 3, 2, "check the indentation"),
        ("a: - b\n", 1, 4, "begin it on the next line"),
    ],
)
def test_refused_with_its_place(text: str | bytes, line: int, column: int | None, says: str) -> None:
    found = problem(text)
    assert says in found.message
    assert (found.file, found.line) == ("flow.yaml", line)
    assert column in (found.column, None)


def test_every_problem_at_once_in_order() -> None:
    text = "a: 1\n200: x\nb: 'x' in y\na: 2\nc: {d: ${{ e }}}\nf: .nan\n"
    assert [found.line for found in problems(text)] == [2, 3, 4, 5, 6]


def test_a_problem_shows_its_line() -> None:
    assert problem("a: 1\n  \na:   2  # again\n").source == "a:   2  # again"
    assert len(problem("a: ." + "9" * 30 + "e999" + " " * 10_000).source) < 2_100


def test_at_most_a_hundred_problems() -> None:
    assert len(problems("a: 1\n" * 1000)) == 100


def test_quoted_merge_key_is_a_common_key() -> None:
    assert parse('"<<": 1').data == {"<<": 1}


def test_aliases_are_independent_copies() -> None:
    data = parse("a: &x {n: [1]}\nb: *x\nc: [*x, *x]\n").data
    assert data == {"a": {"n": [1]}, "b": {"n": [1]}, "c": [{"n": [1]}, {"n": [1]}]}
    assert isinstance(data, dict)
    data["b"]["n"].append(2)
    assert data["a"] == {"n": [1]}
    assert data["c"][0] is not data["c"][1]


def test_an_anchor_given_again_is_another() -> None:
    assert parse("[&a 1, *a, &a 2, *a]").data == [1, 1, 2, 2]


TEXT = """\
name: x
steps:
  - id: a
    with: {k: v, "q": [1, two]}
  - &b
    id: b
  - *b
empty:
"""


@pytest.mark.parametrize(
    ("path", "key", "line", "column"),
    [
        ([], False, 1, 1),
        (["name"], False, 1, 7),
        (["name"], True, 1, 1),
        (["steps", 0], False, 3, 5),
        (["steps", 0, "id"], False, 3, 9),
        (["steps", 0, "with"], False, 4, 11),
        (["steps", 0, "with", "k"], True, 4, 12),
        (["steps", 0, "with", "q", 1], False, 4, 27),
        (["steps", 0, "with", "q", 1], True, 4, 27),
        (["steps", 2], False, 7, 5),
        (["steps", 2, "id"], False, 6, 9),
        (["empty"], True, 8, 1),
        (["nowhere", "x"], False, 1, 1),
        (["steps", 0, "missing", 5], True, 3, 5),
        (["steps", 9], False, 3, 3),
        (["steps", -1], False, 3, 3),
        (["steps", "0"], False, 3, 3),
        (["name", 0], False, 1, 7),
        ([0], False, 1, 1),
    ],
)
def test_places(path: Sequence[str | int], key: bool, line: int, column: int) -> None:
    assert parse(TEXT).place(path, key=key) == Place(line, column)


def test_problems_of_readers_of_the_data() -> None:
    document = parse(TEXT, "orders.yaml")
    found = document.problem(["steps", 0, "id"], "unknown key", key=True, corrected="x")
    assert found == Problem("unknown key", "orders.yaml", 3, 5, "  - id: a", "x")
    assert document.source(Place(8, 1)) == "empty:"
    assert document.source(Place(99, 1)) == ""
    assert (document.file, document.lines[0]) == ("orders.yaml", "name: x")


def json_like(value: object) -> bool:
    return bool(json.loads(json.dumps(value, allow_nan=False)) == value)


_FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *"abc019 .:,-?#&*!|>'\"%@`{}[]()\\\t\n",
            "\n  ",
            ": ",
            "- ",
            " #",
            "${{ ",
            " }}",
            "{{",
            "<<",
            "&a ",
            "*a",
            "!!",
            "é",
        ]
    ),
    max_size=40,
).map("".join)


def data_or_problems(text: str | bytes) -> tuple[object, tuple[Problem, ...]]:
    try:
        return parse(text).data, ()
    except DefinitionError as error:
        return None, error.problems


@given(st.one_of(st.text(), _FRAGMENTS, st.binary()))
def test_any_text_is_data_or_a_definition_error(text: str | bytes) -> None:
    data, found = data_or_problems(text)
    assert json_like(data)
    assert len(found) <= 100
    assert all(one.message and one.line >= 1 and one.column >= 1 for one in found)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abc é'\"\\#:-\n\t😀"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc :#", max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_json_reads_as_itself(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False)).data == value
