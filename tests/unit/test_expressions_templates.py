"""Values with `${{ … }}` in their strings: how they are split, filled in, and what their errors say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import ExpressionError
from stepwell.expressions import compile_template, split

NAMES: dict[str, Any] = {"n": 3, "s": "it's", "l": ["eu", None], "o": {"a": True}, "f": 1.5, "z": None}
LITERAL = st.text().filter(lambda text: "${{" not in text)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | LITERAL,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain { } {{ x }} $x ${x}", ["plain { } {{ x }} $x ${x}"]),
        ("${{ a }}", [(4, "a")]),
        ("${{a}}", [(3, "a")]),
        ("x ${{ a }}-${{ b }} y", ["x ", (6, "a"), "-", (15, "b"), " y"]),
        ("${{ {'a': '}}'} }}", [(4, "{'a': '}}'}")]),
        ("${{ {'a': {'b': {}}}}}!", [(4, "{'a': {'b': {}}}"), "!"]),
        (r"""${{ 'it\'s }}' ~ "'}}" }}""", [(4, r"""'it\'s }}' ~ "'}}" """.strip())]),
        ("${{ '${{' }}", [(4, "'${{'")]),
        ("${{\n  a\n}}\n", [(6, "a"), "\n"]),
        ("a }} b", ["a }} b"]),
    ],
)
def test_split(text: str, parts: list[str | tuple[int, str]]) -> None:
    assert split(text) == parts


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("ab ${{ x", "`${{` is never closed by `}}`", 3),
        ("${{ {'a': 1 }}", "never closed", 0),
        ("${{ 'a }}", "the string is never closed by '", 4),
        ("${{ " + "x" * 20_000, "at most 10,000 characters", 0),
    ],
)
def test_what_cannot_be_split(text: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        split(text)
    assert message in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("${{ n }}", 3),
        ("  ${{ l }}\n", ["eu", None]),
        ("${{ z }}", None),
        ("n=${{ n }}", "n=3"),
        ("${{ n }}${{ s }}", "3it's"),
        ("${{ o }} ${{ l }} ${{ f }} ${{ z }} ${{ true }}", '{"a": true} ["eu", null] 1.5 null true'),
        ({"a": ["${{ n }}", 1, None], "b": {"${{ k }}": "x${{ n }}"}}, {"a": [3, 1, None], "b": {"${{ k }}": "x3"}}),
        ("${{ 'a${{b}}' }}", "a${{b}}"),
    ],
)
def test_filled_in(value: object, expected: object) -> None:
    assert compile_template(value)(NAMES) == expected


@given(JSON)
def test_a_value_without_expressions_is_constant_and_always_fresh(value: Any) -> None:
    template = compile_template({"value": value, "list": []})
    assert template.is_constant
    assert template.references == ()
    first: Any = template({})
    first["list"].append("changed")
    assert template({}) == {"value": value, "list": []}


def test_a_template_does_not_see_later_changes_of_its_source() -> None:
    source: dict[str, Any] = {"a": ["x"]}
    template = compile_template(source)
    source["a"].append("y")
    assert template({}) == {"a": ["x"]}


def test_what_is_filled_in_is_fresh() -> None:
    names = {"rows": [[1]]}
    template = compile_template({"a": "${{ rows }}", "b": "${{ rows }}", "c": ["${{ 1 }}", {}]})
    filled: Any = template(names)
    filled["a"][0].append(2)
    filled["c"][1]["x"] = 1
    assert template(names) == {"a": [[1]], "b": [[1]], "c": [1, {}]}


def test_errors_name_their_place_in_the_value() -> None:
    template = compile_template({"headers": [{"day": "on ${{ variables.day }}"}]})
    with pytest.raises(ExpressionError) as caught:
        template({"variables": {}})
    assert str(caught.value) == "headers[0].day: variables.day: 'day' is missing; there are: none"
    assert caught.value.offset == 7


@pytest.mark.parametrize(
    ("value", "message", "offset"),
    [
        ({"a": ["x ${{ b | uper }}"]}, "a[0]: unknown filter 'uper' (did you mean 'upper'?)", 10),
        ("${{ a && b }}", "write `and` for `&&`", 6),
        ("x ${{ }}", "the expression is empty", 6),
    ],
)
def test_mistakes_are_found_when_compiled(value: object, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_template(value)
    assert message in str(caught.value)
    assert caught.value.offset == offset


def test_values_nested_too_deeply_are_refused() -> None:
    value: Any = "x"
    for _ in range(200):
        value = [value]
    with pytest.raises(ExpressionError, match="nested more than 100 levels"):
        compile_template(value)
