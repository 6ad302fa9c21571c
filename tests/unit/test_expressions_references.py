"""Which paths an expression says that it reads, where, and whether a missing member is an error there."""

from __future__ import annotations

import pytest

from stepwell.expressions import Reference, compile_expression, compile_template

Found = tuple[str, int, bool]


def found(references: tuple[Reference, ...]) -> list[Found]:
    return [(".".join(reference.path), reference.offset, reference.guarded) for reference in references]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2", []),
        ("null", []),
        ("steps.fetch.output", [("steps.fetch.output", 0, False)]),
        ("steps['fetch'].output", [("steps.fetch.output", 0, False)]),
        ("  steps.fetch.output[0].rows", [("steps.fetch.output", 2, False)]),
        ("steps.fetch.output.0.rows", [("steps.fetch.output", 0, False)]),
        ("steps[variables.name].output", [("steps", 0, False), ("variables.name", 6, False)]),
        ("a[b[c.d]].e", [("a", 0, False), ("b", 2, False), ("c.d", 4, False)]),
        ("a[b:c.d]", [("a", 0, False), ("b", 2, False), ("c.d", 4, False)]),
        ("a.b if c else d", [("c", 7, False), ("a.b", 0, False), ("d", 14, False)]),
        ("a | replace(b.c, new=d)", [("a", 0, False), ("b.c", 12, False), ("d", 21, False)]),
        ("a ~ 'steps.x' ~ steps.x", [("a", 0, False), ("steps.x", 16, False)]),
        ("a in b and c is eq d", [("a", 0, False), ("b", 5, False), ("c", 11, False), ("d", 19, False)]),
        ("[a, {'k': b, c: 1}]", [("a", 1, False), ("b", 10, False), ("c", 13, False)]),
        ("-a < not_b", [("a", 1, False), ("not_b", 5, False)]),
        ("steps.a.output.name.startswith(b)", [("steps.a.output.name", 0, False), ("b", 31, False)]),
        ("(a ~ b).split()[0].c", [("a", 1, False), ("b", 5, False)]),
        ("now() - duration('1d')", [("now", 0, False)]),
        ("date", [("date", 0, False)]),
        ("steps.a.output | default(b)", [("steps.a.output", 0, True), ("b", 25, False)]),
        ("steps.a.output[b] | default", [("steps.a.output", 0, True), ("b", 15, False)]),
        ("a.b is defined", [("a.b", 0, True)]),
        ("a.b is not defined", [("a.b", 0, True)]),
        ("(a.b | upper) | default('')", [("a.b", 1, False)]),
        ("a.b is defined and a.b.c > 1", [("a.b", 0, True), ("a.b.c", 19, True)]),
        ("a.b is defined and a.c > 1", [("a.b", 0, True), ("a.c", 19, False)]),
        ("a.b is defined or a.b > 1", [("a.b", 0, True), ("a.b", 18, False)]),
        ("a.b is undefined or a.b > 1", [("a.b", 0, True), ("a.b", 20, True)]),
        ("a.b if (a.b is defined) else a.b", [("a.b", 8, True), ("a.b", 0, True), ("a.b", 29, False)]),
        ("a.b > 1 and a.b is defined", [("a.b", 0, False), ("a.b", 12, True)]),
        ("x and a is defined and a.b", [("x", 0, False), ("a", 6, True), ("a.b", 23, True)]),
        ("${{ a.b }}", [("a.b", 4, False)]),
    ],
)
def test_references(text: str, expected: list[Found]) -> None:
    assert found(compile_expression(text).references) == expected


def test_references_of_a_template_are_counted_in_their_own_strings() -> None:
    template = compile_template({"k": ["no", "x ${{ a.b }} ${{ c }}"], "${{ d }}": 1, "m": {"n": "${{e}}"}})
    assert found(template.references) == [("a.b", 6, False), ("c", 17, False), ("e", 3, False)]
