"""Every YAML example in the documents does what the comment in its first line says.

`# runs: {variables} -> {outputs}`, `# fails: {variables} -> code: part of the message`,
`# invalid: {variables} -> part of the message` (refused before it runs), `# refused: part of the message` (at load).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acceptance.docs_blocks import PAGES, Block, blocks

from stepwell.errors import DefinitionError, InvalidInput
from stepwell.service import Submission
from stepwell.settings import Settings
from stepwell.task import Task
from stepwell.wiring import System, build

EXAMPLES = [block for page in PAGES for block in blocks(page, "yaml")]
FILES = [block for page in PAGES for block in blocks(page, "python", "yaml") if block.comment.startswith("file: ")]
PROMISE = re.compile(r"# (runs|fails|invalid): (\{.*\}) -> (.*)|# (refused): (.*)")
PATIENCE = 60.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system in an empty project folder, beside the files that the documents show."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DOCS_TOKEN", "hunter22-of-the-docs")
        for block in FILES:
            path = Path(block.comment.removeprefix("file: "))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        system = build(Settings(database_url="sqlite:///./docs.db", secrets=("DOCS_TOKEN",), inline_max_concurrency=1))
        yield system
        system.stop()


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_the_example_does_what_it_says(system: System, block: Block) -> None:
    first, _, _ = block.text.partition("\n")
    promise = PROMISE.fullmatch(first)
    if promise is None:
        assert block.comment.startswith("file: "), "the first line does not say what the example does"
        return
    if promise[4]:
        with pytest.raises(DefinitionError) as refused:
            system.service.catalog.from_text(block.text, "example.yaml")
        assert promise[5] in str(refused.value)
        return
    kind, variables, expected = promise[1], json.loads(promise[2]), promise[3]
    definition = system.service.catalog.from_text(block.text, "example.yaml")
    if kind == "invalid":
        with pytest.raises(InvalidInput, match=re.escape(expected)):
            system.service.submit(definition, Submission(variables))
        return
    task = system.service.submit(definition, Submission(variables))
    task = system.service.wait(task.task_id, PATIENCE)
    if kind == "fails":
        code, _, message = expected.partition(": ")
        assert _error(task)[0] == code
        assert message in _error(task)[1]
    else:
        assert (_error(task), system.service.outputs(task)) == (("", ""), json.loads(expected))


def _error(task: Task) -> tuple[str, str]:
    assert task.ended, f"it did not end within {PATIENCE:.0f} s"
    return ("", "") if task.error is None else (task.error.code, task.error.message)
