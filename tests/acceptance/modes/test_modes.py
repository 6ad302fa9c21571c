"""Every element of the language gives the same in four modes: inline, with a queue, suspended after every step, and
with a crash after every commit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest
from tests.acceptance.cluster import cluster
from tests.acceptance.docs_blocks import ROOT, names, section, table
from tests.acceptance.modes.cases import MODULE, TOKEN, Act, Case, Seen
from tests.acceptance.modes.harsh import Harsh
from tests.acceptance.modes.served import Served
from tests.acceptance.modes.table import TABLE
from tests.acceptance.serving import start
from tests.servers import RedisServer

from stepwell.settings import Settings

SECRET_KEY = "k" * 40
SHARED = {"SECRETS": "MODES_TOKEN", "MODES_TOKEN": TOKEN, "SECRET_KEY": SECRET_KEY, "TASK_MAX_RETRIES": "0"}


class Mode(Protocol):
    """A way to run tasks."""

    @property
    def crashes(self) -> bool: ...
    def submit(self, workflow: str, variables: Mapping[str, object]) -> str: ...
    def find(self, workflow: str) -> str: ...
    def act(self, task_id: str, act: Act) -> None: ...
    def until_waits(self, task_id: str, path: str) -> None: ...
    def ended(self, task_id: str) -> Seen: ...


def files() -> dict[str, str]:
    """The workflows of the table, and what they need."""
    others = {name: text for case in TABLE.values() for name, text in case.others.items()}
    return {**{file_id(name): case.text for name, case in TABLE.items()}, **others, "modes_shop.py": MODULE}


def file_id(name: str) -> str:
    """The id of a case's workflow."""
    return f"case_{re.sub('[^a-z0-9]+', '_', name)}"


class Modes:
    """The modes, each begun when it is first asked for."""

    def __init__(self, folder: Path, opened: ExitStack, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._opened, self._patch = folder, opened, patch
        self._begun: dict[str, Mode] = {}
        self._begin: dict[str, Callable[[Path], Mode]] = {
            "inline": self._inline,
            "queued": self._queued,
            "suspended": lambda folder: self._harsh(folder, crashes=False),
            "crashed": lambda folder: self._harsh(folder, crashes=True),
        }

    def __getitem__(self, name: str) -> Mode:
        if name not in self._begun:
            self._begun[name] = self._begin[name](self._folder / name)
        return self._begun[name]

    def _inline(self, folder: Path) -> Mode:
        server = start(folder, files(), INLINE_ASYNC="background", **SHARED)
        self._opened.callback(server.close)
        return Served(server)

    def _queued(self, folder: Path) -> Mode:
        redis = self._opened.enter_context(RedisServer(folder / "redis"))
        return Served(self._opened.enter_context(cluster(folder / "app", redis, files(), workers=1, **SHARED)).api)

    def _harsh(self, folder: Path, *, crashes: bool) -> Mode:
        workflows = folder / "workflows"
        workflows.mkdir(parents=True)
        for name, text in files().items():
            (workflows / (name if "." in name else f"{name}.yaml")).write_text(text)
        self._patch.setenv("MODES_TOKEN", TOKEN)
        settings = Settings(
            workflows_dir=workflows,
            files_url=str(folder / "files"),
            secrets=("MODES_TOKEN",),
            secret_key=SECRET_KEY,
            task_max_retries=0,
        )
        harsh = Harsh(settings, folder, crashes=crashes)
        self._opened.callback(harsh.close)
        return harsh


@pytest.fixture(scope="module")
def modes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Modes]:
    with ExitStack() as opened, pytest.MonkeyPatch.context() as patch:
        yield Modes(tmp_path_factory.mktemp("modes"), opened, patch)


def run(mode: Mode, workflow: str, case: Case) -> Seen:
    """Run a workflow to its end, doing meanwhile what is to be done."""
    task_id = "" if case.triggered else mode.submit(workflow, case.variables)
    for act in case.acts:
        if act.at is not None:
            mode.until_waits(task_id, act.at)
        mode.act(task_id, act)
    return mode.ended(task_id or mode.find(workflow))


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("mode", ["inline", "queued", "suspended", "crashed"])
def test_it_gives_the_same_in_every_mode(modes: Modes, mode: str, name: str) -> None:
    case = TABLE[name]
    assert run(modes[mode], file_id(name), case) == case.expected(modes[mode].crashes)


@pytest.mark.parametrize("mode", ["suspended", "crashed"])
def test_the_harsh_modes_are_harsh(modes: Modes, mode: str) -> None:
    harsh, case = modes[mode], TABLE["compensate"]
    assert isinstance(harsh, Harsh)
    before = harsh.ends
    run(harsh, file_id("compensate"), case)
    assert harsh.ends - before >= len(case.completed.split())


def keys() -> list[str]:
    """The keys of steps and workflows, as the documentation lists them."""
    headings = ["Kinds of step", "wait", "Keys of a step", "foreach", "retry", "Keys of a workflow", "triggers"]
    rows = [row for heading in headings for row in table(section(ROOT / "docs" / "language.md", heading))]
    return sorted({key for row in rows for key in names(row[0])})


def test_every_key_of_the_language_stands_in_the_table() -> None:
    text = "\n".join(files().values())
    assert [key for key in keys() if not re.search(rf"\b{key}:\s", text)] == []
