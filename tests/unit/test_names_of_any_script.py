"""Names in any script: ids of steps and workflows, variables, the item of a `foreach`, and where they are read."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.unit.engine_harness import Harness

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.expressions import compile_expression
from stepwell.loader import Broken, Catalog, load, schema
from stepwell.registry import actions
from stepwell.strict_yaml import parse
from stepwell.task import Status
from stepwell.workflow import is_identifier, is_workflow_id

CHINESE = """\
id: 转码
name: 视频转码
variables:
  关键词: {type: string, default: 猫}
  列表: {type: list, items: string, default: [甲, 乙]}
steps:
  - {id: 步骤, output: "${{ variables.关键词 }}"}
  - id: 逐个
    foreach: {in: "${{ variables.列表 }}", as: 名}
    run: printf '%s' "$NAME" > "文件-$NAME.txt"; printf '"%s"' "$STEPWELL_STEP" > "$STEPWELL_OUTPUT"
    env: {NAME: "${{ 名 }}"}
    files: ["文件-*.txt"]
  - id: 汇总
    needs: {any: 2, of: [步骤, 逐个]}
    needs_files: [逐个]
    run: [cat, "文件-${{ variables.列表[0] }}.txt", "文件-乙.txt"]
    output: "${{ steps.步骤.output }}:${{ output.stdout }}"
  - parallel:
      - {id: 左, needs: [], output: "${{ steps.汇总.status }}"}
      - {id: 右_2, needs: [左], output: "${{ steps['左'].output }}"}
    id: 并行
