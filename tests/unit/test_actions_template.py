"""`template.render`: plain Jinja2, in a sandbox and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import Fail

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext


DOUBLE = "{% set ns = namespace(s='x') %}{% for i in range(40) %}"


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("Hello {{ name }}!", {"name": "Ann"}, "Hello Ann!"),
        ("{% for x in xs %}{{ loop.index }}:{{ x }} {% endfor %}", {"xs": ["a", "b"]}, "1:a 2:b "),
        ("{{ a ~ 1 ~ none }}", {"a": "<x>"}, "<x>1None"),
        ("{{ xs | join(', ') }} {{ '-'.join(xs) }}", {"xs": ["a", "b"]}, "a, b a-b"),
        ("{{ rows | join('+', attribute='n') }}", {"rows": [{"n": 1}, {"n": 2}]}, "1+2"),
        ("{{ '{:>4}|{}'.format('a', 1000000) }} {{ '%05d of %s' % (7, 'b') }}", {}, "   a|1000000 00007 of b"),
        ("{{ '%.1f'|format(2.25) }} {{ '100% of 5000000 m' }}", {}, "2.2 100% of 5000000 m"),
        ("{{ 2 ** 10 }} {{ 7 % 4 }} {{ [0] * 3 }} {{ '=' * 3 }} {{ 1.5 * 2 }}", {}, "1024 3 [0, 0, 0] === 3.0"),
        ("{{ 'aXa'.replace('X', '-') }} {{ 'ab'|replace('a', 'c') }} {{ 3 * 4 }}", {}, "a-a cb 12"),
        ("{% macro m(n) %}{{ n }}{% endmacro %}{{ m(5000000) }}", {}, "5000000"),
        ("{{ 'x'|center(5) }}|{{ 'y'.rjust(3) }}", {}, "  x  |  y"),
        ("${{ kept }} {# gone #}", {"kept": 1}, "$1 "),
        ("{{ 'aa bb' | wordwrap(2) }} {{ 'aa bb' | wordwrap(2, wrapstring='<br>') }}", {}, "aa\nbb aa<br>bb"),
        ("{{ {'a': [1]} | tojson }} {{ [1] | tojson(indent=1) }}", {}, '{"a": [1]} [\n 1\n]'),
        ("{{ 'a\nb' | indent(2) }} {{ 'a\nb' | indent('> ', true) }}", {}, "a\n  b > a\n> b"),
        ("{{ [[1], [2]] | sum(start=[]) }} {{ rows | sum(attribute='n') }}", {"rows": [{"n": 1}]}, "[1, 2] 1"),
        ("{{ [1, 2] | map('string') }} {{ 1.25 | round(1) }}", {}, "['1', '2'] 1.2"),
        (
            "{% for k, v in d.items() %}{{ loop.cycle('+', '-') }}{{ k }}{{ v }}{% endfor %}",
            {"d": {"a": 1, "b": 2}},
            "+a1-b2",
        ),
        (
            "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{% set j = joiner(',') %}{{ j() }}x{{ j() }}",
            {},
            "abx,",
        ),
        (
            "{% for x in t recursive %}{{ x.n }}{{ loop(x.t) }}{% endfor %}",
            {"t": [{"n": 1, "t": [{"n": 2, "t": []}]}]},
            "12",
        ),
        ("{% set ns = namespace(a=1) %}{% set ns.a = ns.a + 1 %}{{ ns.a }} {{ ns }}", {}, "2 <Namespace>"),
        ("{{ '%(a)s-%(a)s' % {'a': 'x'} }} {{ '{0}{0}'.format('y') }}", {}, "x-x yy"),
    ],
)
def test_plain_jinja2(context: ActionContext, template: str, values: dict[str, Any], text: str) -> None:
    assert context.run("template.render", template=template, values=values) == text


@pytest.mark.parametrize(("name", "text"), [("page.html", "&lt;b&gt;-&lt;b&gt;"), ("mail.txt", "<b>-<b>")])
def test_only_html_is_escaped(context: ActionContext, name: str, text: str) -> None:
    (context.work_folder / name).write_text("{{ x }}-{{ x ~ '' }}")
    assert context.run("template.render", path=name, values={"x": "<b>"}) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("\n{{ nme }}", "line 2: 'nme' is undefined; `values` has name, order"),
        ("{{ order.totl }}", "'dict object' has no attribute 'totl'"),
        ("{% for x in order %}", "line 1: Unexpected end of template"),
        ("a\n{{ x | shout }}", "line 2: No filter named 'shout'"),
        ("{{ 1 / 0 }}", "line 1: ZeroDivisionError"),
        ("{{ 'a' + 1 }}", "TypeError"),
        ("{% include 'other' %}", "no loader"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ '{0.__class__}'.format(name) }}", "unsafe"),
        ("{{ order.update(a=1) }}", "unsafe"),
        ("{{ 'a'.encode() }}", "a template cannot call the method 'encode' of a value of type str"),
        ("{{ dict.fromkeys('ab') }}", "a template cannot call the method 'fromkeys' of a value of type type"),
        ("{{ ('a' | attr('encode'))() }}", "a template cannot call the method 'encode' of a value of type str"),
        ("{{ name | pprint }}", "No filter named 'pprint'"),
        ("{{ [1] | sum(start='') }}", "TypeError"),
        ("{{ ['ab'] | sum(start=[]) }}", "TypeError: sum can add only lists to a list"),
        ("{{ '%((a))9s' % {'(a)': 1} }}", "a format may not have brackets in a name"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "nested too deeply"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested too deeply"),
    ],
)
def test_bad_templates_are_explained(context: ActionContext, template: str, message: str) -> None:
    with pytest.raises(Fail) as failure:
        context.run("template.render", template=template, values={"name": "Ann", "order": {"total": 1}})
    assert message in failure.value.message
    assert (failure.value.code, failure.value.retryable) == ("invalid", False)


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 300000000 }}",
        "{{ 300000000 * [1] }}",
        "{{ 9 ** 999999999 }}",
        "{{ (2 ** 4000) * (2 ** 4000) }}",
        "{{ 2.5 ** 999999 }}",
        "{{ ('x' * 9000000).replace('x', 'yyyy', 8000000) }}",
        "{{ 'x' | center(300000000) }}",
        "{{ 'x' | indent(300000000) }}",
        "{{ 'x'.ljust(300000000) }}",
        "{{ ['x'] | map('center', 300000000) | list }}",
        "{{ '%300000000d' % 1 }}",
        "{{ '%*d' % (300000000, 1) }}",
        "{{ '%(a)300000000d' | format(a=1) }}",
        "{{ '{:300000000}'.format(1) }}",
        "{{ '{:{}}'.format(1, 300000000) }}",
        "{{ '{a:300000000}'.format_map({'a': 1}) }}",
        "{{ ('x' * 9000000) + ('x' * 9000000) }}",
        "{{ ('x' * 9000000) | replace('x', 'yyyy') }}",
        "{{ ('x' * 9000000).replace('x', 'yyyy') }}",
        "{{ ['x' * 9000000, 'x' * 9000000] | join }}",
        "{{ ('x' * 9000000).join(['a', 'b', 'c']) }}",
        "{{ range(200000) | list }}",
        "{% for i in range(100000) %}{% for j in range(1000) %}aaaaaaaaaa{% endfor %}{% endfor %}",
        DOUBLE + "{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        DOUBLE + "{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}{% endfor %}",
        "{{ lipsum(100000) }}",
        "{{ ('a'.encode().ljust(400000000)) | length }}",
        "{{ ((1).to_bytes(400000000, 'big')) | length }}",
        "{{ ('a'.translate({97: 'x' * 9000000})) | length }}",
        "{{ (('\t' * 10000).expandtabs(100000)) | length }}",
        "{{ (('x ' * 10000) | wordwrap(1, wrapstring='y' * 100000)) | length }}",
        "{{ ([1] | tojson(indent=300000000)) | length }}",
        "{{ ([1] | tojson(indent='x' * 9000000)) | length }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(500) %}{% set ns.x = [ns.x] %}{% endfor %}"
        "{{ ([ns.x * 1000] | tojson(indent=1000)) | length }}",
        "{{ (('x\n' * 1000) | indent('x' * 100000)) | length }}",
        "{{ (('%99999d' * 1000) | format(*([1] * 1000))) | length }}",
        "{{ (('%(a)s' * 1000) % {'a': 'x' * 100000}) | length }}",
        "{{ ('%(a b)300000000d' % {'a b': 1}) | length }}",
        "{{ (('{0}' * 1000).format('x' * 100000)) | length }}",
        "{{ ('{a[:]:300000000}'.format(a={':': 1})) | length }}",
        "{{ ('{:300000000}' | attr('format'))(1) | length }}",
        "{{ range(100000) | map('center', 100000) | list }}",
        "{% for x in range(100000) | map('center', 100000) %}{{ loop.length }}{% endfor %}",
        "{{ ([[0] * 100000] * 100000) | sum(start=[]) }}",
        "{{ 5 | round(-400000000) }}",
        "{{ 5.5 | round(400000000, 'ceil') }}",
        "{{ ('f' * 16000000) | int(base=16) }}",
        DOUBLE + "{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        DOUBLE + "{% set ns.s = (ns.s, ns.s) %}{% endfor %}{{ {ns.s: 1} }}",
        DOUBLE + "{% set ns.s = {1: ns.s, 2: ns.s} %}{% endfor %}{{ ns.s | tojson }}",
        DOUBLE + "{% set ns.s = dict(a=ns.s, b=ns.s) %}{% endfor %}{{ ns.s ~ '' }}",
        "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "x" * 1_100_000,
    ],
)
def test_bombs_are_refused(context: ActionContext, template: str) -> None:
    with pytest.raises(Fail) as failure:
        context.run("template.render", template=template)
    assert failure.value.code in ("invalid", "too_large")
    assert not failure.value.retryable


def test_namespaces_that_hold_each_other_are_short_as_text(context: ActionContext) -> None:
    template = """{% set holder = namespace(n=0) %}{% for i in range(40) %}{% set ns = namespace() %}
    {%- set ns.a = holder.n %}{% set ns.b = holder.n %}{% set holder.n = ns %}{% endfor %}{{ holder }}"""
    assert context.run("template.render", template=template) == "<Namespace>"


def test_template_and_path_exclude_each_other(context: ActionContext) -> None:
    with pytest.raises(Fail, match="`template` or `path`, not both"):
        context.run("template.render", template="a", path="a")
