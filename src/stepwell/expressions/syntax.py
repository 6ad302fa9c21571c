"""Expressions as text: finds `${{ … }}` in strings, and parses with Jinja2's grammar, places included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stepwell.errors import ExpressionError
from stepwell.expressions.bounds import MAX_BRACKETS, MAX_DEPTH, MAX_EXPRESSION

OPENING = "${{"
CLOSING = "}}"
MAX_NUMBER = 400

STRING = re.compile(r"'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"", re.DOTALL)
PUNCTUATION = re.compile(r"['\"{}]")
END = re.compile(r"unexpected '?end of template'?")
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
KNOWN_ESCAPES = frozenset("\n\\'\"abfnrtvxNuU01234567")
TRAPS = (
    (re.compile(r"&&"), "write `and` for `&&`"),
    (re.compile(r"\|\|"), "write `or` for `||`"),
    (re.compile(r"\?\?"), "write `x | default(y)` for `x ?? y`"),
    (re.compile(r"\?"), "write `a if condition else b` for `condition ? a : b`"),
    (re.compile(r"!(?!=)"), "write `not x` for `!x`"),
    (re.compile(r"\{\{"), "leave out the inner `{{ }}`: this is an expression already"),
    (re.compile(r"\{%|%\}"), "statements like `{% if %}` are not expressions; write `a if condition else b`"),
    (re.compile(r"===|!=="), "write `==` or `!=`"),
    (re.compile(r"(?<![=!<>])=(?!=)"), "write `==` to compare"),
)
FULL_WIDTH = {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum()}
FULL_WIDTH |= {"。": ".", "、": ",", "‘": "'", "’": "'", "“": '"', "”": '"'}
"""Punctuation as it is typed in Chinese and Japanese, and what stands for it in an expression."""

_GRAMMAR = ImmutableSandboxedEnvironment()


def split(text: str) -> list[str | tuple[int, str]]:
    """The literal parts of a text and its expressions as (offset, text), in order.

    Strings and braces inside an expression are known: `${{ {'a': '}}'} }}` is one expression.
    Raises ExpressionError for one that is not closed.
    """
    parts: list[str | tuple[int, str]] = []
    position = 0
    while (start := text.find(OPENING, position)) >= 0:
        if start > position:
            parts.append(text[position:start])
        end = _end_of_expression(text, start)
        inner = text[start + len(OPENING) : end]
        parts.append((start + len(OPENING) + len(inner) - len(inner.lstrip()), inner.strip()))
        position = end + len(CLOSING)
    if position < len(text):
        parts.append(text[position:])
    return parts


def _end_of_expression(text: str, start: int) -> int:
    """Where the `}}` stands that closes the `${{` at `start`."""
    depth = 0
    position = start + len(OPENING)
    limit = position + MAX_EXPRESSION + len(CLOSING)
    while match := PUNCTUATION.search(text, position, limit):
        position = match.end()
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            if depth == 0 and text.startswith(CLOSING, match.start()):
                return match.start()
            depth = max(depth - 1, 0)
        else:
            position = _end_of_string(text, match.start(), limit)
    if len(text) > limit:
        raise ExpressionError(f"an expression has at most {MAX_EXPRESSION:,} characters", offset=start)
    raise ExpressionError("`${{` is never closed by `}}`", offset=start)


def _end_of_string(text: str, start: int, limit: int) -> int:
    match = STRING.match(text, start, limit)
    if match is None:
        raise ExpressionError(f"the string is never closed by {text[start]}", offset=start)
    return match.end()


def parse(text: str) -> nodes.Expr:
    """The tree of an expression, in which `lineno` is an offset in the text, counted from 1.

    Nothing is evaluated. Raises ExpressionError with the offset, and a hint for the traps of other languages.
    """
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(f"an expression has at most {MAX_EXPRESSION:,} characters, this one {len(text):,}")
    if not text.strip():
        raise ExpressionError("the expression is empty")
    try:
        tree = _parse(text)
    except TemplateSyntaxError as error:
        _refuse(text, error.message or "invalid expression", error.lineno - 1)
    except RecursionError as error:
        raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} levels deep") from error
    _refuse_depth(tree)
    return tree


def _parse(text: str) -> nodes.Expr:
    parser = Parser(_GRAMMAR, "", state="variable")
    parser.stream = TokenStream(_GRAMMAR.lexer.wrap(_tokens(text)), None, None)
    tree = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail(f"unexpected {parser.stream.current.value!r}", parser.stream.current.lineno)
    return tree


def _tokens(text: str) -> Iterator[tuple[int, str, str]]:
    """Jinja2's tokens, each with its offset (from 1) where Jinja2 has the line."""
    offset = 1
    brackets = 0
    try:
        for _line, token, value in _GRAMMAR.lexer.tokeniter(text, None, state="variable"):
            brackets += (value in ("(", "[", "{")) - (value in (")", "]", "}"))
            if brackets > MAX_BRACKETS:
                raise ExpressionError(f"brackets are nested more than {MAX_BRACKETS} levels deep", offset=offset - 1)
            if token in ("integer", "float") and len(value) > MAX_NUMBER:
                raise ExpressionError(f"a number has at most {MAX_NUMBER} digits", offset=offset - 1)
            yield offset, token, ESCAPE.sub(_escape, value) if token == "string" else value
            offset += len(value)
    except TemplateSyntaxError as error:
        message = re.sub(r" at \d+$", "", error.message or "invalid expression")
        raise TemplateSyntaxError(message, offset) from error


def _escape(match: re.Match[str]) -> str:
    """Unknown escapes stay as they are written, as in Python: `'\\d+'` is a pattern, not a mistake."""
    return match[0] if match[1] in KNOWN_ESCAPES else "\\" + match[0]


def _refuse(text: str, message: str, offset: int) -> NoReturn:
    if plain := FULL_WIDTH.get(text[offset : offset + 1]):
        raise ExpressionError(
            f"unexpected {text[offset]!r}", offset=offset, hint=f"write `{plain}` for `{text[offset]}`"
        )
    blanked = STRING.sub(lambda match: " " * len(match[0]), text)
    for trap, hint in TRAPS:
        if found := trap.search(blanked):
            raise ExpressionError(f"unexpected {found[0]!r}", offset=found.start(), hint=hint)
    if "end of template" in message:
        message = END.sub("the expression ends too early", message).rstrip(".")
        offset = len(text.rstrip())
    raise ExpressionError(message, offset=offset)


def _refuse_depth(tree: nodes.Node) -> None:
    level: list[nodes.Node] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
        if not level:
            return
    raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} levels deep")
