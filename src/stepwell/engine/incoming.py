"""What has come for a task from outside: its mail, and publications of the events that it waits for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from stepwell.ports import Claim
from stepwell.task import Mail, Publication, Publications
from stepwell.topics import topics_of
from stepwell.values import decode


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something that came under a name: `id` tells mail from publications, `at` is the store's time."""

    id: str
    payload: object
    at: float
    sender: str | None


@dataclass
class Arrivals:
    """What came under a topic, oldest first: so many `mailed`, and publications up to a `position`."""

    mailed: int = 0
    position: str | None = None
    all: list[Arrival] = field(default_factory=list)


class Incoming:
    """Mail and publications of one run, read when it is asked to.

    `mailbox` and `published` read what came after the last one that is known; `now` is the store's time, or a little
    before it. All that had come at `read_at` is known.
    """

    def __init__(
        self,
        claim: Claim,
        mailbox: Callable[[int], Sequence[Mail]],
        published: Callable[[str, str | None], Publications],
        now: Callable[[], float],
    ) -> None:
        self.mail: list[Mail] = []
        self.read_at = claim.now
        self._mailbox, self._published, self._now = mailbox, published, now
        self._by_name: defaultdict[str, list[Mail]] = defaultdict(list)
        self._events: set[str] = set()
        self._mailed: defaultdict[str, list[Arrival]] = defaultdict(list)
        self._topics: dict[str, Arrivals] = {}
        self._add(claim.mail)

    @property
    def last(self) -> int:
        """The id of the last message that is known."""
        return self.mail[-1].id if self.mail else 0

    def first(self, name: str) -> Arrival | None:
        """The first message with this name."""
        return _from_mail(self._by_name[name][0]) if name in self._by_name else None

    def of(self, name: str, topic: str) -> Sequence[Arrival]:
        """What came under the name of an event and has this topic, oldest first. It grows while the run goes on."""
        if name not in self._events:
            self._events.add(name)
            self._sort(self._by_name.get(name, ()))
        if topic not in self._topics:
            self._topics[topic] = Arrivals()
            self._look(topic)
        return self._topics[topic].all

    def positions(self, topics: Iterable[str]) -> dict[str, str]:
        """How far the publications of these topics have been read."""
        return {topic: position for topic in topics if (position := self._topics[topic].position) is not None}

    def read(self) -> bool:
        """Read what has come since; whether there was anything."""
        now, mail = self._now(), self._mailbox(self.last)
        self._add(mail)
        came = bool(mail)
        for topic in self._topics:
            came |= self._look(topic)
        self.read_at = now
        return came

    def _add(self, mail: Sequence[Mail]) -> None:
        for one in mail:
            self.mail.append(one)
            self._by_name[one.name].append(one)
        self._sort(one for one in mail if one.name in self._events)

    def _sort(self, mail: Iterable[Mail]) -> None:
        """Find the topics of mail under the names that are asked for."""
        for one in mail:
            arrival = _from_mail(one)
            for topic in topics_of(one.name, arrival.payload):
                self._mailed[topic].append(arrival)

    def _look(self, topic: str) -> bool:
        """Add mail, and publications that have not been read; whether there were any."""
        known, mailed = self._topics[topic], self._mailed.get(topic, [])
        arrivals = mailed[known.mailed :]
        known.mailed = len(mailed)
        while True:
            page = self._published(topic, known.position)
            known.position = page.position
            if not page.items:
                break
            arrivals += [_from_publication(publication) for publication in page.items]
        known.all += sorted(arrivals, key=lambda arrival: arrival.at)
        return bool(arrivals)


def _from_mail(mail: Mail) -> Arrival:
    return Arrival(f"mail:{mail.id}", decode(mail.payload), mail.sent_at, mail.sender)


def _from_publication(publication: Publication) -> Arrival:
    at = publication.published_at
    return Arrival(f"pub:{publication.id}", decode(publication.payload), at, publication.sender)
