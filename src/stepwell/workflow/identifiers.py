"""How steps, variables and workflows may be named, in any script."""

from __future__ import annotations

import unicodedata

LETTER = r"[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f]"
LETTER_OR_DIGIT = r"[^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"
DOTTED = r"[^\x00-\x2d\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]+"
"""Of ASCII the letters and `_`, digits too, dots too; and all beyond it, for Python, Rust and JSON Schema do not spell
classes of Unicode alike. What is a letter there is for `is_identifier` to say."""


def is_identifier(text: str) -> bool:
    """Whether a text can name a step or a variable: an identifier of Python, in any script."""
    return text.isidentifier() and is_normal(text)


def is_workflow_id(text: str) -> bool:
    """Whether a text can name a workflow: letters and digits of any script, `_` and `-`, at most 100."""
    return 0 < len(text) <= 100 and is_identifier("_" + text.replace("-", "_"))


def is_normal(text: str) -> bool:
    """Whether it is spelled in Unicode's form NFKC, so that names that look alike are alike."""
    return text.isascii() or normal(text) == text


def normal(text: str) -> str:
    """The text in Unicode's form NFKC: `fix` for `ﬁx` and for full-width `ｆｉｘ`."""
    return unicodedata.normalize("NFKC", text)
