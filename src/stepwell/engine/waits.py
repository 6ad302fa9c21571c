"""Steps that wait: for a time, an event, a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stepwell.engine.incoming import Arrival
from stepwell.engine.outcomes import StepFailed, failing_step
from stepwell.engine.scope import Scope
from stepwell.errors import ExpressionError, InvalidInput
from stepwell.plan import Node, WaitPlan
from stepwell.task import Error, StepRecord, StepStatus
from stepwell.topics import topic
from stepwell.variables import check

if TYPE_CHECKING:
    from stepwell.engine.run import Run

Names = Mapping[str, object]

_INDEX = re.compile(r"\[\d+\]")


class Waits:
    """Waits as long as it takes, while the task holds nothing.

    What a step waits for is worked out once and kept in its record, so that it stays the same however often the task
    is suspended, or its worker is lost.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._records = run, run.records
        self._taken: dict[str, set[str]] | None = None

    async def run(self, node: Node, scope: Scope, record: StepRecord) -> str:
        """The JSON text of what came; raises `StepFailed` when its time limit is over."""
        plan = node.wait
        assert plan is not None
        self._run.go_on(scope, record)
        if record.wait is None:
            record = self._begun(node, plan, scope, record)
        if plan.kind == "time":
            return await self._time(scope, record)
        if plan.kind == "approval":
            return await self._approval(node, plan, scope, record)
        return await self._event(node, plan, scope, record)

    def _begun(self, node: Node, plan: WaitPlan, scope: Scope, record: StepRecord) -> StepRecord:
        now = self._run.now()
        record = replace(record, started_at=record.started_at or now)
        with failing_step(node, record.path, "wait"):
            wait = self._worked_out(plan, now, self._run.names.of(node, scope, record, "wait"))
        return self._records.write(record, status=StepStatus.WAITING, wait=wait)

    def _worked_out(self, plan: WaitPlan, now: float, names: Names) -> dict[str, Any]:
        """What `StepRecord.wait` tells; times are the store's."""
        limit = plan.duration or plan.timeout
        due = None if limit is None else now + limit(names)
        if plan.kind == "time":
            return {"kind": plan.kind, "due": plan.until(names) if plan.until is not None else due}
        if plan.event is not None:
            return {"kind": plan.kind, "event": self._shown(plan.event(names)), "due": due}
        message = "" if plan.message is None else self._run.names.masker.mask_text(plan.message(names))
        return {
            "kind": plan.kind,
            "message": message,
            "form": {name: field.model_dump(mode="json", exclude_none=True) for name, field in _form(plan).items()},
            "approvers": None if plan.approvers is None else [self._shown(name) for name in plan.approvers(names)],
            "due": due,
        }

    def _shown(self, name: str) -> str:
        """The name of an event or a key as it is, for the record shows it. Raises `ValueError` if it holds a secret:
        masked it would be another name."""
        if self._run.names.masker.mask_text(name) != name:
            raise ValueError("the name of an event or of an approver holds a secret, and everybody can read it")
        return name

    async def _time(self, scope: Scope, record: StepRecord) -> str:
        due = _wait(record)["due"]
        while self._run.now() < due:
            await self._run.waiting.until(due, scope)
            self._run.go_on(scope, record)
        return "null"

    async def _approval(self, node: Node, plan: WaitPlan, scope: Scope, record: StepRecord) -> str:
        arrival = await self._coming(node, plan, scope, record, lambda: self._run.waiting.incoming.first(record.path))
        given = arrival.payload if isinstance(arrival.payload, dict) else {}
        try:
            answer = check(_form(plan), given)
        except InvalidInput as error:
            message = f"the answer does not fit the form: {error}"
            raise StepFailed(Error("invalid", message, record.id, record.path, retryable=False)) from error
        return self._kept(record, arrival, answer)

    async def _event(self, node: Node, plan: WaitPlan, scope: Scope, record: StepRecord) -> str:
        with failing_step(node, record.path, "match"):
            names = self._run.names.of(node, scope, record, "match")
            wanted = self._topic(plan, _wait(record)["event"], names)
        candidates = self._candidates(plan, record, wanted, names)
        arrival = await self._coming(node, plan, scope, record, lambda: next(candidates), wanted)
        self._taken_by(record.path).add(arrival.id)
        return self._kept(record, arrival, arrival.payload)

    async def _coming(
        self,
        node: Node,
        plan: WaitPlan,
        scope: Scope,
        record: StepRecord,
        look: Callable[[], Arrival | None],
        topic: str | None = None,
    ) -> Arrival:
        """What comes first, but not after the time limit. That is over only once all that had come until then has been
        looked at, so that it does not matter when somebody looks."""
        due = _wait(record)["due"]
        while True:
            with failing_step(node, record.path, "match"):
                arrival = look()
            if arrival is not None and (due is None or arrival.at <= due):
                return arrival
            if due is None or self._run.now() < due:
                await self._run.waiting.news(due, scope, topic)
                self._run.go_on(scope, record)
            elif self._run.waiting.incoming.read_at < due:
                self._run.waiting.look()
            else:
                raise StepFailed(_in_vain(record), plan.tolerant)

    def _candidates(self, plan: WaitPlan, record: StepRecord, topic: str, names: Names) -> Iterator[Arrival | None]:
        """The events that are meant and that no other item or round of the step has taken, oldest first; None where no
        further one has come yet."""
        name, seen = _wait(record)["event"], 0
        taken = self._taken_by(record.path)
        while True:
            arrivals = self._run.waiting.incoming.of(name, topic)
            while seen < len(arrivals):
                seen += 1
                arrival = arrivals[seen - 1]
                if arrival.id not in taken and self._is_meant(plan, record, arrival, names):
                    yield arrival
            yield None

    def _is_meant(self, plan: WaitPlan, record: StepRecord, arrival: Arrival, names: Names) -> bool:
        """Whether an event matches. Anybody may publish one that the condition cannot be asked about: that is not
        meant, and must not end the wait."""
        if plan.match is None:
            return True
        try:
            return bool(plan.match({**names, "event": arrival.payload}))
        except ExpressionError as error:
            self._run.warn(record, f"an event {_wait(record)['event']} ({arrival.id}) was passed over: match: {error}")
            return False

    def _topic(self, plan: WaitPlan, name: str, names: Names) -> str:
        """The narrowest topic that the events that are meant have for sure. One with a secret in it would show it."""
        for member, value in plan.keys:
            try:
                found = topic(name, member, value(names))
            except ExpressionError:  # it is up to the condition whether that matters
                continue
            if found is not None and self._run.names.masker.mask_text(found) == found:
                return found
        return name

    def _kept(self, record: StepRecord, arrival: Arrival, value: object) -> str:
        """The JSON text of what a step waited for; the record tells what it took, and who sent it."""
        wait = {**_wait(record), "taken": arrival.id, "by": arrival.sender}
        self._records.write(self._records[record.path], wait=wait)
        return self._run.names.encode(value, f"what came for {record.path}")

    def _taken_by(self, path: str) -> set[str]:
        """What the items and rounds of a step have taken."""
        if self._taken is None:
            self._taken = {}
            for record in self._records.by_path.values():
                if "taken" in _wait(record):
                    self._taken_by(record.path).add(_wait(record)["taken"])
        return self._taken.setdefault(_INDEX.sub("", path), set())


def _wait(record: StepRecord) -> Mapping[str, Any]:
    return record.wait or {}


def _form(plan: WaitPlan) -> Mapping[str, Any]:
    return plan.form or {}


def _in_vain(record: StepRecord) -> Error:
    wait = _wait(record)
    awaited = f"no event {wait['event']} that is meant had come" if "event" in wait else "nobody had answered"
    limit = wait["due"] - (record.started_at or wait["due"])
    message = f"{awaited} when the time limit of {limit:g} s was over"
    return Error("timeout", message, record.id, record.path, retryable=False)
