"""Texts that were made to cost much are refused quickly, and whatever loads also compiles."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.loader_samples import EVERYTHING, ORDERS
from tests.unit.test_loader_problems import ALL

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.errors import DefinitionError
from stepwell.loader import load
from stepwell.plan import compile_workflow
from stepwell.registry import actions

LONG = 500_000


def steps(count: int, step: str) -> str:
    return "steps:\n" + "".join(f"  - {step.format(n)}\n" for n in range(count))


HOSTILE: dict[str, Callable[[], str]] = {
    "open braces": lambda: "steps: [{ned: 1, id: a, output: '" + "{{ steps.a " * 100_000 + "'}]",
    "open braces in a script": lambda: "steps: [{ned: 1, id: a, run: '" + "{{ steps.a " * 100_000 + "'}]",
    "open expressions": lambda: "steps: [{output: '" + "${{ " * 100_000 + "'}]",
    "many wrong expressions in a text": lambda: 'steps: [{output: "' + "\\t${{ x }}" * 300 + '"}]',
    "a long action": lambda: f"steps: [{{uses: {'k' * LONG}}}]",
    "a long function": lambda: f"steps: [{{call: '{'k.' * LONG}:k'}}]",
    "a long name in `needs`": lambda: f"steps: [{{output: 1, needs: [{'k' * LONG}]}}]",
    "a long name of a step": lambda: "steps: [{output: '${{ steps." + "k" * 9_000 + " }}'}]",
    "a long reference as text": lambda: "steps: [{ned: 1, id: a, output: steps.a" + ".a" * LONG + "!}]",
    "a long type": lambda: f"variables: {{a: {{type: {'x' * LONG}}}}}\nsteps: [{{output: 1}}]",
    "unknown keys": lambda: "steps: [{output: 1, " + ", ".join(f"k{n}: 1" for n in range(1_000)) + "}]",
    "unknown steps": lambda: steps(200, "{{output: '${{{{ steps.x{} }}}}'}}"),
    "unknown needs": lambda: steps(200, "{{id: a{0}, output: 1, needs: [x{0}]}}"),
    "equal ids": lambda: steps(200, "{{id: a, output: 1}}"),
    "brackets": lambda: "steps: [{output: '${{ " + "(" * 5_000 + " }}'}]",
    "negations": lambda: "steps: [{output: '${{ " + "not " * 2_400 + "1 }}'}]",
    "a constant to fold": lambda: "steps: [{output: \"${{ 'x' | center(300000000) }}\"}]",
    "a duration of much space": lambda: f"steps: [{{uses: stop, timeout: '1{' ' * LONG}x'}}]",
    "a pattern that grows": lambda: (
        "variables: {a: {type: string, pattern: '" + "(a{1000}){1000}" * 60 + "'}}\nsteps: [{output: 1}]"
    ),
    "a pattern of many groups": lambda: (
        "variables:\n"
        + "".join(f"  v{n}: {{type: string, pattern: '{'(a|b){99}' * 300}{n}'}}\n" for n in range(50))
        + "steps: [{output: 1}]"
    ),
    "a duration of many digits": lambda: f"steps: [{{uses: stop, timeout: '{'9' * LONG}'}}]",
    "a share of many digits": lambda: f"steps: [{{output: 1, foreach: {{in: [1], max_failed: '{'9' * LONG}%'}}}}]",
    "groups in groups": lambda: "steps: [" + "{steps: [" * 40 + "{output: 1}" + "]}" * 40 + "]",
    "laughing groups": lambda: (
        "steps:\n"
        + "".join(f"  - &g{n} {{steps: [{', '.join([f'*g{n - 1}'] * 9) if n else '1'}]}}\n" for n in range(9))
    ),
}


def refusal(text: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        load(text, "f.yaml", registry=actions)
    return caught.value


def cpu_seconds(text: str) -> float:
    started = time.process_time()
    refusal(text)
    return time.process_time() - started


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_within_100_ms(name: str) -> None:
    text = HOSTILE[name]()
    assert min(cpu_seconds(text) for _ in range(3)) < 0.1
    error = refusal(text)
    assert len(error.problems) <= 101
    assert len(str(error)) < 500_000


LITERALS: list[Any] = [None, True, 0, -1, 2.5, "", "a", "b", "30s", "5%", "log", "json:dumps", "true"]
TEXTS = ["variables.n", "steps.a.output", "${{ steps.b }}", "${{ item }}", "${{ 1 +", "${{ error.code }}"]
PARTS = st.sampled_from([*LITERALS, *TEXTS, "{{ steps.a.output }}", "output > index"])
INNER_KEYS = ["if", "message", "in", "as", "any", "of", "max_retries", "max_parallel", "type", "n"]
VALUES = PARTS | st.lists(PARTS, max_size=3) | st.dictionaries(st.sampled_from(INNER_KEYS), PARTS, max_size=3)
STEP_KEYS = ["id", "uses", "call", "run", "with", "env", "output", "needs", "if", "foreach", "until", "retry"]
STEP_KEYS += ["timeout", "switch", "files", "needs_files", "secrets", "max_times", "every"]
IDS = st.sampled_from("abcd")
LEAVES: st.SearchStrategy[Any] = (
    st.fixed_dictionaries({"id": IDS, "output": VALUES})
    | st.fixed_dictionaries({"run": PARTS}, optional={"env": VALUES, "until": PARTS, "retry": VALUES})
    | st.dictionaries(st.sampled_from(STEP_KEYS), VALUES, min_size=1, max_size=4)
)


def groups(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    steps = st.lists(inner, min_size=1, max_size=3)
    return (
        st.fixed_dictionaries({"id": IDS, "steps": steps}, optional={"output": VALUES, "foreach": VALUES})
        | st.fixed_dictionaries({"parallel": steps}, optional={"on_failure": steps})
        | st.fixed_dictionaries({"switch": st.lists(st.fixed_dictionaries({"steps": steps}), min_size=1, max_size=2)})
    )


STEPS = st.lists(LEAVES | groups(LEAVES | groups(LEAVES)), min_size=1, max_size=4)
WORKFLOWS = st.fixed_dictionaries(
    {"steps": STEPS},
    optional={"variables": VALUES, "outputs": VALUES, "finally": STEPS, "timeout": PARTS, "defaults": VALUES},
)


@settings(max_examples=100, deadline=None)
@given(WORKFLOWS)
def test_what_loads_compiles_and_what_does_not_says_where(data: dict[str, Any]) -> None:
    text = yaml.safe_dump(data, sort_keys=False)
    try:
        workflow = load(text, "f.yaml", registry=actions)
    except DefinitionError as error:
        places = [(problem.line, problem.column) for problem in error.problems]
        assert places == sorted(places)
        assert all(1 <= line <= text.count("\n") + 1 and column >= 1 for line, column in places)
    else:
        assert compile_workflow(workflow).steps.graph.problems == ()


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([ORDERS, EVERYTHING, *(bad.text for bad in ALL.values())]), st.data())
def test_any_damage_is_a_definition_error(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 20)))
    put = data.draw(st.sampled_from(["", " ", "\n", "- ", "{", "]", ": ", "${{", "}}", "'", "a", "5", "null"]))
    with suppress(DefinitionError):
        compile_workflow(load(text[:start] + put + text[end:], "f.yaml", registry=actions))
