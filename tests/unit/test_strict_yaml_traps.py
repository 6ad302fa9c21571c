"""The traps of YAML: each is answered with the line as it should have been written, and that line reads as meant."""

from __future__ import annotations

import pytest
import yaml

from stepwell.errors import DefinitionError, Problem
from stepwell.strict_yaml import composer, parse
from stepwell.strict_yaml.lines import faults


@pytest.fixture(params=["CSafeLoader", "SafeLoader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test holds with libyaml and with PyYAML's own parser."""
    monkeypatch.setattr(composer, "Loader", getattr(yaml, request.param))


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("written", "corrected", "meant"),
    [
        ("with: {k: ${{ x }}}", 'with: {k: "${{ x }}"}', {"with": {"k": "${{ x }}"}}),
        ("with: {k: a-${{ x }}-b, n: 1}", 'with: {k: "a-${{ x }}-b", n: 1}', {"with": {"k": "a-${{ x }}-b", "n": 1}}),
        ("run: [a, ${{ x }}, b]", 'run: [a, "${{ x }}", b]', {"run": ["a", "${{ x }}", "b"]}),
        ("a: {k: ${{ x['}'] }}, l: ${{ y }}}", None, {"a": {"k": "${{ x['}'] }}", "l": "${{ y }}"}}),
        ('a: {k: ${{ x["y"] }}}', "a: {k: '${{ x[\"y\"] }}'}", {"a": {"k": '${{ x["y"] }}'}}),
        ("a: ${{ {'b': 1} }}", "a: \"${{ {'b': 1} }}\"", {"a": "${{ {'b': 1} }}"}),
        ("if: 'a' in x", "if: \"'a' in x\"", {"if": "'a' in x"}),
        ('if: "a" == x', "if: '\"a\" == x'", {"if": '"a" == x'}),
        ("if: 'a' == 'b'", "if: \"'a' == 'b'\"", {"if": "'a' == 'b'"}),
        ("- if: 'a' in x", "- if: \"'a' in x\"", [{"if": "'a' in x"}]),
        ("{if: 'a' in x, b: 1}", "{if: \"'a' in x\", b: 1}", {"if": "'a' in x", "b": 1}),
        ("if: [1, 2] == x", 'if: "[1, 2] == x"', {"if": "[1, 2] == x"}),
        ("k: 'it's'", 'k: "it\'s"', {"k": "it's"}),
        ("if: !x", "if: not x", {"if": "not x"}),
        ("{if: !x}", "{if: not x}", {"if": "not x"}),
        ("if: !x and !(y or z)", "if: not x and not (y or z)", {"if": "not x and not (y or z)"}),
        ("if: !x['a'] != b", None, {"if": "not x['a'] != b"}),
        ("until: ! x", "until: not x", {"until": "not x"}),
        ("k: !Ref x", 'k: "!Ref x"', {"k": "!Ref x"}),
        ("k: !!str 5", 'k: "5"', {"k": "5"}),
        ("k: !!int 5", "k: 5", {"k": 5}),
        ("a: b: c", 'a: "b: c"', {"a": "b: c"}),
        ("- a: b: c  # why", '- a: "b: c"  # why', [{"a": "b: c"}]),
        ("a: what:", 'a: "what:"', {"a": "what:"}),
        ("if: a ? b : c", 'if: "a ? b : c"', {"if": "a ? b : c"}),
        ("run: ${{ a #b }}", 'run: "${{ a #b }}"', {"run": "${{ a #b }}"}),
        ("if: x == 'a #b'", "if: \"x == 'a #b'\"", {"if": "x == 'a #b'"}),
        ("if: x == 'a #b' # why", "if: \"x == 'a #b'\" # why", {"if": "x == 'a #b'"}),
        ("{if: x == 'a #b', c: 1}", "{if: \"x == 'a #b'\", c: 1}", {"if": "x == 'a #b'", "c": 1}),
        ("k: {{ x }}", 'k: "${{ x }}"', {"k": "${{ x }}"}),
        ("k: {{ x }}/{{ y }}", 'k: "${{ x }}/${{ y }}"', {"k": "${{ x }}/${{ y }}"}),
        ("k: {{ f(a, b) }}", 'k: "${{ f(a, b) }}"', {"k": "${{ f(a, b) }}"}),
        ("{k: {{ x }}, l: 1}", '{k: "${{ x }}", l: 1}', {"k": "${{ x }}", "l": 1}),
        ("- {{ x }}", '- "${{ x }}"', ["${{ x }}"]),
        ("cron: */5 * * * *", 'cron: "*/5 * * * *"', {"cron": "*/5 * * * *"}),
        ("cron: * * * * *", 'cron: "* * * * *"', {"cron": "* * * * *"}),
        ("{cron: */5 * * * *, a: 1}", '{cron: "*/5 * * * *", a: 1}', {"cron": "*/5 * * * *", "a": 1}),
        ("files: [*.tgz, b]", 'files: ["*.tgz", b]', {"files": ["*.tgz", "b"]}),
        ("files: [*all]", 'files: ["*all"]', {"files": ["*all"]}),
        ("k: &x && y", 'k: &x "&& y"', {"k": "&& y"}),
        ("in: {in: range(1, n)}", 'in: {in: "range(1, n)"}', {"in": {"in": "range(1, n)"}}),
        ("{in: range(1, n, 2), as: i}", '{in: "range(1, n, 2)", as: i}', {"in": "range(1, n, 2)", "as": "i"}),
        ("{description: a, b}", '{description: "a, b"}', {"description": "a, b"}),
        ("{a: x, y, z, b: {c: d, e}}", None, {"a": "x, y, z", "b": {"c": "d, e"}}),
        ("{if: x in ['a', 'b'], c: 1}", "{if: \"x in ['a', 'b']\", c: 1}", {"if": "x in ['a', 'b']", "c": 1}),
        ("k: @x", 'k: "@x"', {"k": "@x"}),
        ("k: `x`", 'k: "`x`"', {"k": "`x`"}),
        ("k: %d", 'k: "%d"', {"k": "%d"}),
        ("if: > 5", 'if: "> 5"', {"if": "> 5"}),
        ('k: "C:\\path"', "k: 'C:\\path'", {"k": "C:\\path"}),
        ('k: "open', 'k: "open"', {"k": "open"}),
        ("k: 'open", "k: 'open'", {"k": "open"}),
        ("k: [a, b]]", "k: [a, b]", {"k": ["a", "b"]}),
        ("k: [a, b", "k: [a, b]", {"k": ["a", "b"]}),
        ("k: {a: 1", "k: {a: 1}", {"k": {"a": 1}}),
        ("{a:1, b: 2}", "{a: 1, b: 2}", {"a": 1, "b": 2}),
        ("200: ok", '"200": ok', {"200": "ok"}),
        ("{true: ok}", '{"true": ok}', {"true": "ok"}),
    ],
)
def test_corrected_line(written: str, corrected: str | None, meant: object) -> None:
    found, *others = problems(written)
    assert all((other.line, other.corrected) == (1, found.corrected) for other in [found, *others])
    assert found.corrected is not None
    assert corrected in (found.corrected, None)
    assert parse(found.corrected).data == meant


@pytest.mark.parametrize(
    ("written", "line", "corrected"),
    [
        ("a:\n\tb: 1\n", 2, "  b: 1"),
        ("a: 1\n\tb: 1\n", 2, "b: 1"),
        ("a: 1\n  b: 2\n", 2, "b: 2"),
        ("a: 1\nname:foo\nb: 2\n", 2, "name: foo"),
        ("name:foo\nsteps: []\n", 1, "name: foo"),
        ("a: 1\nname:foo\n", 2, "name: foo"),
        ('a: "x\nb: "y"\n', 1, 'a: "x"'),
        ("a: 'x\nb: 1\nc: 2\n", 1, "a: 'x'"),
        ("with: {\n  k: ${{ x }},\n  l: 1}\n", 2, '  k: "${{ x }}",'),
        ("with: {\n  l: 1, k: ${{ x }}}\n", 2, '  l: 1, k: "${{ x }}"}'),
        ("run: [\n  ${{ x }},\n  b]\n", 2, '  "${{ x }}",'),
    ],
)
def test_corrected_line_among_others(written: str, line: int, corrected: str) -> None:
    (found,) = problems(written)
    assert (found.line, found.corrected) == (line, corrected)
    lines = written.splitlines()
    lines[line - 1] = corrected
    assert parse("\n".join(lines)).data


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("a: 1\nif: 'x' in y", 5),
        ("a: 1\nb: {c: 1, d: ${{ x }}}", 14),
        ('a: 1\nb: "open\nc: 1', 4),
        ("a: 1\nb: [*.x]", 5),
    ],
)
def test_a_trap_is_shown_where_it_begins(text: str, column: int) -> None:
    (found,) = problems(text)
    assert (found.line, found.column) == (2, column)


