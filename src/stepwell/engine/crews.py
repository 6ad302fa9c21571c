"""The crew of a step, as its task sees to it: children are made in batches, waited for, and cancelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from stepwell.engine.outcomes import Halted, StepFailed
from stepwell.engine.scope import CANCELLED, DRAINED, Scope
from stepwell.errors import NotFound
from stepwell.lifecycle import crew_mail
from stepwell.ports import TaskFilter
from stepwell.task import Crew, NewTask, Status, StepRecord, StepStatus, Task

if TYPE_CHECKING:
    from stepwell.engine.run import Run

BATCH = 500
"""So many children are made, or read, in one call."""


@dataclass(frozen=True)
class Limits:
    """How many children of a step at once, how many of them may fail, and how many are to complete."""

    at_once: int
    allowed: int
    wanted: int


class Crews:
    """The crews of a task's steps. A step's tries are the rounds of its crew: `attempts` of its record counts them."""

    def __init__(self, run: Run) -> None:
        self._run, self._store = run, run.means.store

    def next_round(self, record: StepRecord) -> int:
        """The number of the round that is begun now, or was when a worker died while it began it.

        A crew may be ahead of its record: the task ended while it began a round. Then that round is not taken up again.
        """
        if is_being_begun(record):
            return int((record.wait or {})["round"])
        crew = self.of(record.path)
        return max(record.attempts, crew.round if crew else 0) + 1

    async def begin(self, scope: Scope, record: StepRecord, new: Sequence[NewTask], limits: Limits) -> StepRecord:
        """Make the children of a round, except for what has completed in an earlier one, and have the record say so.

        What the children read must be committed before the first of them starts; and so must that this step has begun,
        so that whoever resumes a cancelled task sees to them.
        """
        number, path = self.next_round(record), record.path
        before, done, total = self.of(path), 0, len(new)
        record = self._run.records.write(
            record,
            status=StepStatus.RUNNING,
            started_at=record.started_at or self._run.now(),
            wait={"kind": "children", "due": None, "total": total, "round": number},
        )
        self._run.commit()
        if before is not None and before.round < number:
            await self.dismiss(scope, path)
            completed = {child.task_id for child in self.children(path) if child.status is Status.COMPLETED}
            new = [child for child in new if child.task_id not in completed]
            before = self.of(path)
            done = before.completed if before else 0
        wanted = max(0, limits.wanted - (total - len(new)))
        self._spawn(scope, path, Crew(done + len(new), limits.at_once, limits.allowed, done + wanted, number), new)
        return self._run.records.write(
            record,
            status=StepStatus.WAITING,
            attempts=number,
            tries=record.tries + 1,
            error=None,
            completed_at=None,
            wait={"kind": "children", "due": None, "total": total},
        )

    async def over(self, scope: Scope, record: StepRecord) -> Halted | StepFailed | None:
        """Wait until nothing of the crew goes on, or will. The reason why it was ended early, if it was."""
        path = record.path
        crew, reason = self.of(path), None
        while reason is None and crew is not None and not crew.over:
            reason = self._reason(scope, record)
            if reason is None:
                await self._run.news(None, scope)
                crew = self.of(path) if self._is_told(record) else crew
        if scope.halt not in (None, DRAINED):
            reason = Halted(str(scope.halt))  # also where that has ended the children already
        if reason is not None or (crew is not None and crew.closed):
            await self.dismiss(scope, path)
        return reason

    async def dismiss(self, scope: Scope, path: str) -> None:
        """Cancel what is left of a crew, and wait until nothing of it goes on; not when the run is drained, for then it
        goes on elsewhere."""
        if scope.halt == DRAINED:
            raise Halted(DRAINED)
        if self.of(path) is None:
            return
        self._run.undoing |= self._run.root.halt == CANCELLED  # nothing else starts, and this may take a while
        self._run.commit()  # why it is not needed any more
        while self._run.stored(partial(self._store.cancel_children, self._run.task_id, path)):
            continue
        apart = Scope(None, scope.path, scope.position, scope, detached=True)
        while (crew := self.of(path)) is not None and not crew.over:
            await self._run.news(None, apart)
            if apart.halt:
                raise Halted(DRAINED)

    def of(self, path: str) -> Crew | None:
        """The crew of a step; None if it has none."""
        try:
            return self._run.stored(partial(self._store.crew, self._run.task_id, path))
        except NotFound:
            return None

    def child(self, task_id: str) -> Task | None:
        """The child with this id; None if it was not made."""
        try:
            return self._run.stored(partial(self._store.get, task_id))
        except NotFound:
            return None

    def children(self, path: str) -> Iterator[Task]:
        """All children of a step, in the order of its items."""
        only, cursor = TaskFilter(parent=self._run.task_id, place=path), None
        while True:
            page = self._run.stored(partial(self._store.list, only, BATCH, cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def _spawn(self, scope: Scope, path: str, crew: Crew, new: Sequence[NewTask]) -> None:
        """Make the children, until the crew is closed or the scope is halted; `over` sees to the rest. Not when the run
        is drained: then they are made elsewhere, in the same round."""
        claim = self._run.claim
        for start in range(0, len(new), BATCH):
            if scope.halt == DRAINED:
                raise Halted(DRAINED)
            if scope.halt:
                return
            batch = new[start : start + BATCH]
            call = partial(self._store.spawn, claim.task.task_id, claim.token, path, crew, batch)
            if self._run.stored(call).closed:
                return

    def _reason(self, scope: Scope, record: StepRecord) -> Halted | StepFailed | None:
        try:
            self._run.go_on(scope, record)
        except (Halted, StepFailed) as reason:
            return reason
        return None

    def _is_told(self, record: StepRecord) -> bool:
        name, payload = crew_mail(record.path), str(record.attempts)
        return any(mail.name == name and mail.payload == payload for mail in self._run.mail)


def is_being_begun(record: StepRecord) -> bool:
    """Whether a worker died, or gave the task back, while it made the children of a step."""
    return record.status is StepStatus.RUNNING and record.wait is not None


def is_to_begin(record: StepRecord) -> bool:
    """Whether a step has no round of children to wait for, or not all of them are made."""
    return record.wait is None or is_being_begun(record)
