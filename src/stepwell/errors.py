"""Every exception of Stepwell, in one tree.

StepwellError
├── DefinitionError      a workflow cannot be loaded; carries every problem with its place
├── ExpressionError      an expression cannot be compiled, or failed while it ran
├── InvalidInput         what a caller sent does not fit; carries every field's problem
├── NotFound             no such workflow, task, step or file
├── Conflict             the task is not in a state that allows this
├── Forbidden            this caller may not do this
├── Unavailable          cannot be taken now; try again after `retry_after` seconds
│   ├── NotDelivered     the request did not arrive: nothing was done
│   └── QueueFull        the bound of a queue is reached
├── ClaimLost            the store refused a write, because another holds the task now
├── SettingsError        a setting is wrong, unknown or missing
├── Fail                 raised by actions: the step fails with this message and code
└── Stop                 raised by actions: the task ends here, on purpose
Interrupted              (BaseException) raised into a running action from outside
├── TimeLimitReached     its time limit is over
└── TaskCancelled        its task was cancelled
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import accumulate, islice

MAX_WORD = 200
"""Characters of a word for which what was meant is looked for."""

MAX_KNOWN = 1_000
MAX_COMPARED = 1_000_000
"""So many known words, and pairs of characters, are compared at most."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'fetch'?)` for the nearest known word, or an empty string."""
    if len(word) > MAX_WORD:
        return ""
    near = get_close_matches(word, _comparable(word, known), n=1, cutoff=0.6)
    return f" (did you mean {short(near[0])!r}?)" if near else ""


def short(text: str, length: int = 100) -> str:
    """The beginning of a text, without lone surrogates, so that it can be sent."""
    text = text[: length + 1].encode(errors="replace").decode()
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _comparable(word: str, known: Iterable[str]) -> list[str]:
    """The first known words, as many as may be compared."""
    words = [name for name in islice(known, MAX_KNOWN) if len(name) <= MAX_WORD]
    pairs = accumulate(len(word) * len(name) for name in words)
    return [name for name, compared in zip(words, pairs, strict=True) if compared <= MAX_COMPARED]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a workflow file, and where.

    `line` and `column` count from 1. `source` is the offending line, `corrected` the same line
    as it should have been written, for the traps of YAML where that is known.
    """

    message: str
    file: str = "<text>"
    line: int = 1
    column: int = 1
    source: str = ""
    corrected: str | None = None

    def __str__(self) -> str:
        text = f"{self.file}:{self.line}:{self.column}: {self.message}"
        if self.source.strip():
            text += f"\n    {self.source.rstrip()}"
        if self.corrected is not None:
            text += f"\n  write:\n    {self.corrected.rstrip()}"
        return text


@dataclass(frozen=True)
class FieldProblem:
    """One field of a caller's input that does not fit: `field` is a dotted path like `variables.day`."""

    field: str
    message: str


class StepwellError(Exception):
    """The base of all errors of Stepwell; `str(error)` is one sentence for people."""


class DefinitionError(StepwellError):
    """A workflow cannot be loaded. `problems` holds every problem, in order of place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ExpressionError(StepwellError):
    """An expression cannot be compiled or failed. `offset` counts characters from 0 in its text."""

    def __init__(self, message: str, *, offset: int = 0, hint: str | None = None) -> None:
        self.message, self.offset, self.hint = message, offset, hint
        super().__init__(message if hint is None else f"{message}; {hint}")


class InvalidInput(StepwellError):
    """What a caller sent does not fit. `problems` names every field."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{problem.field}: {problem.message}" for problem in self.problems))


class NotFound(StepwellError):
    """There is no such workflow, task, step or file."""

    def __init__(self, kind: str, name: str, known: Iterable[str] = ()) -> None:
        self.kind, self.name = kind, name
        super().__init__(f"unknown {kind} {short(name)!r}{did_you_mean(name, known)}")


class Conflict(StepwellError):
    """The task is not in a state that allows this. `status` is the state it is in, where that is the reason."""

    def __init__(self, message: str, *, status: str | None = None) -> None:
        self.status = status
        super().__init__(message)


class Forbidden(StepwellError):
    """This caller may not do this, though others of the same role may."""


class Unavailable(StepwellError):
    """This cannot be taken now; `retry_after` is in seconds, `task_id` names a task that may be there nevertheless."""

    def __init__(self, message: str, *, retry_after: float = 1.0, task_id: str | None = None) -> None:
        self.retry_after, self.task_id = retry_after, task_id
        super().__init__(message)


class NotDelivered(Unavailable):
    """The request did not arrive, or was refused before anything was done: doing it elsewhere does it once."""


class QueueFull(Unavailable):
    """The bound of a queue is reached; nothing was recorded."""


class ClaimLost(StepwellError):
    """The store refused a write, because the claim it names is not the task's claim (any more)."""


class SettingsError(StepwellError):
    """A setting is wrong, unknown or missing; the message names it and the remedy."""


class Fail(StepwellError):
    """Raise this in an action to fail its step with a code that `retry.if` and people can tell apart.

    `retryable=False` makes the step's `retry` give up at once. `status` is an HTTP status where there is one,
    `retry_after` the pause in seconds that the other side asked for.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "step_failed",
        retryable: bool = True,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.message, self.code, self.retryable = message, code, retryable
        self.status, self.retry_after = status, retry_after
        super().__init__(message)


class Stop(StepwellError):
    """Raise this in an action to end the whole task early, on purpose: `status` is `completed` or `cancelled`."""

    def __init__(self, message: str = "", *, status: str = "completed") -> None:
        self.message, self.status = message, status
        super().__init__(message)


class Interrupted(BaseException):
    """Raised into a running action from outside; not an `Exception`, so that `except Exception` lets it pass."""


class TimeLimitReached(Interrupted):
    """The time limit of the attempt, or of the task, is over."""


class TaskCancelled(Interrupted):
    """The task was cancelled while this action ran."""
