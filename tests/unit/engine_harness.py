"""An engine on the memory store, with time that can be made to run fast and crashes that can be planned."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import stepwell.actions  # noqa: F401 - registers the built-in actions
from stepwell.actions.process import RUN
from stepwell.engine.clock import Clock, Message
from stepwell.engine.engine import Engine
from stepwell.engine.means import Means
from stepwell.engine.names import Fetch, Names
from stepwell.engine.threads import Threads
from stepwell.engine.watchdog import Watchdog
from stepwell.ids import new_task_id
from stepwell.lifecycle import CRASH_DELAY, MAX_CRASHES
from stepwell.plan import Node, undoes
from stepwell.ports import Claim, Commit, Receipt, Suspension
from stepwell.publishing import Publisher
from stepwell.registry import Action, actions
from stepwell.secrets import Masker, SecretSource
from stepwell.stores.files import FsspecFileStore
from stepwell.stores.memory import MemoryStore
from stepwell.strict_yaml import parse
from stepwell.task import Crew, Error, NewTask, Status, StepRecord, Task
from stepwell.values import decode, encode
from stepwell.workflow import Bundle

FACTOR = 1000.0
"""How much faster than the world the harness's time runs."""

PATIENCE = 20.0
"""Real seconds after which a test gives up on a run."""


class FastTime(Clock):
    """Time that runs `FACTOR` times as fast, so that pauses of seconds take milliseconds; `skip` jumps ahead."""

    def __init__(self) -> None:
        self._begin, self._skipped = time.monotonic(), 0.0

    def skip(self, seconds: float) -> None:
        self._skipped += seconds

    def elapsed(self) -> float:
        return (time.monotonic() - self._begin) * FACTOR + self._skipped

    def now(self) -> float:
        return 1_750_000_000.0 + self.elapsed()

    def receive(self, inbox: SimpleQueue[Message], until: float | None) -> Message | None:
        if until is None:
            return inbox.get(timeout=PATIENCE)
        try:
            return inbox.get(timeout=max(0.0, (until - self.elapsed()) / FACTOR))
        except Empty:
            return None


class Crash(BaseException):
    """The process dies here, as far as the engine can tell."""


class CrashingStore(MemoryStore):
    """A memory store whose process dies right after (or, with `before`, right before) the n-th write is done."""

    def __init__(self, now: Callable[[], float], lease_seconds: float) -> None:
        super().__init__(now, lease_seconds)
        self.crash_at: int | None = None
        self.before = False
        self.writes = 0

    def commit(self, task_id: str, token: str, commit: Commit) -> Receipt:
        self._count(self.before)
        receipt = super().commit(task_id, token, commit)
        self._count(not self.before)
        return receipt

    def finish(
        self, task_id: str, token: str, commit: Commit, status: Status, outputs: str | None, error: Error | None
    ) -> Task:
        self._count(self.before)
        task = super().finish(task_id, token, commit, status, outputs, error)
        self._count(not self.before)
        return task

    def suspend(self, task_id: str, token: str, commit: Commit, suspension: Suspension) -> Task:
        self._count(self.before)
        task = super().suspend(task_id, token, commit, suspension)
        self._count(not self.before)
        return task

    def spawn(self, task_id: str, token: str, path: str, crew: Crew, children: Sequence[NewTask]) -> Crew:
        self._count(self.before)
        spawned = super().spawn(task_id, token, path, crew, children)
        self._count(not self.before)
        return spawned

    def cancel_children(self, task_id: str, path: str | None = None) -> Sequence[Task]:
        self._count(self.before)
        cancelled = super().cancel_children(task_id, path)
        self._count(not self.before)
        return cancelled

    def _count(self, counts: bool) -> None:
        self.writes += counts
        if counts and self.crash_at is not None and self.writes == self.crash_at:
            self.crash_at = None
            raise Crash


