"""RQ: rings for tasks as RQ jobs, so that its tools show them and its own workers can run them."""

from stepwell.queues.rq.bell import FUNCTION, bell
from stepwell.queues.rq.feed import RqFeed, RqSqlFeed
from stepwell.queues.rq.names import export_prefix, line, lines, prefix
from stepwell.queues.rq.presence import Presence
from stepwell.queues.rq.queue import RqQueue, RqSqlQueue

__all__ = [
    "FUNCTION",
    "Presence",
    "RqFeed",
    "RqQueue",
    "RqSqlFeed",
    "RqSqlQueue",
    "bell",
    "export_prefix",
    "line",
    "lines",
    "prefix",
]
