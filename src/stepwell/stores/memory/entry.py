"""A task with all that belongs to it, as the store in memory keeps it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stepwell.ports import TaskFilter
from stepwell.stores import records
from stepwell.task import Crew, Event, Mail, NewEvent, NewMail, StepRecord, Task


@dataclass(slots=True)
class CrewEntry:
    """The crew of a step, the ids of its `children`, and those that were `held`, as a heap by their index."""

    crew: Crew
    children: set[str] = field(default_factory=set)
    held: list[tuple[int, str]] = field(default_factory=list)

    def hold(self, child: Task) -> None:
        """Keep a child in mind that has to wait for its turn."""
        heapq.heappush(self.held, (child.index or 0, child.task_id))

    def next_held(self) -> str | None:
        """The id of the next one that was held; it may have been cancelled since."""
        return heapq.heappop(self.held)[1] if self.held else None


@dataclass(slots=True)
class Entry:
    """`due` is when it next needs a look: since when it is queued, when its lease ends, when it wakes. `released`
    remembers which call of which token ended the last claim, so that a repeat is known. `topics` is what it listens to
    while it waits, and `positions` how far it has read of each.
    """

    task: Task
    due: float | None = None
    token: str | None = None
    released: str | None = None
    claimed_at: float = 0.0
    steps: dict[str, StepRecord] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    files: set[str] = field(default_factory=set)
    last_event: int = 0
    mail: list[Mail] = field(default_factory=list)
    last_mail: int = 0
    crews: dict[str, CrewEntry] = field(default_factory=dict)
    topics: Sequence[str] = ()
    positions: Mapping[str, str] = field(default_factory=dict)

    def was_released_by(self, token: str) -> bool:
        """Whether this token's claim was the last to end by its own call."""
        return self.released is not None and self.released.partition(":")[2] == token

    def in_order(self) -> Sequence[StepRecord]:
        """The records in order of the definition."""
        return sorted(self.steps.values(), key=lambda record: (record.position, record.path))

    def put(self, record: StepRecord) -> bool:
        """Keep a record; answers whether it differs from the one before it, which the repeat of a commit does not."""
        kept, apart = records.split_output(record)
        if kept.failures or kept.files or kept.wait:
            form = records.step_to_json(kept)
            kept = records.step_from_json(kept.path, kept.position, kept.status, form, kept.output)
        if apart is not None:
            self.values[records.output_key(record.path)] = apart
        changed = self.steps.get(record.path) != kept
        self.steps[record.path] = kept
        return changed

    def tell(self, now: float, events: Iterable[NewEvent]) -> None:
        """Append events with numbers of their own."""
        self.events.extend(self._numbered(now, events))

    def post(self, now: float, new: NewMail) -> Mail:
        """Append a message with a number of its own, which is never given again."""
        self.last_mail += 1
        mail = Mail(self.last_mail, new.name, new.payload, now, new.sender, new.key)
        self.mail.append(mail)
        return mail

    def forget_mail(self, names: Iterable[str]) -> None:
        """Drop all messages of these names."""
        gone = set(names)
        self.mail = [mail for mail in self.mail if mail.name not in gone]

    def matches(self, only: TaskFilter) -> bool:
        """Whether a list with this filter shows it."""
        task = self.task
        return (
            task.parent == only.parent
            and (only.place is None or task.place == only.place)
            and (only.status is None or task.status is only.status)
            and (only.workflow_id is None or task.workflow_id == only.workflow_id)
            and (only.queue is None or task.queue == only.queue)
            and (only.external_id is None or task.external_id == only.external_id)
            and (only.dead is None or task.dead is only.dead)
            and only.labels.items() <= task.labels.items()
        )

    def _numbered(self, now: float, events: Iterable[NewEvent]) -> Iterator[Event]:
        for event in events:
            self.last_event += 1
            yield Event(self.last_event, self.task.task_id, now, event.kind, event.path, event.data)
