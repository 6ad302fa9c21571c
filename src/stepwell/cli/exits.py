"""The exit codes of the program, and which error gives which."""

from __future__ import annotations

from enum import IntEnum

from stepwell.errors import (
    Conflict,
    DefinitionError,
    ExpressionError,
    Fail,
    InvalidInput,
    NotFound,
    SettingsError,
    StepwellError,
    Unavailable,
)


class Exit(IntEnum):
    """What the program ends with."""

    OK = 0
    FAILED = 1
    INVALID = 2
    NOT_FOUND = 3
    CONFLICT = 4
    CANCELLED = 5
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "completed, or nothing wrong",
    Exit.FAILED: "the task failed, or doctor found something wrong",
    Exit.INVALID: "wrong usage, input, workflow file or setting",
    Exit.NOT_FOUND: "no such workflow, task, step or file",
    Exit.CONFLICT: "not possible in the state the task or the store is in",
    Exit.CANCELLED: "the task was cancelled",
    Exit.INTERRUPTED: "the task was cancelled by Ctrl-C (or SIGTERM), or is no longer shown",
}

_BY_ERROR: dict[type[StepwellError], Exit] = {
    DefinitionError: Exit.INVALID,
    ExpressionError: Exit.INVALID,
    InvalidInput: Exit.INVALID,
    SettingsError: Exit.INVALID,
    Fail: Exit.INVALID,
    NotFound: Exit.NOT_FOUND,
    Conflict: Exit.CONFLICT,
    Unavailable: Exit.CONFLICT,
    StepwellError: Exit.FAILED,
}


def code_of(error: StepwellError) -> Exit:
    """The exit code for an error, by the nearest of its classes."""
    return next(_BY_ERROR[kind] for kind in type(error).__mro__ if kind in _BY_ERROR)


def told(*codes: Exit) -> str:
    """The help text for the codes of a command: `Exit codes: 0 …, 2 ….`"""
    return "Exit codes: " + "; ".join(f"{int(code)} {MEANINGS[code]}" for code in codes) + "."
