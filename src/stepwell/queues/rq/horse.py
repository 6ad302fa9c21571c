"""A work-horse as a worker of RQ. Import this only after `names.export_prefix`."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis
from rq import Worker
from rq.utils import now

from stepwell.ports import HorseView


class Horse(Worker):
    """What RQ knows of one work-horse. It does no work: our own work-horse does, and RQ's keys are kept by scripts."""

    def __init__(self, horse: HorseView, host: str, lines: Sequence[str], connection: Redis) -> None:
        super().__init__(list(lines), horse.name, connection=connection, serializer="json", prepare_for_work=False)
        self.pid, self.hostname = horse.pid, host
        self.birth_date = now()

    def _set_connection(self, connection: Redis) -> Redis:
        """As it is: RQ would change the time limit of the connections that all others use too."""
        return connection

    def fields(self) -> list[str]:
        """The fields of its hash, each followed by its value."""
        self.last_heartbeat = now()
        return [str(text) for field in self.serialize().items() for text in field]
