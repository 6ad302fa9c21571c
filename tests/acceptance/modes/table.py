"""Small workflows, at least one for each element of the language, and what comes of them."""

from __future__ import annotations

from tests.acceptance.modes.cases import Case
from tests.acceptance.modes.endings import ENDINGS
from tests.acceptance.modes.kinds import KINDS
from tests.acceptance.modes.repeats import REPEATS
from tests.acceptance.modes.waits import WAITS

TABLE: dict[str, Case] = {**KINDS, **REPEATS, **WAITS, **ENDINGS}
