"""What a task becomes when it gets mail, and which mail it takes."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.errors import Conflict
from stepwell.task import Mail, NewMail, Status, Task

MAX_MAIL = 20_000
"""Messages in the mailbox of one task."""


def listens(task: Task) -> bool:
    """Whether mail and publications wake a task. One that pauses before a retry, and so has an `error`, finds its mail
    when its time has come: else what comes would use up its retries."""
    return task.status is Status.WAITING and task.error is None


def answered(task: Task, new: NewMail, mailbox: Sequence[Mail], now: float) -> Mail | None:
    """The message of which this one is a repeat; None if it is new. Raises `Conflict` as `TaskStore.send` says.

    `mailbox` holds at least those with the same name or the same key.
    """
    for mail in mailbox:
        if new.key is not None and mail.key == new.key:
            return mail
        if new.once and mail.name == new.name:
            if (mail.payload, mail.sender) == (new.payload, new.sender):
                return mail
            raise Conflict(f"{new.name!r} was answered already{f' by {mail.sender}' if mail.sender else ''}")
    if task.ended:
        raise Conflict(f"the task is {task.status} already: it waits for nothing", status=task.status)
    if new.until is not None and now > new.until:
        raise Conflict(f"{new.name!r} waits no longer: its time limit is over", status=task.status)
    return None


def full(task: Task) -> Conflict:
    """Why a mailbox takes nothing more."""
    message = f"the task has {MAX_MAIL:,} messages, which is the most it keeps: it reads none of them"
    return Conflict(message, status=task.status)