@dataclass
class Harness:
    """`run` a workflow text and look at what the store says of it."""

    folder: Path
    secrets: Mapping[str, str] = field(default_factory=dict)
    interactive: bool = False
    real_time: bool = False
    suspend_after: float = 5.0

    def __post_init__(self) -> None:
        self.time = FastTime()
        self.store = CrashingStore(time.time if self.real_time else self.time.now, 10.0)
        self.files = FsspecFileStore(str(self.folder / "files"))
        self.engine = self.new_engine()

    def new_engine(self) -> Engine:
        """An engine as a freshly started process has it."""
        source = SecretSource(self.secrets, list(self.secrets))
        means = Means(
            store=self.store,
            files=self.files,
            names=lambda claim, records, now, fetch: self._names(claim, records, now, fetch, source),
            resolve=_resolve,
            publish=Publisher(self.store).publish,
            worker="test",
            threads=Threads(),
            watchdog=Watchdog(),
            clock=Clock() if self.real_time else self.time,
            lease_seconds=10.0,
            interactive=self.interactive,
            suspend_after=self.suspend_after,
        )
        return Engine(means)

    def create(self, text: str, *, retries: int = 0, timeout: float = 1e9, **variables: Any) -> Task:
        """A queued task of this workflow."""
        workflow = Bundle.model_validate(parse(text).data)
        snapshot = workflow.model_dump_json(by_alias=True, exclude_unset=True)
        new = NewTask(
            task_id=new_task_id(),
            workflow_id="test",
            definition=hashlib.sha256(snapshot.encode()).hexdigest(),
            definition_text=snapshot,
            queue="workflow_execute",
            priority=1,
            variables=encode(variables),
            timeout=timeout,
            max_retries=retries,
            undo=undoes(snapshot),
        )
        return self.store.create(new)[0]

    def run(self, text: str, *, retries: int = 0, timeout: float = 1e9, **variables: Any) -> Task:
        """Run a workflow to its end, through all pauses."""
        return self.finish(self.create(text, retries=retries, timeout=timeout, **variables).task_id)

    def finish(self, task_id: str) -> Task:
        """Run an existing task to its end, through all pauses."""
        while not (task := self.store.get(task_id)).ended:
            if task.status is Status.WAITING:
                self.time.skip(task.wake_at - self.store.now() + 1 if task.wake_at else 0)
                assert [woken.task_id for woken in self.store.wake()] == [task_id]
            assert self.once(task_id) is not None, "the task could not be claimed"
        return task

    def once(self, task_id: str) -> Task | None:
        """One run of a task, from claim to wherever it ends."""
        over: SimpleQueue[Task | None] = SimpleQueue()
        self.engine.run(task_id, over.put)
        return over.get(timeout=PATIENCE)

    def resume_after_crash(self, task_id: str) -> Task:
        """Go on in a new process after the lease of the dead one."""
        assert self.lose() == [task_id]
        return self.finish(task_id)

    def lose(self) -> list[str]:
        """End the leases of the dead process, and the pause after repeated crashes; answers the tasks it ran."""
        self.time.skip(11)
        lost = self.store.reap()
        self.time.skip(CRASH_DELAY * 2**MAX_CRASHES)
        self.store.wake()
        self.engine = self.new_engine()
        return [task.task_id for task in lost]

    def steps(self, task: Task) -> dict[str, StepRecord]:
        """The records of a task by path, in order of the definition."""
        return {record.path: record for record in self.store.steps(task.task_id).items}

    def statuses(self, task: Task) -> dict[str, str]:
        """The status of each step by path."""
        return {path: str(record.status) for path, record in self.steps(task).items()}

    def output(self, task: Task, path: str) -> Any:
        """The output of a step."""
        stored = self.steps(task)[path].output
        text = stored if isinstance(stored, str) else self.store.value(task.task_id, f"output:{path}")
        return decode(text)

    def outputs(self, task: Task) -> Any:
        """The task's outputs."""
        assert isinstance(task.outputs, str), task.error
        return decode(task.outputs)

    def logs(self, task: Task) -> list[str]:
        """The log lines of a task."""
        return [event.data["message"] for event in self.store.events(task.task_id) if event.kind == "log"]

    def resolve_slowly(self, name: str, resolve: Callable[[], Action]) -> None:
        """Have `uses: name` find its action by this call, as an import does."""
        SLOW[name] = resolve

    def _names(
        self,
        claim: Claim,
        records: Mapping[str, StepRecord],
        now: Callable[[], float],
        fetch: Fetch,
        source: SecretSource,
    ) -> Names:
        text = claim.task.variables
        text = text if isinstance(text, str) else fetch("variables")
        return Names(claim.task, records, fetch, source, Masker(), decode(text), {"HOME": "/home/ada"}, now)


EXTRA: dict[str, Action] = {}
"""Actions of the test that runs, beside the built-in ones."""


SLOW: dict[str, Callable[[], Action]] = {}
"""Actions that take time to be found."""


def _resolve(node: Node) -> Action:
    if node.kind == "run":
        return RUN
    name = str(node.step.uses)
    if name in SLOW:
        return SLOW.pop(name)()
    return EXTRA[name] if name in EXTRA else actions.get(name)


def use(name: str, function: Callable[..., Any]) -> None:
    """Have `uses: name` call this function."""
    EXTRA[name] = Action(name, function)
