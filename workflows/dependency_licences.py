"""Licences of installed packages: where they are stated, what they are called, and whether a list allows them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

UNKNOWN = "unknown"
MAX_TEXT = 200_000
"""Characters of a licence file that are looked at."""

CLASSIFIERS = {
    "Academic Free License (AFL)": "AFL-3.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
    "zlib/libpng License": "Zlib",
}
"""What follows the last `::` of a licence classifier, and the SPDX identifier that is meant by it."""

SPELLINGS = (
    (r"(the )?mit( license)?", "MIT"),
    (r"(the )?apache([- ]software)?([- ]license)?,?( version)?[- ]?v?2(\.0)?( license)?", "Apache-2.0"),
    (r"(3-clause |new |modified )?bsd([- ]3[- ]clause)?( license)?", "BSD-3-Clause"),
    (r"(2-clause|simplified) bsd( license)?|bsd[- ]2[- ]clause( license)?", "BSD-2-Clause"),
    (r"isc( license)?( \(iscl\))?", "ISC"),
    (r"(mozilla public license|mpl)[- ,]*(version )?v?2(\.0)?( \(mpl 2\.0\))?", "MPL-2.0"),
    (r"(psf|psf-2\.0|python software foundation license)( license)?", "PSF-2.0"),
    (r"(the )?unlicense", "Unlicense"),
)
"""Spellings in the free text field `License`, in lower case, and the SPDX identifier that is meant."""

PHRASES = (
    ("Permission is hereby granted, free of charge, to any person obtaining a copy", "MIT"),
    ("Apache License Version 2.0", "Apache-2.0"),
    ("Mozilla Public License Version 2.0", "MPL-2.0"),
    ("Permission to use, copy, modify, and/or distribute this software for any purpose", "ISC"),
    ("PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2", "PSF-2.0"),
    ("Neither the name of", "BSD-3-Clause"),
    ("Redistributions in binary form must reproduce the above copyright notice", "BSD-2-Clause"),
    ("This is free and unencumbered software released into the public domain", "Unlicense"),
)
"""Phrases by which the text of a licence is known; the first that is found counts."""

LICENCE_FILE = re.compile(r"(licen[cs]e|copying)([._-].*)?", re.IGNORECASE)
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


def licence_of(found: metadata.Distribution) -> tuple[str, str]:
    """The licence of a package and where it was found, the most reliable source first; else `UNKNOWN`."""
    stated = field(found, "License-Expression")
    if stated:
        return stated, "licence expression"
    short = field(found, "License")
    if licence := _spelled(short):
        return licence, "licence field"
    if licence := _classified(found):
        return licence, "classifiers"
    for text in (short, *_licence_texts(found)):
        if licence := _recognized(text):
            return licence, "licence text"
    return UNKNOWN, "nowhere"


def is_allowed(expression: str, allow: Sequence[str]) -> bool:
    """Whether an SPDX expression holds with these licences: of `A OR B` one is enough, of `A AND B` both are needed.

    `A WITH exception` is allowed where A is.
    """
    allowed = {name.lower() for name in allow}
    words = re.sub(r"(?i)\s+WITH\s+\S+?(?=[\s)]|$)", "", expression)
    tokens = re.findall(r"[()]|[^\s()]+", words)
    held = _either(tokens, allowed)
    return held and not tokens


def _either(tokens: list[str], allowed: set[str]) -> bool:
    held = _both(tokens, allowed)
    while tokens and tokens[0].upper() == "OR":
        tokens.pop(0)
        held = _both(tokens, allowed) or held
    return held


def _both(tokens: list[str], allowed: set[str]) -> bool:
    held = _one(tokens, allowed)
    while tokens and tokens[0].upper() == "AND":
        tokens.pop(0)
        held = _one(tokens, allowed) and held
    return held


def _one(tokens: list[str], allowed: set[str]) -> bool:
    token = tokens.pop(0) if tokens else ""
    if token != "(":
        return token.lower() in allowed
    held = _either(tokens, allowed)
    if tokens:
        tokens.pop(0)
    return held


def field(found: metadata.Distribution, name: str) -> str:
    """A field of the metadata, empty if it is not given."""
    text = str(found.metadata[name]).strip() if name in found.metadata else ""
    return "" if text == "UNKNOWN" else text


def _classified(found: metadata.Distribution) -> str | None:
    words = [text.rpartition(" :: ")[2] for text in found.metadata.get_all("Classifier") or () if "License ::" in text]
    known = sorted({CLASSIFIERS[word] for word in words if word in CLASSIFIERS})
    return " AND ".join(known) or None  # they do not say whether one is enough, so take it that all bind


def _spelled(text: str) -> str | None:
    """The SPDX expression that a short text in the field `License` stands for."""
    words = " ".join(text.lower().split())
    for pattern, licence in SPELLINGS:
        if re.fullmatch(pattern, words):
            return licence
    known = {*CLASSIFIERS.values(), *(licence for _, licence in SPELLINGS)}
    parts = [part for part in re.findall(SPDX, text) if part.upper() not in ("AND", "OR", "WITH")]
    return text if parts and known.issuperset(parts) else None


def _licence_texts(found: metadata.Distribution) -> list[str]:
    files = [file for file in found.files or () if LICENCE_FILE.fullmatch(file.name)]
    paths = [Path(str(file.locate())) for file in sorted(files, key=lambda file: len(file.parts))]
    return [path.read_text(encoding="utf-8", errors="replace")[:MAX_TEXT] for path in paths if path.is_file()]


def _recognized(text: str) -> str | None:
    flat = " ".join(text.split()).lower()
    return next((licence for phrase, licence in PHRASES if phrase.lower() in flat), None)