outputs: {结果: "${{ steps.汇总.output }}", 并行: "${{ steps.并行.output.右_2 }}"}
"""

NFD = unicodedata.normalize("NFD", "café")
ASCII = [chr(code) for code in range(128)]


def problems(text: str, default_id: str | None = None) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(text, "f.yaml", registry=actions, default_id=default_id)
    return [problem.message for problem in caught.value.problems]


def test_a_workflow_in_chinese_loads_and_runs(harness: Harness) -> None:
    assert load(CHINESE, "转码.yaml", registry=actions).id == "转码"
    task = harness.run(CHINESE, 关键词="狗", 列表=["甲", "乙"])
    assert task.status is Status.COMPLETED, task.error
    assert harness.outputs(task) == {"结果": "狗:甲乙", "并行": "completed"}
    assert list(harness.steps(task)) == ["步骤", "逐个", "逐个[0]", "逐个[1]", "汇总", "并行", "并行/左", "并行/右_2"]
    assert [one["json"] for one in harness.output(task, "逐个")] == ["逐个", "逐个"]
    assert {event.path for event in harness.store.events(task.task_id)} >= set(harness.steps(task))


def test_the_schema_takes_it_too() -> None:
    assert [error.message for error in Draft202012Validator(schema()).iter_errors(parse(CHINESE).data)] == []


@pytest.mark.parametrize("name", ["步骤", "_", "x1", "Ärger", "шаг_1", "단계", "ขั้น", "चरण", "𠀀", "名" * 100])
def test_what_is_a_name(name: str) -> None:
    load(f"steps:\n  - {{id: {name}, output: 1}}\n  - output: ${{{{ steps.{name}.output }}}}\n", "f", registry=actions)


@pytest.mark.parametrize("name", ["转-码", "步 骤", "步骤，", "①", "٣步", "步骤\\n", "步骤😀", "名" * 101, "ﬁx", NFD])
def test_what_is_none(name: str) -> None:
    found = problems(f'steps: [{{id: "{name}", output: 1}}]\n')
    allowed = "letters of any script, digits and _, not beginning with a digit, at most 100"
    assert len(found) == 1
    assert found[0].startswith(f"`id` must be {allowed}, not the string ")


@pytest.mark.parametrize(
    "text",
    [
        'steps: [{id: "ｆｉｘ", output: 1}]',
        "steps: [{foreach: {in: [1], as: ﬁx}, output: 1}]",
        "steps: [{id: fix, output: 1}, {needs: [ﬁx], output: 1}]",
        "steps: [{id: fix, output: 1}, {needs: {any: 1, of: [ﬁx]}, output: 1}]",
        "steps: [{id: fix, output: 1}, {needs_files: [ﬁx], uses: log, with: {message: a}}]",
        "variables: {ﬁx: {type: string}}\nsteps: [{output: 1}]",
        "id: ﬁx\nsteps: [{output: 1}]",
    ],
)
def test_a_name_that_is_not_in_normal_form_is_shown_in_it(text: str) -> None:
    assert [one.rpartition(": ")[2] for one in problems(text)] == [
        "in Unicode's form NFKC, which names must have, it is 'fix'"
    ]


def test_of_a_sign_without_a_normal_form_none_is_shown() -> None:
    assert problems("steps: [{id: ①, output: 1}]")[0].endswith('not the string "①"')


@pytest.mark.parametrize(
    "reference", ["steps.步聚甲", "steps.步骤申", "variables.关键", "ｓｔｅｐｓ.步骤甲", "variables.ｎ"]
)
def test_what_was_meant_is_found(reference: str) -> None:
    text = "variables: {关键词: {type: any}, n: {type: any}}\nsteps: [{id: 步骤甲, output: 1}, {output: '${{ %s }}'}]"
    assert "did you mean" in problems(text % reference)[0]


@pytest.mark.parametrize("name", ["转码", "转-码_2", "2024年", "naïve", "-", "名" * 100])
def test_what_is_an_id_of_a_workflow(name: str, tmp_path: Path) -> None:
    assert is_workflow_id(name)
    assert load(f'id: "{name}"\nsteps: [{{output: 1}}]', "f", registry=actions).id == name
    load("steps: [{output: 1}]", "f", registry=actions, default_id=name)


@pytest.mark.parametrize("name", ["转 码", "转/码", "转.码", "转码\\n", "😀", "％", "ｆ", "名" * 101])
def test_what_is_no_id_of_a_workflow(name: str) -> None:
    allowed = "letters of any script, digits, _ and -, at most 100"
    assert problems(f'id: "{name}"\nsteps: [{{output: 1}}]')[0].startswith(f"`id` must be {allowed}, not the string ")
    assert allowed in problems("steps: [{output: 1}]", default_id=name)[0]


@pytest.mark.parametrize("first", ["", "a", "名"])
def test_the_schema_and_the_loader_agree_on_ascii(first: str) -> None:
    definition = schema()["$defs"]["Step"]["properties"]["id"]
    step, whole = re.compile(definition["pattern"]), re.compile(schema()["properties"]["id"]["pattern"])
    assert [sign for sign in ASCII if step.search(f"{first}{sign}x")] == [
        sign for sign in ASCII if is_identifier(f"{first}{sign}x")
    ]
    assert [sign for sign in ASCII if whole.search(f"{first}{sign}x")] == [
        sign for sign in ASCII if is_workflow_id(f"{first}{sign}x")
    ]


def test_a_folder_of_them(tmp_path: Path) -> None:
    (tmp_path / "转码.yaml").write_text("steps: [{output: 1}]", encoding="utf-8")
    (tmp_path / f"{NFD}.yaml").write_text("steps: [{output: 1}]", encoding="utf-8")
    (tmp_path / "x.yaml").write_text("id: 坏了\nsteps: []", encoding="utf-8")
    (tmp_path / "y.yaml").write_bytes("id: 坏".encode()[:-1] + b"\nsteps: []")
    catalog = Catalog(tmp_path, registry=actions)
    found = [(one.workflow_id, isinstance(one, Broken)) for one in catalog.all()]
    assert found == [("café", False), ("y", True), ("坏了", True), ("转码", False)]
    assert catalog.get(NFD) is catalog.get("café")


def test_two_files_whose_names_look_alike_are_told_apart(tmp_path: Path) -> None:
    for name in ("café", NFD):
        (tmp_path / f"{name}.yaml").write_text("steps: [{output: 1}]", encoding="utf-8")
    with pytest.raises(DefinitionError, match="the workflow id 'café' is also that of"):
        Catalog(tmp_path, registry=actions).get("café")


def test_a_script_gets_names_that_a_shell_knows() -> None:
    script = "echo ${{ variables.甲 }} ${{ variables.乙 }} ${{ variables.甲 }} ${{ variables.day }}"
    found = problems(
        f"variables: {{甲: {{type: any}}, 乙: {{type: any}}, day: {{type: any}}}}\nsteps:\n  - run: {script}\n"
    )
    assert [re.findall(r"env: \{(.*): \"", one) for one in found] == [["VALUE"], ["VALUE_2"], ["VALUE"], ["DAY"]]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("steps.步骤.output", 'this is text, not a value: write "${{ steps.步骤.output }}"'),
        ("{{ steps.步骤.output }}", "an expression is written `${{ … }}`; `{{ … }}` is text"),
        ("{{ variables.चरण }}", "an expression is written `${{ … }}`; `{{ … }}` is text"),
    ],
)
def test_a_reference_without_its_braces_is_seen(value: str, message: str) -> None:
    text = f'variables: {{चरण: {{type: any}}}}\nsteps: [{{id: 步骤, output: 1}}, {{output: "{value}"}}]'
    assert problems(text) == [message]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps.步骤。output", "unexpected '。'; write `.` for `。`"),
        ("date（1）", "unexpected '（'; write `(` for `（`"),
        ("steps.步骤.output ＞ 1", "unexpected '＞'; write `>` for `＞`"),
        ("“甲”", "unexpected '“'; write `\"` for `“`"),
        ("range(1，2)", "unexpected '，'; write `,` for `，`"),
    ],
)
def test_punctuation_of_chinese_gets_a_hint(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text)
    assert str(caught.value) == message
    assert text[caught.value.offset] == message[len("unexpected '")]


def test_punctuation_of_chinese_in_a_string_is_text() -> None:
    assert compile_expression("'（，。“' ~ x")({"x": "甲"}) == "（，。“甲"
