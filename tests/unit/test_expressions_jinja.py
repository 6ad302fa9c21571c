"""Expressions mean what they mean in Jinja2: the same random expressions, compared with its own sandbox."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stepwell.errors import ExpressionError
from stepwell.expressions import compile_expression

NAMES: dict[str, Any] = {
    "n": 4,
    "f": 1.5,
    "s": "Some Text",
    "l": [3, 1, 2],
    "w": ["b", "A", "a"],
    "o": {"a": 1, "b": {"c": None}},
    "rows": [{"n": 1, "k": "x"}, {"n": 2, "k": "Y"}, {"n": 2, "k": "x"}],
}
JINJA = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
ATOMS = ["n", "f", "s", "l", "w", "o", "rows", "o.b.c", "rows[0].n", "rows[1]['k']", "missing", "0", "2", "'x'", "''"]
# Filters of texts only meet texts: anything else becomes text by JSON's spelling here, by Python's there.
TEXTS = ["upper", "lower", "title", "trim", "truncate(6)", "replace('e', 'E')", "urlencode", "int", "float", "list"]
ATOMS += [f"s | {name}" for name in TEXTS]
ATOMS += ["w | join('-')", "l | join(',')", "w | map('upper') | list", "s ~ n ~ f", "s.split()", "s.startswith('So')"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "in", "not in", "and", "or"]
FILTERS = ["abs", "first", "last", "length", "list", "sort", "sum", "min", "max", "int", "float", "round", "dictsort"]
FILTERS += [
    "unique | list",
    "items | list",
    "round(1, 'floor')",
    "default(7)",
    "default(7, true)",
    "reject('odd') | list",
]
FILTERS += ["map(attribute='n') | list", "select('gt', 1) | list", "select | list", "selectattr('n', 'eq', 2) | list"]
FILTERS += ["rejectattr('n') | list", "groupby('k') | list", "sort(reverse=true)", "sort(attribute='k')"]
FILTERS += ["sum(attribute='n')", "max(attribute='n')", "min(attribute='k')", "unique(attribute='k') | list"]
TESTS = ["defined", "undefined", "none", "string", "number", "mapping", "sequence", "odd", "divisibleby 2", "in [1, 2]"]


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("({}|{})".format, inner, st.sampled_from(FILTERS)),
        st.builds("({} is {})".format, inner, st.sampled_from(TESTS)),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{}[1:]".format, inner),
    )


EXPRESSIONS = st.recursive(st.sampled_from([f"({atom})" for atom in ATOMS]), grow, max_leaves=5)


def by_jinja(text: str) -> Any:
    """What Jinja2 makes of it as JSON; None where it fails (`0[1:]` is a SyntaxWarning of the code it generates)."""
    try:
        value = JINJA.compile_expression(text, undefined_to_none=False)(**NAMES)
        return json.loads(json.dumps([value]))
    except (TemplateError, SyntaxError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return None


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS)
def test_what_we_compute_is_what_jinja_computes(text: str) -> None:
    try:
        ours = [compile_expression(text)(NAMES)]
    except ExpressionError:
        return
    theirs = by_jinja(text)
    assert theirs is None or ours == theirs
