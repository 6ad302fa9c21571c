"""The expression language: values, members, filters, functions, and what its errors say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell.errors import ExpressionError
from stepwell.expressions import compile_expression

NOW = datetime(2024, 5, 31, 12, 30, tzinfo=UTC)
NAMES: dict[str, Any] = {
    "variables": {"n": 4, "name": "report-eu", "regions": ["eu", "us"], "dry_run": False, "nothing": None},
    "steps": {
        "fetch": {
            "status": "completed",
            "output": {
                "items": [1, 2],
                "rows": [
                    {"n": 1, "k": "x", "ok": True},
                    {"n": 5, "k": "y", "ok": False},
                    {"n": 3, "k": "x", "ok": True},
                ],
                "_id": 7,
            },
        },
        "load": {"status": "skipped", "output": None},
    },
    "now": lambda: NOW,
    "add": lambda left, right=1: left + right,
}


def evaluate(text: str, names: Mapping[str, object] = NAMES) -> Any:
    return compile_expression(text)(names)


def failure(text: str, names: Mapping[str, object] = NAMES) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        evaluate(text, names)
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("None", None),
        ("true and not False", True),
        ("[null, true, 1.5, 'a', (1, 2)]", [None, True, 1.5, "a", [1, 2]]),
        ("{'a': {'b': [1]}, 2: null}", {"a": {"b": [1]}, "2": None}),
        ("variables.n > 3 and variables.name == 'report-eu'", True),
        ("1 < variables.n <= 4", True),
        ("1 < 0 < 1 / 0", False),
        ("variables.dry_run or 'fallback'", "fallback"),
        ("'eu' in variables.regions", True),
        ("'n' in variables and 'port' in variables.name", True),
        ("'x' not in variables.regions", True),
        ("'big' if variables.n > 10 else 'small'", "small"),
        ("7 // 2 + 7 % 4 - -1 * 2 ** 3", 14),
        ("'a' ~ 1 ~ true ~ null ~ ['eu'] ~ 1.5", 'a1truenull["eu"]1.5'),
        ("'a' + 'b' + 'c' * 2", "abcc"),
        ("[1] + [2] * 2", [1, 2, 2]),
        ("+1 - +variables.n", -3),
        ("${{ 1 + 1 }}", 2),
        ("  ${{ '}}' }}  ", "}}"),
        (r"'\d\n\\'", "\\d\n\\"),
        ("'a' 'b'", "ab"),
        ("1_000", 1000),
    ],
)
def test_values(text: str, value: object) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.fetch.output.items", [1, 2]),
        ("steps['fetch']['output'].rows[1].n", 5),
        ("steps.fetch.output.rows.0.k", "x"),
        ("steps.fetch.output.rows[-1].n", 3),
        ("steps.fetch.output.rows[variables.n - 3].n", 5),
        ("steps[('FETCH' | lower)].status", "completed"),
        ("steps.fetch.output._id", 7),
        ("variables.regions[:1]", ["eu"]),
        ("variables.name[::-1][0:2]", "ue"),
        ("variables['na' ~ 'me'][0]", "r"),
        ("now().year", 2024),
        ("{1: 'one'}[1]", "one"),
    ],
)
def test_members(text: str, value: object) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("variables.name.startswith('report')", True),
        ("variables.name.endswith(['us', 'eu'])", True),
        ("variables.name.split('-')", ["report", "eu"]),
        ("variables.name.upper().lower().title()", "Report-Eu"),
        ("' a '.strip() ~ 'xx'.lstrip('x') ~ 'b  '.rstrip()", "ab"),
        ("'a.csv'.removesuffix('.csv') ~ 'v1'.removeprefix('v')", "a1"),
        ("'aaa'.replace('a', 'b', 2)", "bba"),
        ("{'items': 1, 'b': 2}.items()", [["items", 1], ["b", 2]]),
        ("variables.get('n') + variables.get('m', 6)", 10),
        ("{'a': 1}.keys() + {'a': 1}.values()", ["a", 1]),
        ("now().isoformat()", "2024-05-31T12:30:00Z"),
        ("now().strftime('%d.%m.')", "31.05."),
        ("now().weekday() + now().timestamp() * 0", 4),
        ("duration('2m').total_seconds()", 120),
        ("add(1) + add(1, right=2)", 5),
    ],
)
def test_calls(text: str, value: object) -> None:
    assert evaluate(text) == value


ROWS = "steps.fetch.output.rows"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2 | abs", 2),
        (f"{ROWS} | selectattr('ok') | map(attribute='n') | sum", 4),
        (f"{ROWS} | selectattr('n', 'gt', 2) | map(attribute='k') | join(',')", "y,x"),
        (f"{ROWS} | rejectattr('k', '==', 'x') | length", 1),
        (f"{ROWS} | map(attribute='missing', default=null)", [None, None, None]),
        (f"{ROWS} | map(attribute='missing') | map('default', 0)", [0, 0, 0]),
        (f"{ROWS} | selectattr('missing', 'defined')", []),
        (f"{ROWS} | groupby('k') | map(attribute='grouper')", ["x", "y"]),
        (f"({ROWS} | groupby('k'))[0].list | map(attribute='n')", [1, 3]),
        (f"{ROWS} | groupby('z', default='none') | map('first')", ["none"]),
        (f"{ROWS} | sort(attribute='k,n', reverse=true) | map(attribute='n')", [5, 3, 1]),
        (f"{ROWS} | unique(attribute='k') | map(attribute='n')", [1, 5]),
        (f"{ROWS} | map(attribute='k') | unique | list", ["x", "y"]),
        (f"({ROWS} | max(attribute='n')).n - ({ROWS} | min(attribute='n')).n", 4),
        (f"{ROWS} | sum(attribute='n', start=10)", 19),
        (f"{ROWS} | any('mapping') and not {ROWS} | all('string')", True),
        ("[1, 5] | any('gt', 4) and [1, 5] | all and not [0] | any", True),
        ("[3, 1, 2] | sort | reject('odd')", [2]),
        ("['b', 'A', 'c'] | sort", ["A", "b", "c"]),
        ("['b', 'A', 'B'] | sort(case_sensitive=true)", ["A", "B", "b"]),
        ("['b', 'B', 'a'] | unique", ["b", "a"]),
        ("[{'a': 1}, {'a': 1}, [1], [1]] | unique", [{"a": 1}, [1]]),
        ("[1, 2] | first + [1, 2] | last", 3),
        ("[0, 1, null, ''] | select", [1]),
        ("['a', 'b'] | map('upper') | list", ["A", "B"]),
        ("2.567 | round(2) + 2.1 | round(0, 'ceil')", 5.57),
        ("'12' | int + '0x1f' | int(base=16) + 'x' | int(7)", 50),
        ("'1.5' | float + null | float(1)", 2.5),
        ("[true, null] | string", "[true, null]"),
        ("'ab' | list", ["a", "b"]),
        ("{'b': 1, 'A': 2} | dictsort", [["A", 2], ["b", 1]]),
        ("{'b': 1, 'a': 2} | dictsort(by='value', reverse=true)", [["a", 2], ["b", 1]]),
        ("{'a': 1} | items", [["a", 1]]),
        ("'' | default('x', true) ~ '' | default('x')", "x"),
        ("'a-b' | replace('-', '+') ~ '  c ' | trim ~ 'xdx' | trim('x')", "a+bcd"),
        ("'foo bar' | title ~ 'a' | upper ~ 'B' | lower", "Foo BarAb"),
        ("'a b  c' | split + 'a,b,c' | split(',', 1)", ["a", "b", "c", "a", "b,c"]),
        ("'a b/ü' | urlencode", "a%20b/%C3%BC"),
        ("{'q': 'a b', 'n': 1} | urlencode", "q=a+b&n=1"),
        ("'foo bar baz qux' | truncate(9)", "foo..."),
        ("'foo bar baz qux' | truncate(9, true, '…', 0)", "foo bar …"),
        ("'{\"a\": [1, null]}' | fromjson", {"a": [1, None]}),
        ("{'a': ['ü', true]} | json", '{"a": ["ü", true]}'),
        ("[1] | json(indent=2)", "[\n  1\n]"),
        ("'ü' | b64", "w7w="),
        ("'abc' | sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (r"'v1.22' | regex_match('^v\d+\.\d+$') and not 'x' | regex_match('^y')", True),
        ("[1, [2, [3, []]]] | flatten", [1, 2, 3]),
        ("[1, [2, [3]]] | flatten(1)", [1, 2, [3]]),
        ("[] | sum + [] | length", 0),
        ("[[1], [2]] | sum(start=[])", [1, 2]),
        ("[1, 2] | map('string') | map('int') | sum", 3),
    ],
)
def test_filters(text: str, value: object) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "variables.n is defined and variables.m is undefined and variables.m is not defined",
        "variables.nothing is none and variables.nothing is null",
        "'a' is string and 1 is number and true is not integer and 1 is integer and 1.5 is float",
        "[] is sequence and {} is mapping and '' is iterable and true is boolean and true is true and 0 is not false",
        "3 is odd and 4 is even and 9 is divisibleby 3 and 9 is divisibleby(3)",
        "2 is in [1, 2] and 2 is gt 1 and 2 is not lessthan 1 and 2 is eq(2)",
        "'a' is sameas 'a' and 1 is not sameas true",
        "'a' is lower and 'A' is upper",
    ],
)
def test_tests(text: str) -> None:
    assert evaluate(text) is True


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(now() - duration('1d')) | date('%Y-%m-%d')", "2024-05-30"),
        ("now()", "2024-05-31T12:30:00Z"),
        ("date()", "2024-05-31T00:00:00Z"),
        ("date('2024-05-31T01:00:00+02:00')", "2024-05-30T23:00:00Z"),
        ("'2024-01-01' | date + '90m' | duration", "2024-01-01T01:30:00Z"),
        ("0 | date", "1970-01-01T00:00:00Z"),
        ("duration('1.5s')", 1.5),
        ("duration(90) / duration('1m')", 1.5),
        ("date('2024-03-01') - date('2024-02-28')", 172800),
        ("now() > date('2024-01-01') and duration('1h') == duration('60m')", True),
        ("[duration('500ms') * 4, -duration('1s') | abs]", [2, 1]),
        ("'at ' ~ date('2024-01-01') ~ ' for ' ~ duration('2m')", "at 2024-01-01T00:00:00Z for 120"),
        ("range(3) + range(1, 6, 2)", [0, 1, 2, 1, 3, 5]),
    ],
)
def test_times_and_functions(text: str, value: object) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "steps.fetch.output.row",
            "steps.fetch.output.row: 'row' is missing (did you mean 'rows'?); there are: items, rows, _id",
        ),
        (
            "steps.load.output.rows.total",
            "steps.load.output.rows: steps.load.output is null because step 'load' was skipped",
        ),
        (
            "steps.load.output[variables.n].x",
            "steps.load.output[4]: steps.load.output is null because step 'load' was skipped",
        ),
        ("steps.load.outputs", "because step 'load' was skipped"),
        ("variables.nothing.a", "variables.nothing.a: variables.nothing is null"),
        (
            "variable.n",
            "'variable' is not known here (did you mean 'variables'?); there are: variables, steps, now, add",
        ),
        ("variables.regions[2]", "variables.regions[2]: there is no item 2, the list has 2"),
        ("variables.regions.name", "variables.regions is a list; take an item like [0], or `| map(attribute='name')`"),
        ("variables.n.x", "variables.n is a number and has no 'x'"),
        ("[variables.m]", "variables.m: 'm' is missing"),
        ("variables.m == 1", "variables.m: 'm' is missing"),
        ("variables.m or 1", "variables.m: 'm' is missing"),
        ("variables.m | upper", "variables.m: 'm' is missing"),
        ("variables.m is string", "variables.m: 'm' is missing"),
        ("'a' ~ variables.m", "variables.m: 'm' is missing"),
        (f"{ROWS} | map(attribute='z') | list", "item.z: 'z' is missing; there are: n, k, ok"),
        ("[] | first", "there is no first item of an empty list; guard it with `| default(…)`"),
        ("1 if false", "the condition is false and there is no `else`"),
        ("variables.n + 'a'", "cannot use '+' on a number and a string; write `~` to put strings together"),
        ("null * 2", "cannot use '*' on null and a number"),
        ("-variables.name", "cannot use '-' on a string"),
        ("null < 1", "cannot compare null with a number ('<')"),
        ("now() > '2024'", "cannot compare a time with a string ('>')"),
        ("1 in 'a'", "only a string can be in a string, not a number"),
        ("1 in null", "nothing can be in null"),
        ("1 / 0", "division by zero"),
        ("[1, 'a'] | sort", "cannot put a number and a string in order"),
        ("variables()", "'variables' is an object, not a function"),
        ("now", "a function is no value; call it with ()"),
        ("nope()", "'nope' is not known here"),
        ("variables.n.startswith('a')", "a number has no method 'startswith'"),
        ("'a' | date", "a string that is no time; write '2024-05-31'"),
        ("'1x' | duration", "a string that is no duration; write '500ms'"),
        ("now() | date('%c')", "a string that is no format of a date; write something like"),
        ("'{' | fromjson", "fromjson: "),
        ("'NaN' | fromjson", "NaN is no JSON"),
        ("'x' | regex_match('(?=a)')", "look-around"),
        ("'x' | regex_match('(')", "unclosed group"),
        ("1e308 * 10", "the result inf is no JSON number"),
        ("{[1]: 2}", "unhashable"),
        ("[1, 2] | map", "map takes the name of a filter, or `attribute=`"),
        ("date()", "needs now()"),
    ],
)
def test_failures_name_the_thing_and_the_remedy(text: str, message: str) -> None:
    names = {} if text == "date()" else NAMES
    assert message in str(failure(text, names))


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("a && b", "write `and` for `&&`", 2),
        ("a || b", "write `or` for `||`", 2),
        ("!a", "write `not x` for `!x`", 0),
        ("a ? 'x?' : b", "write `a if condition else b`", 2),
        ("a ?? b", "write `x | default(y)`", 2),
        ("'&&' && a", "write `and`", 5),
        ("{{ a }}", "leave out the inner `{{ }}`", 0),
        ("{% if a %}b{% endif %}", "statements", 0),
        ("a === b", "write `==` or `!=`", 2),
        ("a = 1", "write `==` to compare", 2),
        ("a b", "unexpected 'b'", 2),
        ("a +", "the expression ends too early", 3),
        ("f(1 ", "the expression ends too early, expected ','", 3),
        ("a # b", "unexpected char '#'", 2),
        ("'abc", "unexpected char", 0),
        ("a)", "unexpected ')'", 1),
        ("", "the expression is empty", 0),
        ("  ", "the expression is empty", 0),
        ("a }} b", "unexpected", 2),
        ("1 + (2 | uper)", "unknown filter 'uper' (did you mean 'upper'?)", 9),
        ("a | tojson", "unknown filter 'tojson' (did you mean 'json'?)", 4),
        ("a | center(3)", "unknown filter 'center'; there are: abs, ", 4),
        ("a | map('uper')", "unknown filter 'uper'", 8),
        ("a | selectattr('n', 'gtt', 1)", "unknown test 'is gtt' (did you mean 'gt'?)", 20),
        ("a is defind", "unknown test 'is defind' (did you mean 'defined'?)", 2),
        ("a | replace('x')", "filter 'replace': missing a required argument: 'new'", 4),
        ("a | default(1, 2, 3)", "too many positional arguments", 4),
        ("a | sort(foo=1)", "unexpected keyword argument 'foo'", 4),
        ("range()", "range(): missing a required argument: 'start'", 0),
        ("a.format(1)", "unknown method 'format'; write `a ~ b`", 8),
        ("a.append(1)", "write `list + [item]`", 8),
        ("a.startwith('x')", "unknown method 'startwith' (did you mean 'startswith'?)", 11),
        ("f(*a)", "`*` and `**` arguments are not supported", 1),
        ("f()()", "only functions and methods can be called", 3),
        ("${{ a }} ${{ b }}", "a bare expression is expected", 0),
        ("${{ a", "never closed", 0),
        ("${{ a && b }}", "write `and`", 6),
    ],
)
def test_mistakes_are_found_when_compiled(text: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert message in str(caught.value)
    assert caught.value.offset == offset


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("1 + variables.m", 4),
        ("true and 1 / 0", 9),
        ("[1, variables.n | duration | upper | date]", 37),
        ("${{ 1 + variables.m }}", 8),
        ("1 ~ range(-1 | string)", 4),
    ],
)
def test_failures_know_their_offset(text: str, offset: int) -> None:
    assert failure(text).offset == offset


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.load.output.a.b.c | default(3)", 3),
        ("steps.nope.output.rows[0].x | default([])", []),
        ("nope.a.b is defined", False),
        ("steps.load.output.a is not defined or steps.load.output.a > 1", True),
        ("variables.nothing | default(3)", None),
        ("variables.nothing | default(3, true)", 3),
        ("variables.m | default(variables.k | default('last'))", "last"),
        ("([] | first) is defined", False),
        ("[variables.m | default(1)] | first", 1),
    ],
)
def test_default_and_defined_guard_at_any_depth(text: str, value: object) -> None:
    assert evaluate(text) == value


class Lazy(Mapping[str, object]):
    """A mapping that is no dict and loads its members when they are asked for."""

    def __init__(self, **loaders: Callable[[], object]) -> None:
        self.loaders, self.loaded = loaders, list[str]()

    def __getitem__(self, key: str) -> object:
        value = self.loaders[key]()
        self.loaded.append(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaders)

    def __len__(self) -> int:
        return len(self.loaders)


def test_lazy_mappings_load_only_what_is_read_and_leave_as_dicts() -> None:
    view = Lazy(output=lambda: {"items": [1]}, items=lambda: "a key", status=lambda: "skipped")
    names = Lazy(steps=lambda: {"a": view})
    assert evaluate("steps.a.output.items", names) == [1]
    assert view.loaded == ["output"]
    assert evaluate("steps.a.items", names) == "a key"
    assert evaluate("steps", names) == {"a": {"output": {"items": [1]}, "items": "a key", "status": "skipped"}}
    assert type(evaluate("steps.a", names)) is dict
    assert "because step 'a' was skipped" in str(failure("steps.a.output.x", names))


def test_results_are_fresh() -> None:
    names = {"variables": {"rows": [{"a": [1]}]}}
    result = evaluate("variables.rows", names)
    result[0]["a"].append(2)
    assert names == {"variables": {"rows": [{"a": [1]}]}}


def test_results_are_json() -> None:
    text = "[now(), duration('1s'), (1, 2), {'a': {1: now()}}, steps.fetch.output.rows | groupby('k')]"
    assert json.loads(json.dumps(evaluate(text), allow_nan=False)) == evaluate(text)


def test_compiled_once_for_each_text() -> None:
    assert compile_expression("variables.n + 1") is compile_expression("variables.n + 1")


def test_an_expression_shows_its_text() -> None:
    assert compile_expression("variables.n").text == "variables.n"
    assert repr(compile_expression("variables.n")) == "Expression('variables.n')"
