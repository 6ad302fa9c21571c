"""Signals: what people and programs tell one task that waits for it, or that will."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepwell import variables
from stepwell.errors import Conflict, Fail, FieldProblem, Forbidden, InvalidInput, NotFound
from stepwell.lifecycle import answered, crew_mail
from stepwell.plan import Plan
from stepwell.ports import TaskStore
from stepwell.service.waits import WaitingStep, waiting_steps
from stepwell.task import NewMail, StepRecord, StepStatus, Task
from stepwell.values import encode
from stepwell.workflow import Variable, event_name

MAX_PAYLOAD = 1024 * 1024
"""Bytes of JSON of one signal."""

PAGE = 1000
MAX_PAGES = 50
"""So many step records are read at a time, and so many times, to find those that wait."""

Form = Mapping[str, Variable]
_ANY = Variable.model_validate({"type": "any"})


@dataclass(frozen=True, slots=True)
class Addressee:
    """What a signal is for: an event by its `name`, or the approval whose record has the path `name`.

    `form` is what an approval is answered with, and `approvers` the names of those who may (None: anybody). It has
    a `record` if it waits, or did.
    """

    name: str
    form: Form | None = None
    approvers: Sequence[str] | None = None
    record: StepRecord | None = None

    @property
    def due(self) -> float | None:
        """Until when it waits, if that is known."""
        wait = None if self.record is None else self.record.wait
        return None if wait is None else wait.get("due")


@dataclass(frozen=True, slots=True)
class Signalled:
    """What became of a signal: under which `name` the task has it (the path of an approval's step, or the name of an
    event), whether it was `accepted` now rather than before, and the task since."""

    task: Task
    name: str
    accepted: bool


class Signals:
    """Puts signals into the mailboxes of tasks, once they fit what the task waits for."""

    def __init__(self, store: TaskStore) -> None:
        self._store = store

    def send(
        self, task: Task, plan: Plan, name: str, payload: object, sender: str | None, key: str | None
    ) -> tuple[str, bool]:
        """Send a signal; answers under which name, and whether it is new. See `Service.signal`."""
        to = self.addressee(task, plan, name, sender)
        _check_sender(to, sender)
        text = _payload_text(to, payload)
        new = NewMail(to.name, text, sender, key, once=to.form is not None, until=to.due)
        if to.record is not None and to.record.ended:
            self._check_repeat(task, to.record, new)
            return to.name, False
        mail, is_new = self._store.send(task.task_id, new)
        if (mail.name, mail.payload) != (new.name, new.payload):
            raise Conflict(f"idempotency key {key!r} belongs to another signal of this task: use a new key")
        return to.name, is_new

    def addressee(self, task: Task, plan: Plan, name: str, sender: str | None = None) -> Addressee:
        """What a signal of this name is for. Raises `NotFound`, and `Conflict` where nothing tells which step is
        meant, or whether the sender may answer a step that does not wait yet."""
        found = self._approval_at(task, plan, name, sender) or self._approval_called(task, plan, name, sender)
        if found is not None:
            return found
        steps = waiting_steps(plan, task)
        if _is_event(name) and any(_may_be_called(step, name) for step in steps):
            return Addressee(name)
        raise NotFound("signal", name, _known(steps))

    def waiting(self, task_id: str) -> Iterator[StepRecord]:
        """The records of the steps that wait now, in order of the definition."""
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = self._store.steps(task_id, PAGE, cursor)
            yield from (record for record in page.items if record.status is StepStatus.WAITING and record.wait)
            cursor = page.next_cursor
            if cursor is None:
                return

    def _approval_at(self, task: Task, plan: Plan, path: str, sender: str | None) -> Addressee | None:
        for step in waiting_steps(plan, task, path):
            if step.wait.kind == "approval":
                return self._approval(task, step, path, sender)
        return None

    def _approval_called(self, task: Task, plan: Plan, step_id: str, sender: str | None) -> Addressee | None:
        """The approval of the step with this id: the oldest that waits, else the one that there can be."""
        steps = [step for step in waiting_steps(plan, task) if step.id == step_id and step.wait.kind == "approval"]
        if not steps:
            return None
        if len(steps) == 1 and steps[0].is_one:
            return self._approval(task, steps[0], steps[0].path, sender)
        waiting = (record for record in self.waiting(task.task_id) if record.id == step_id)
        oldest = min(waiting, key=lambda record: record.started_at or 0.0, default=None)
        if oldest is None:
            places = ", ".join(step.path.replace("[]", "[0]") for step in steps[:3])
            raise Conflict(f"no {step_id!r} waits now, and there can be several: name the path of one, like {places}")
        return _open_approval(oldest)

    def _approval(self, task: Task, step: WaitingStep, path: str, sender: str | None) -> Addressee:
        record = self._record(task.task_id, path)
        if record is not None and record.status is StepStatus.WAITING:
            return _open_approval(record)
        form = step.wait.form or {}
        if record is not None and record.ended:
            return Addressee(path, form, record=record)
        return Addressee(path, form, None if sender is None else _early_approvers(step))

    def _record(self, task_id: str, path: str) -> StepRecord | None:
        try:
            return self._store.step(task_id, path)
        except NotFound:
            return None

    def _check_repeat(self, task: Task, record: StepRecord, new: NewMail) -> None:
        """Raise `Conflict` unless a step that has ended was answered just so."""
        if answered(task, new, self._store.mailbox(task.task_id), 0.0) is None:
            message = f"{record.path!r} is {record.status} already: it waits for nothing"
            raise Conflict(message, status=task.status)


def _open_approval(record: StepRecord) -> Addressee:
    wait = record.wait or {}
    form = {name: Variable.model_validate(declared) for name, declared in wait.get("form", {}).items()}
    return Addressee(record.path, form, wait.get("approvers"), record)


def _early_approvers(step: WaitingStep) -> Sequence[str] | None:
    """Who may answer a step that does not wait yet. Raises `Conflict` if that is not known yet."""
    approvers = step.wait.approvers
    if approvers is None:
        return None
    if not approvers.template.is_constant:
        raise Conflict(f"who may answer {step.path!r} is known once it waits, which it does not yet: send it then")
    return approvers({})


def _is_event(name: str) -> bool:
    """Whether an event can have this name; those of the mail of crews are not for callers."""
    try:
        return not event_name(name).startswith(crew_mail(""))
    except ValueError:
        return False


def _may_be_called(step: WaitingStep, name: str) -> bool:
    """Whether a step waits for events of this name, as far as that is known before it runs."""
    event = step.wait.event
    return event is not None and (not event.template.is_constant or event({}) == name)


def _known(steps: Sequence[WaitingStep]) -> list[str]:
    """What can be signalled, for those who misspelt it."""
    events = [step.wait.event for step in steps]
    names = [event({}) for event in events if event is not None and event.template.is_constant]
    approvals = [step for step in steps if step.wait.kind == "approval"]
    return [*names, *(step.path for step in approvals), *(step.id for step in approvals if step.id)]


def _check_sender(to: Addressee, sender: str | None) -> None:
    """Without API keys nobody has a name, and whoever reaches this machine may do everything."""
    if to.approvers is not None and sender is not None and sender not in to.approvers:
        raise Forbidden(f"{sender!r} may not answer {to.name!r}: its approvers are {', '.join(to.approvers) or 'none'}")


def _payload_text(to: Addressee, payload: object) -> str:
    """The JSON of a payload as it is kept. Raises `InvalidInput` for what does not fit."""
    checked = _checked(_ANY, payload) if to.form is None else _filled_in(to.form, payload)
    try:
        text = encode(checked, "the payload")
    except Fail as error:
        raise InvalidInput([FieldProblem("payload", error.message)]) from error
    if len(text) > MAX_PAYLOAD or len(text.encode(errors="replace")) > MAX_PAYLOAD:
        message = f"is more than {MAX_PAYLOAD:,} bytes of JSON: send a reference to the data instead"
        raise InvalidInput([FieldProblem("payload", message)])
    return text


def _filled_in(form: Form, payload: object) -> Any:
    """The form with what was sent, and with defaults."""
    return _checked(Variable.model_validate({"type": "object", "fields": form}), payload)


def _checked(declared: Variable, payload: object) -> Any:
    required = declared if declared.type == "any" else declared.model_copy(update={"required": True})
    try:
        return variables.check({"payload": required}, {"payload": payload})["payload"]
    except InvalidInput as error:
        raise InvalidInput([FieldProblem(_field(one.field), one.message) for one in error.problems]) from None


def _field(place: str) -> str:
    """`comment` for `variables.payload.comment`: the fields of the payload are the form's own."""
    below = place.removeprefix("variables").removeprefix(".payload").removeprefix(".")
    return below or "payload"