def test_every_trap_of_a_text_is_found() -> None:
    traps = [
        "a: {k: ${{ x }}}",
        "b: 'a' in x",
        "if: !x",
        "c: d: e",
        "f: ${{ a #b }}",
        "g: {{ x }}",
        "h: */5 *",
        "i: {j: k, l}",
    ]
    found = problems("\n".join(traps))
    assert [one.line for one in found] == list(range(1, 9))
    corrected = parse("\n".join(str(one.corrected) for one in found)).data
    assert isinstance(corrected, dict)
    assert len(corrected) == 8


def test_a_correction_that_does_not_help_is_not_offered() -> None:
    (found,) = problems("a:\n    b: 1\n  c: 'x' in y\n")
    assert found.corrected is None


@pytest.mark.parametrize(
    "text",
    [
        "a: don't # it's said",
        "a: the users' list # that's it",
        "a: rock 'n' roll # music",
        "a: x # ${{ y }}",
        "a: pre {{ x }}",
        "a: ${{ x }} # why",
        "a: http://x/#y",
        "a: b:c",
        "a: x!=y",
        "a: [x, y z] # 'w'",
        "a: {b: 'c, d', e: \"f: g\"}",
        "a: |\n  x: 'y\n  \tz: {{ #",
        "cron: '*/5 * * * *'",
    ],
)
def test_what_is_no_trap_is_read(text: str) -> None:
    assert parse(text).data


@pytest.mark.parametrize(
    "line",
    [
        "a: b",
        "- a: [b, c]",
        "  - {a: 1, b: 'c'}",
        "a: |",
        "a: >-",
        "a: &x",
        "a: *x",
        "- b",
        "a:",
        "",
        "# a: b: c",
        "a: 'b' # c",
    ],
)
def test_sound_lines_have_no_faults(line: str) -> None:
    assert faults(line, in_flow=False) == []
