"""Load on a deployment that is being hurt: tasks whose every step leaves a mark, and what was promised for them."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.cluster import TASKS, Cluster, cluster
from tests.acceptance.serving import ROOT, eventually
from tests.chaos.inside import crashes, effects
from tests.chaos.judge import Ended, Evidence, leftovers, violations
from tests.servers import RedisServer

NUMBERS = 3
"""So many different tasks there are, by their variable `number`."""

LEAVE = "call: tests.chaos.inside.effects:leave"
LOG = 'log: "${{ variables.log }}"'

BUSY = f"""
variables: {{log: {{type: string, required: true}}, number: {{type: integer, required: true}}}}
steps:
  - id: first
    {LEAVE}
    with: {{{LOG}, value: "${{{{ variables.number }}}}"}}
  - id: each
    foreach: {{in: range(4), max_parallel: 2}}
    {LEAVE}
    with: {{{LOG}, value: "${{{{ steps.first.output + item }}}}"}}
  - id: both
    parallel:
      - id: left
        {LEAVE}
        with: {{{LOG}, value: "${{{{ steps.each.output | sum }}}}"}}
      - id: right
        {LEAVE}
        with: {{{LOG}, value: "${{{{ steps.first.output * 2 }}}}"}}
  - id: last
    {LEAVE}
    with: {{{LOG}, value: "${{{{ steps.both.output.left + steps.both.output.right }}}}"}}
outputs: {{each: "${{{{ steps.each.output }}}}", total: "${{{{ steps.last.output }}}}"}}
"""
"""Steps one after the other, at once, and one for each item."""

PATHS = ("first", *(f"each[{number}]" for number in range(4)), "both/left", "both/right", "last")
"""The steps of `busy` that leave effects."""

HELD = f"""
variables: {{log: {{type: string, required: true}}, gate: {{type: string, required: true}}}}
steps:
  - id: before
    {LEAVE}
    with: {{{LOG}, value: 1}}
  - id: hold
    call: tests.chaos.inside.effects:hold
    with: {{{LOG}, gate: "${{{{ variables.gate }}}}"}}
  - id: after
    {LEAVE}
    with: {{{LOG}, value: 2}}
