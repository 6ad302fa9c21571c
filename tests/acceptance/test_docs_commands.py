"""Every command in the documents is run, one page after the other as a reader would, and answers what the page shows.

A ```console block holds commands (`$ …`) and what they print; a ```json block right after it is the answer of its
last command. `…` stands for anything: within a line, for any lines, for a value, and as a key for further keys.
Blocks under `<!-- not run: reason -->` are left out. Python blocks under `<!-- run -->` run as programs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.acceptance.docs_blocks import PAGES, ROOT, Block, blocks
from tests.acceptance.serving import start

ANY = "…"
PATIENCE = 600.0
"""Seconds for all commands of a page: each is a process of its own."""
ENGLISH = [page for page in PAGES if page.name != "README.zh-CN.md"]  # it has the same commands, which a test holds


@dataclass(frozen=True)
class Step:
    """A command of a page, and what it prints: lines, or a JSON value."""

    place: str
    command: str
    lines: str = ""
    answer: str | None = None


@dataclass(frozen=True)
class Project:
    """A folder in which a reader tries things, where a server serves, and the environment of commands."""

    folder: Path
    server: str
    environ: dict[str, str]

    def bash(self, script: str) -> str:
        """What a script prints, on standard output and standard error."""
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of what a reader has, with a server that serves it."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "workflows", folder / "workflows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "run.py", folder)
    for block in (block for page in ENGLISH for block in blocks(page, "python", "yaml")):
        if block.comment.startswith("file: "):
            (folder / block.comment.removeprefix("file: ")).write_text(block.text, encoding="utf-8")
    server = start(folder, {})
    path = f"{_programs(folder)}:{os.environ['PATH']}"
    yield Project(folder, server.url.removeprefix("http://"), {**server.env, "PATH": path, "COLUMNS": "120"})
    server.close()


def _programs(folder: Path) -> Path:
    """A folder with `python` and `stepwell`, as an activated virtual environment has it."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, words in (("python", ""), ("stepwell", "-m stepwell ")):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n', encoding="utf-8")
        (bin_folder / name).chmod(0o755)
    return bin_folder


def steps_of(page: Path) -> Iterator[Step]:
    """The commands of a page, in order."""
    pending: Step | None = None
    for block in blocks(page, "console", "json"):
        if block.language == "json":
            if pending is not None and _follows(block, pending):
                pending = replace(pending, answer=block.text)
            continue
        if block.comment.startswith("not run"):
            continue
        for step in _commands(block):
            if pending is not None:
                yield pending
            pending = step
    if pending is not None:
        yield pending


def _commands(block: Block) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, lines = part.partition("\n")
        while command.endswith("\\"):
            more, _, lines = lines.partition("\n")
            command = f"{command}\n{more.removeprefix('> ')}"
        yield Step(str(block), command, lines)


def _follows(block: Block, step: Step) -> bool:
    """Whether a block is the next thing on the page after a command that shows no lines."""
    start = int(step.place.rpartition(":")[2])
    between = block.page.read_text(encoding="utf-8").splitlines()[start : block.line - 1]
    return step.lines == "" and "".join(between).count("```") == 1


WITH_COMMANDS = [page for page in ENGLISH if any(steps_of(page))]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_commands_do_what_the_page_shows(project: Project, page: Path) -> None:
    steps = list(steps_of(page))
    keep = "status=$?; echo '<<<{}>>>'; (exit $status)\n{}\n"  # so that a page may show `echo $?`
    script = "".join(keep.format(number, step.command) for number, step in enumerate(steps))
    printed = project.bash(script.replace("localhost:8000", project.server))
    parts = re.split(r"^<<<\d+>>>\n|<<<\d+>>>\n", printed, flags=re.MULTILINE)[1:]
    wrong = [
        f"{step.place}: {step.command}\nprinted:\n{part}"
        for step, part in zip(steps, parts, strict=True)
        if not _is_shown(step, part)
    ]
    assert not wrong, "\n".join(wrong)


def _is_shown(step: Step, printed: str) -> bool:
    if step.answer is None:
        return _pattern(step.lines).fullmatch(_squeezed(printed)) is not None
    try:
        return _fits(json.loads(step.answer), json.loads(printed))
    except json.JSONDecodeError:
        return False


def _pattern(lines: str) -> re.Pattern[str]:
    """What is shown, as an expression: blanks between columns may be any number, `…` is anything."""
    return re.compile(re.escape(_squeezed(lines)).replace(re.escape(ANY), ".*"), re.DOTALL)


def _squeezed(text: str) -> str:
    return "\n".join(re.sub(r" +", " ", line).rstrip() for line in text.strip().splitlines())


def _fits(shown: object, real: object) -> bool:
    """Whether a value is what is shown of it."""
    if shown == ANY:
        return True
    if isinstance(shown, dict) and isinstance(real, dict):
        known = shown.keys() - {ANY}
        enough = known <= real.keys() if ANY in shown else known == real.keys()
        return enough and all(_fits(shown[key], real[key]) for key in known)
    if isinstance(shown, list) and isinstance(real, list):
        more = shown[-1:] == [ANY]
        firsts = shown[:-1] if more else shown
        return (len(real) >= len(firsts) if more else len(real) == len(firsts)) and all(map(_fits, firsts, real))
    return shown == real


PROGRAMS = [block for page in ENGLISH for block in blocks(page, "python") if block.comment == "run"]


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_python_examples_run(project: Project, block: Block) -> None:
    path = project.folder / "example.py"
    path.write_text(f"import sys\nsys.path.append('workflows')\n{block.text}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=project.folder,
        env=project.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
