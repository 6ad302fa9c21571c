"""`json.parse`, `csv.parse` and `yaml.parse`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stepwell.errors import Fail

if TYPE_CHECKING:
    from tests.unit.action_fixtures import ActionContext


PARSERS = ["json.parse", "csv.parse", "yaml.parse"]


def test_json(context: ActionContext) -> None:
    assert context.run("json.parse", text='\ufeff{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "the text is not JSON: line 2, column 6: Expecting ':'"),
        ("", "line 1, column 1"),
        ("[NaN]", "NaN is not a JSON value"),
        ("[-Infinity]", "-Infinity is not a JSON value"),
        ("9" * 5000, "the text is not JSON"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_bad_json(context: ActionContext, text: str, message: str) -> None:
    with pytest.raises(Fail) as failure:
        context.run("json.parse", text=text)
    assert message in failure.value.message
    assert (failure.value.code, failure.value.retryable) == ("invalid", False)


def test_yaml(context: ActionContext) -> None:
    assert context.run("yaml.parse", text="a: yes\nb: [1, true]\n") == {"a": "yes", "b": [1, True]}


def test_bad_yaml_names_file_and_line(context: ActionContext) -> None:
    (context.work_folder / "conf.yaml").write_text("a: 1\na: 2\n")
    with pytest.raises(Fail, match=r"conf\.yaml:2:1:") as failure:
        context.run("yaml.parse", path="conf.yaml")
    assert not failure.value.retryable


def test_many_problems_of_yaml_are_cut_short(context: ActionContext) -> None:
    with pytest.raises(Fail) as failure:
        context.run("yaml.parse", text="".join("a: 1\n" for _ in range(5000)))
    assert len(failure.value.message) < 5000


@pytest.mark.parametrize(
    ("text", "options", "rows"),
    [
        ("id,name\n1,Ann\n2,\n", {}, [{"id": "1", "name": "Ann"}, {"id": "2", "name": ""}]),
        ('\ufeffid;note\r\n1;"a; b\r\n""c"""\r\n', {"delimiter": ";"}, [{"id": "1", "note": 'a; b\r\n"c"'}]),
        ("a\tb\n\n1\t2\n\n", {"delimiter": "\t"}, [{"a": "1", "b": "2"}]),
        ("a,b", {}, []),
        ("", {}, []),
    ],
)
def test_csv(context: ActionContext, text: str, options: dict[str, Any], rows: list[dict[str, str]]) -> None:
    assert context.run("csv.parse", text=text, **options) == rows


def test_csv_of_another_encoding(context: ActionContext) -> None:
    (context.work_folder / "a.csv").write_bytes("né\nÉmile\n".encode("cp1252"))
    assert context.run("csv.parse", path="a.csv", encoding="cp1252") == [{"né": "Émile"}]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", {}, "the row that ends in line 3 has 3 fields, the first row names 2"),
        ("a,b\n1\n", {}, "the row that ends in line 2 has 1 fields, the first row names 2"),
        ("a,b,a\n", {}, "two columns are named 'a'"),
        ("a,,b\n", {}, "column 2 has no name"),
        ('a\n"x"y\n', {}, "is not CSV: line 2"),
        ('a\n"x\n', {}, "is not CSV"),
        ("a\n" + "x" * 200_000, {}, "field larger than field limit"),
        ("a", {"delimiter": ", "}, "delimiter ', ' is not one character"),
        ("a", {"delimiter": "\n"}, "is not one character"),
    ],
)
def test_bad_csv(context: ActionContext, text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(Fail) as failure:
        context.run("csv.parse", text=text, **options)
    assert message in failure.value.message
    assert not failure.value.retryable


def test_rows_are_refused_before_they_fill_the_memory(context: ActionContext) -> None:
    with pytest.raises(Fail, match="use files for large data") as failure:
        context.run("csv.parse", text="a\n" + "1\n" * 3_000_000)
    assert failure.value.code == "too_large"


@pytest.mark.parametrize("name", PARSERS)
def test_text_and_path_exclude_each_other(context: ActionContext, name: str) -> None:
    with pytest.raises(Fail, match="`text` or `path`, not both"):
        context.run(name, text="a", path="a")
    with pytest.raises(Fail, match="both are missing or null"):
        context.run(name)


@pytest.mark.parametrize("name", PARSERS)
def test_files_are_text_in_the_work_folder(context: ActionContext, name: str) -> None:
    (context.work_folder / "binary").write_bytes(b"\xff\x00")
    with pytest.raises(Fail, match="'binary' is not utf-8 text"):
        context.run(name, path="binary")
    with pytest.raises(Fail, match="not inside the work folder"):
        context.run(name, path="../binary")