outputs: {{after: "${{{{ steps.after.output }}}}"}}
"""
"""Its second step runs until the file `gate` is there."""

POISON = f"""
variables: {{log: {{type: string, required: true}}}}
steps: [{{id: poison, call: "tests.chaos.inside.effects:poison", with: {{{LOG}}}}}]
"""

WORKFLOWS = {"busy": BUSY, "held": HELD, "poison": POISON}


def settings_for(folder: Path) -> dict[str, str]:
    """The environment in which processes find the functions of the workflows and their crash points."""
    places = [ROOT / "tests" / "chaos" / "inside", ROOT / "src", ROOT]
    return {"PYTHONPATH": ":".join(map(str, places)), "STEPWELL_CHAOS": str(folder)}


def ran(log: Path, path: str) -> bool:
    """Whether a step left an effect already."""
    return any(effect.path == path for effect in effects.read(log))


@dataclass
class Load:
    """Tasks of `busy` on a deployment: `accepted` maps their ids to their numbers. Answers that leave it open
    whether a task exists (503) are counted in `refused`."""

    deployed: Cluster
    folder: Path
    expected: Mapping[int, Any] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)
    inline: set[str] = field(default_factory=set)
    unknown: dict[str, int] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        """Where the steps leave their effects."""
        return self.folder / "effects"

    def learn(self) -> None:
        """Run each task once inline and without faults, to know what is expected."""
        for number in range(NUMBERS):
            answer = self.deployed.api.post("/workflows/busy/execute", self._body(number)).json()
            assert answer["status"] == "completed", answer
            self.accepted[answer["task_id"]] = number
            self.expected = {**self.expected, number: answer["result"]["outputs"]}

    def submit(self, count: int = 1, **query: str) -> list[str]:
        """Submit so many tasks, which must all be queued."""
        ids = [self._submit(number % NUMBERS, query) for number in range(count)]
        assert not self.inline
        assert not self.refused
        return [task_id for task_id in ids if task_id]

    @contextmanager
    def going_on(self, clients: int = 2) -> Iterator[None]:
        """Inside, so many clients submit one task after the other, whatever becomes of it."""
        over = threading.Event()
        threads = [threading.Thread(target=self._keep_submitting, args=(over, seed)) for seed in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def until_more(self, count: int) -> None:
        """Wait until so many more tasks were accepted."""
        wanted = len(self.accepted) + count
        eventually(lambda: len(self.accepted) >= wanted)

    def judge(self, everywhere: int = 0, zombies: Collection[int] = (), also: Collection[str] = ()) -> None:
        """Wait for the end of all tasks, and hold everything against the invariants. `also`: tasks of the log that
        the test judges by itself."""
        tasks = [self._ended(task_id, number) for task_id, number in self.accepted.items()]
        tasks += [self._ended(task_id, number) for task_id, number in self.unknown.items() if self._exists(task_id)]
        seen = Evidence(
            tasks=tasks,
            effects=[effect for effect in effects.read(self.log) if effect.task_id not in also],
            paths=PATHS,
            faults=Counter(crash.task_id for crash in crashes.read(self.folder)),
            everywhere=everywhere,
            zombies=zombies,
            left=self._left([task.task_id for task in tasks]),
        )
        found = violations(seen)
        assert not found, "\n".join(found)

    def _body(self, number: int) -> Mapping[str, Any]:
        return {"variables": {"log": str(self.log), "number": number}}

    def _submit(self, number: int, query: Mapping[str, str]) -> str | None:
        answer = self.deployed.api.post(
            "/workflows/busy/execute", self._body(number), params={"async_execute": "true", **query}
        )
        if answer.status_code in (200, 202):
            task_id = str(answer.json()["task_id"])
            self.accepted[task_id] = number
            if answer.json().get("degraded"):
                self.inline.add(task_id)
            return task_id
        self.refused[answer.status_code] += 1
        assert answer.status_code == 503, answer.text
        if task_id := answer.json().get("task_id"):
            self.unknown[task_id] = number
        return None

    def _keep_submitting(self, over: threading.Event, seed: int) -> None:
        chance = random.Random(seed)
        while not over.wait(chance.random() * 0.02):
            self._submit(chance.randrange(NUMBERS), {})

    def _exists(self, task_id: str) -> bool:
        return self.deployed.api.get(f"{TASKS}/{task_id}").status_code == 200

    def _ended(self, task_id: str, number: int) -> Ended:
        record = eventually(lambda: self._if_ended(task_id))
        events = self.deployed.api.get(f"{TASKS}/{task_id}/events?limit=1000").json()["items"]
        return Ended(record, events, self.expected[number])

    def _if_ended(self, task_id: str) -> dict[str, Any] | None:
        answer = self.deployed.api.get(f"{TASKS}/{task_id}?wait=5s")
        if answer.status_code == 503:  # the store is away
            return None
        task: dict[str, Any] = answer.json()
        assert answer.status_code == 200, f"task {task_id} is lost: {task}"
        return task if task["completed_at"] else None

    def _left(self, ids: Sequence[str]) -> list[str]:
        """What is left behind, once nothing changes there any more; looked at again, since a list with a stale entry is
        tidied by whoever takes the next task."""
        client = self.deployed.redis.client()
        looks = iter(range(50))
        eventually(lambda: not leftovers(client, ids) or next(looks, None) is None)
        return leftovers(client, ids)


@contextmanager
def load(folder: Path, redis: RedisServer, workers: int = 1, **settings: str) -> Iterator[Load]:
    """A deployment under `folder` that knows what its tasks should answer."""
    folder.mkdir(parents=True, exist_ok=True)
    with cluster(folder / "app", redis, WORKFLOWS, workers, **{**settings_for(folder), **settings}) as deployed:
        made = Load(deployed, folder)
        made.learn()
        yield made

