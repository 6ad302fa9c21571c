"""Which module may import which: the one table of layers, held against every import in `src/stepwell`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "stepwell"

ROWS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("values", "ids", "patterns", "recent", "logs", "strict_yaml", "topics"),
    ("workflow", "task", "settings"),
    (
        "lifecycle",
        "graph",
        "expressions",
        "variables",
        "secrets",
        "api_keys",
        "redis_client",
        "ports",
        "registry",
        "listeners",
    ),
    ("plan", "publishing"),
    ("loader", "actions", "stores", "queues"),
    ("engine", "service", "operations", "definitions"),
    ("wiring",),
    ("api", "worker"),
    ("cli",),
)
"""A module imports only from rows above its own; modules of one package may import each other."""

ROW_OF = {name: number for number, row in enumerate(ROWS) for name in row}
ROW_OF["__init__"] = ROW_OF["plan"]
"""`stepwell` itself offers what actions need; the rows below may read its version."""
ROW_OF["__main__"] = len(ROWS)


def modules(package: Path = PACKAGE) -> list[Path]:
    """Every module of the package."""
    return sorted(package.rglob("*.py"))


def part_of(module: Path, package: Path = PACKAGE) -> str:
    """The part of the package that a module belongs to: `engine` for `engine/run.py`."""
    return module.relative_to(package).parts[0].removesuffix(".py")


def imported(module: Path) -> Iterator[tuple[int, str]]:
    """The parts of `stepwell` that a module imports, anywhere in it, each with its line."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "stepwell" else [base]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            if top == "stepwell":
                yield node.lineno, rest.partition(".")[0]


def offences(package: Path = PACKAGE) -> list[str]:
    """Every import that goes sideways or down."""
    found = []
    for module in modules(package):
        part = part_of(module, package)
        for line, other in imported(module):
            if other != part and ROW_OF.get(other, ROW_OF["__init__"]) >= ROW_OF[part]:
                found.append(f"{module.relative_to(package)}:{line}: {part} must not import {other}")
    return found


def test_every_part_has_its_row() -> None:
    parts = {part_of(module) for module in modules()} - {"__init__", "__main__"}
    listed = {name for row in ROWS for name in row}
    assert parts == listed, "every part of the package has one place in this table, and in docs/inside.md"


def test_modules_import_only_rows_above_their_own() -> None:
    assert offences() == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("graph.py", "from stepwell.lifecycle import move"),
        ("engine/run.py", "import stepwell.service"),
        ("service/service.py", "def f():\n    from stepwell import engine"),
        ("errors.py", "from stepwell.values import encode"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, text: str) -> None:
    module = tmp_path / file
    module.parent.mkdir(exist_ok=True)
    module.write_text(text, encoding="utf-8")
    assert len(offences(tmp_path)) == 1
