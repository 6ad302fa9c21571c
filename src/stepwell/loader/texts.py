"""The expressions of a step: compiled once, and what they read; and texts that look as if they were expressions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from stepwell.errors import ExpressionError
from stepwell.expressions import Expression, compile_expression, split
from stepwell.loader.report import Path, Report
from stepwell.loader.sites import Reading, Site, Tree
from stepwell.plan import own_texts
from stepwell.strict_yaml import quoted
from stepwell.workflow import LETTER, LETTER_OR_DIGIT, Step, Workflow

OPENING = "${{"
LITERAL_KEYS = ("uses", "call", "name", "shell", "files", "needs_files", "secrets")
"""Keys of a step that hold no expressions."""

MAX_SEARCHED = 10_000
"""So far into a text, in characters, references in the wrong braces are looked for."""

_NAME = rf"({LETTER}{LETTER_OR_DIGIT}*+)"
_BARE = re.compile(rf"(steps|variables|secrets|error)\.{_NAME}(?:\.{LETTER_OR_DIGIT}++|\[\w++\])*+")
_BRACES = re.compile(rf"(?<!\$)\{{\{{-?\s{{0,20}}(steps|variables|secrets)\.{_NAME}.{{0,200}}?\}}\}}")
_WORD = re.compile(rf"{LETTER}{LETTER_OR_DIGIT}*")


class Texts:
    """Reads the texts of a workflow and reports what does not compile, or is taken otherwise than it looks."""

    def __init__(self, report: Report, workflow: Workflow, tree: Tree) -> None:
        self._report, self._workflow, self._tree = report, workflow, tree

    def read(self, site: Site) -> None:
        """Fill in the readings of a step."""
        for place, value, bare in own_texts(site.step):
            if value is None:
                continue
            path, key = (*site.path, *place), str(place[0] if len(place) == 1 else ".".join(map(str, place)))
            if bare and isinstance(value, str):
                site.readings += self.of_expression(path, key, value, 0, value)
            elif not bare:
                site.readings += self.of_value(path, key, value, site)
        if isinstance(site.step.run, str):
            self._check_script((*site.path, "run"), site.step.run)
        self._check_literals(site.path, site.step)

    def of_value(self, path: Path, key: str, value: object, site: Site | None = None) -> Iterator[Reading]:
        """What the expressions in a JSON value read."""
        if isinstance(value, str):
            if OPENING in value:
                yield from self._of_text(path, key, value)
            else:
                self._check_plain(path, value, site)
        elif isinstance(value, dict):
            for name, item in value.items():
                yield from self.of_value((*path, name), key, item, site)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                yield from self.of_value((*path, number), key, item, site)

    def refuse(self, path: Path, value: object) -> None:
        """Report expressions in a value that is taken as it is written."""
        if isinstance(value, str) and OPENING in value:
            self._report.add(path, f"`{path[-1]}` is taken as it is written: no expression may stand in it")
        elif isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, str) and OPENING in item:
                    message = f"`{path[-1]}` is taken as it is written: no expression may stand in it"
                    self._report.add((*path, number), message)

    def _of_text(self, path: Path, key: str, text: str) -> Iterator[Reading]:
        try:
            parts = split(text)
        except ExpressionError as error:
            self._report.add_expression(path, error)
            return
        for part in parts:
            if not isinstance(part, str):
                yield from self.of_expression(path, key, part[1], part[0], text)

    def of_expression(self, path: Path, key: str, expression: str, shift: int, text: str) -> Iterator[Reading]:
        """What an expression reads that stands at `shift` in a text."""
        compiled = self._compiled(path, expression, shift)
        for found in compiled.references if compiled else ():
            yield Reading(path, found.offset, key, found.path, found.guarded, text)

    def _compiled(self, path: Path, expression: str, shift: int) -> Expression | None:
        try:
            return compile_expression(expression, shift)
        except ExpressionError as error:
            self._report.add_expression(path, error)
            return None

    def _check_plain(self, path: Path, text: str, site: Site | None) -> None:
        """A text that was meant to be an expression: `steps.fetch.output`, `{{ steps.fetch.output }}`."""
        if (bare := _BARE.fullmatch(text.strip())) and self._is_there(bare[1], bare[2], site):
            wanted = f"${{{{ {text.strip()} }}}}"
            self._report.add_replaced(path, f"this is text, not a value: write {quoted(wanted)}", wanted)
        elif (braces := _BRACES.search(text, 0, MAX_SEARCHED)) and self._is_there(braces[1], braces[2], site):
            wanted = _BRACES.sub(lambda found: f"${found[0]}", text)
            self._report.add_replaced(path, "an expression is written `${{ … }}`; `{{ … }}` is text", wanted)

    def _is_there(self, root: str, name: str, site: Site | None) -> bool:
        if root == "steps":
            return name in self._tree.ids
        if root == "variables":
            return name in self._workflow.variables
        if root == "secrets":
            return name in self._workflow.secrets or bool(site and name in (site.step.secrets or ()))
        return bool(site and root in site.inside) and name in ("message", "code", "step", "path", "status")

    def _check_script(self, path: Path, script: str) -> None:
        """Rule 6: a value in a script could run as code, so values come through the environment."""
        if OPENING in script:
            self._refuse_in_script(path, script)
        elif (braces := _BRACES.search(script, 0, MAX_SEARCHED)) and self._is_there(braces[1], braces[2], None):
            expression = braces[0].strip("{-} ")
            self._tell_env(path, braces.start(), expression, env_name(expression))

    def _refuse_in_script(self, path: Path, script: str) -> None:
        names = _Names()
        try:
            for part in split(script):
                if not isinstance(part, str):
                    self._tell_env(path, script.rfind(OPENING, 0, part[0] + 1), part[1], names.of(part[1]))
        except ExpressionError as error:
            self._report.add_expression(path, error)

    def _tell_env(self, path: Path, offset: int, expression: str, name: str) -> None:
        form = f"env: {{{name}: {quoted(f'${{{{ {expression} }}}}')}}}"
        message = f'no expression may stand in a script, because its value could run as code: write "${name}" here'
        self._report.add_inside(path, offset, f"{message} and, beside `run`, {form}", variable=f"${name}")

    def _check_literals(self, path: Path, step: Step) -> None:
        for key in LITERAL_KEYS:
            if (value := getattr(step, key)) is not None:
                self.refuse((*path, key), value)


class _Names:
    """Names for the expressions of one script, each its own: `VALUE`, `VALUE_2`."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._alike: Counter[str] = Counter()

    def of(self, expression: str) -> str:
        """The name of an expression, the same wherever it stands again."""
        if expression not in self._names:
            name = env_name(expression)
            self._alike[name] += 1
            self._names[expression] = name if self._alike[name] == 1 else f"{name}_{self._alike[name]}"
        return self._names[expression]


def env_name(expression: str) -> str:
    """A name for the environment variable that carries an expression: `DAY` for `variables.day`.

    A shell knows names of ASCII only: `VALUE` for `variables.关键词`.
    """
    words = _WORD.findall(re.sub(r"'[^']*'|\"[^\"]*\"|\|.*", "", expression))
    return words[-1].upper() if words and words[-1].isascii() else "VALUE"
