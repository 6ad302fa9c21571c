"""How the example `dependency_report` finds and judges licences."""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

MIT_TEXT = "Copyright (c) Ada\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy of this"


@pytest.fixture(scope="module")
def licences() -> Any:
    """The module, found as `call:` finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2] / "workflows"))
        return importlib.import_module("dependency_licences")


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("mit", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only AND MIT", False),
        ("MIT AND (GPL-3.0-only OR ISC)", True),
        ("(MIT", True),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("ISC WITH some-exception", True),
        ("MIT ISC", False),
        ("", False),
    ],
)
def test_an_expression_is_judged(licences: Any, expression: str, allowed: bool) -> None:
    assert licences.is_allowed(expression, ["MIT", "ISC"]) is allowed


@pytest.mark.parametrize(
    ("fields", "text", "found"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: whatever\n", "", ("MIT OR Apache-2.0", "licence expression")),
        ("License: The MIT License\n", "", ("MIT", "licence field")),
        ("License: BSD-3-Clause AND Apache-2.0\n", "", ("BSD-3-Clause AND Apache-2.0", "licence field")),
        ("Classifier: License :: OSI Approved :: MIT License\n", "", ("MIT", "classifiers")),
        (
            "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License\n",
            "",
            ("BSD-3-Clause AND MIT", "classifiers"),
        ),
        ("License: see file\n", MIT_TEXT, ("MIT", "licence text")),
        ("License: UNKNOWN\n", "All rights reserved.", ("unknown", "nowhere")),
        ("", "", ("unknown", "nowhere")),
    ],
)
def test_a_licence_is_found(licences: Any, tmp_path: Path, fields: str, text: str, found: tuple[str, str]) -> None:
    folder = tmp_path / "shop-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: shop\nVersion: 1.0\n{fields}", encoding="utf-8")
    (folder / "LICENSE.txt").write_text(text, encoding="utf-8")
    (folder / "RECORD").write_text("shop-1.0.dist-info/LICENSE.txt,,\n", encoding="utf-8")
    assert licences.licence_of(metadata.Distribution.at(folder)) == found
