"""The scripts of queue and feed: the bell, what is asked of the lists, and one operation each."""

from __future__ import annotations

from importlib import resources

from stepwell.queues.rq.bell import body
from stepwell.redis_client import Script


class Scripts:
    """The scripts of one namespace. Arguments of each: as `ARGV` is used in it."""

    def __init__(self, namespace: str, result_ttl: float, retries: int) -> None:
        lists = (resources.files(__package__) / "line.lua").read_text()
        prelude = f"{body(namespace, result_ttl, retries)}\n{lists}\n"

        def script(operation: str) -> Script:
            return Script(prelude + operation)

        self.lengths = script("return lengths()")
        self.busyness = script("return busyness(ARGV)")
        self.bury = script("bury(ARGV)")
        self.place = script("return place(ARGV[1], ARGV[2], tonumber(ARGV[3]))")
        self.ring_again = script("return ring_again(ARGV)")
        self.ring = script("if status_of(ARGV[1]) ~= 'queued' then bell.ring(ARGV[1], ARGV[2], ARGV[3], now()) end")
        self.remove = script("remove(ARGV[1])")
        self.pop = script("return bell.next(ARGV)()")
        self.started = script("bell.started(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], now())")
        self.stale = script("stale(ARGV[1])")
        self.ended = script("ended(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])")
