"""Load on a deployment that is being hurt: tasks whose every step leaves a mark, and what was promised for them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.cluster import TASKS, Cluster, cluster
from tests.acceptance.serving import ROOT, eventually
from tests.chaos.inside import crashes, effects
from tests.chaos.inside.effects import Effect
from tests.chaos.judge import Ended, Evidence, leftovers, violations
from tests.servers import RedisServer

SETTLED = 5.0
"""Seconds after which nothing may be left of ended tasks: a stale entry of a list goes with the next look at it."""

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
HELD_PATHS = ("before", "hold", "after")
"""The steps of `busy` that leave effects, and those of `held`."""

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


@dataclass(frozen=True)
class Due:
    """What is owed to a caller: these outputs, by a run of these steps."""

    outputs: Any
    paths: Sequence[str]


@dataclass
class Load:
    """Tasks on a deployment: `accepted` are those that were promised, by their ids; of those in `unknown` an answer
    left open whether they exist; `inline` are those that ran in the API because Redis was away. `refused` counts
    the reasons of those that were refused."""

    deployed: Cluster
    folder: Path
    due: list[Due] = field(default_factory=list)
    accepted: dict[str, Due] = field(default_factory=dict)
    unknown: dict[str, Due] = field(default_factory=dict)
    inline: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def log(self) -> Path:
        """Where the steps leave their effects."""
        return self.folder / "effects"

    def learn(self) -> None:
        """Run each task of `busy` once inline and without faults, to know what is expected."""
        for number in range(NUMBERS):
            answer = self.deployed.api.post("/workflows/busy/execute", self._body(number)).json()
            assert answer["status"] == "completed", answer
            self.due.append(Due(answer["result"]["outputs"], PATHS))
            self.accepted[answer["task_id"]] = self.due[-1]

    def submit(self, count: int = 1, **query: str) -> list[str]:
        """Submit so many tasks of `busy`, which must all be queued; their ids."""
        before = [*self.accepted]
        for number in range(count):
            self.ask(number % NUMBERS, **query)
        assert (self.inline, self.refused) == (set(), Counter())
        return [*self.accepted][len(before) :]

    def ask(self, number: int, **query: str) -> None:
        """Submit a task of `busy`, and note what the answer promises."""
        params = {"async_execute": "true", **query}
        answer = self.deployed.api.post("/workflows/busy/execute", self._body(number), params=params)
        assert answer.status_code in (200, 202, 503), answer.text
        found = answer.json()
        if answer.status_code == 503:
            self.refused[found["detail"]] += 1
            if "task_id" in found:
                self.unknown[found["task_id"]] = self.due[number]
            return
        self.accepted[found["task_id"]] = self.due[number]
        if found.get("degraded"):
            self.inline.add(found["task_id"])

    def hold(self, gate: Path) -> str:
        """Submit a task of `held`."""
        task_id = str(self.deployed.submit("held", {"log": str(self.log), "gate": str(gate)})["task_id"])
        self.accepted[task_id] = Due({"after": 2}, HELD_PATHS)
        return task_id

    def attempts(self, task_id: str, path: str) -> list[Effect]:
        """The attempts of a step so far."""
        return [effect for effect in effects.read(self.log) if (effect.task_id, effect.path) == (task_id, path)]

    def attempt(self, task_id: str, path: str, number: int) -> Effect:
        """An attempt of a step (counted from 1) once it left its effect."""
        return eventually(lambda: next(iter(self.attempts(task_id, path)[number - 1 :]), None))

    @contextmanager
    def going_on(self, clients: int = 2) -> Iterator[None]:
        """Inside, so many clients submit one task of `busy` after the other, whatever becomes of it."""
        over = threading.Event()
        with ThreadPoolExecutor(clients) as pool:
            asking = [pool.submit(self._keep_submitting, over, seed) for seed in range(clients)]
            try:
                yield
            finally:
                over.set()
            for one in asking:
                one.result()

    def until_more(self, count: int) -> None:
        """Wait until so many more tasks were accepted."""
        wanted = len(self.accepted) + count
        eventually(lambda: len(self.accepted) >= wanted)

    def judge(self, everywhere: int = 0, zombies: Collection[int] = (), also: Collection[str] = ()) -> None:
        """Wait for the end of all tasks, and hold everything against the invariants. `also`: tasks of the log that
        the test judges by itself."""
        created = {task_id: due for task_id, due in self.unknown.items() if self._exists(task_id)}
        tasks = [self._ended(task_id, due) for task_id, due in {**self.accepted, **created}.items()]
        seen = Evidence(
            tasks=tasks,
            effects=[effect for effect in effects.read(self.log) if effect.task_id not in also],
            faults=Counter(crash.task_id for crash in crashes.read(self.folder)),
            everywhere=everywhere,
            zombies=zombies,
            left=self._left([task.task_id for task in tasks]),
        )
        found = violations(seen)
        assert not found, "\n".join(found)

    def _body(self, number: int) -> Mapping[str, Any]:
        return {"variables": {"log": str(self.log), "number": number}}

    def _keep_submitting(self, over: threading.Event, seed: int) -> None:
        chance = random.Random(seed)
        while not over.wait(chance.random() * 0.1):
            self.ask(chance.randrange(NUMBERS))

    def _exists(self, task_id: str) -> bool:
        return self.deployed.api.get(f"{TASKS}/{task_id}").status_code == 200

    def _ended(self, task_id: str, due: Due) -> Ended:
        record = eventually(lambda: self._if_ended(task_id))
        events = self.deployed.api.get(f"{TASKS}/{task_id}/events?limit=1000").json()["items"]
        return Ended(record, events, due.outputs, due.paths)

    def _if_ended(self, task_id: str) -> dict[str, Any] | None:
        answer = self.deployed.api.get(f"{TASKS}/{task_id}?wait=5s")
        if answer.status_code == 503:  # the store is away
            return None
        task: dict[str, Any] = answer.json()
        assert answer.status_code == 200, f"task {task_id} is lost: {task}"
        return task if task["completed_at"] else None

    def _left(self, ids: Sequence[str]) -> list[str]:
        """What is left behind, once nothing changes there any more."""
        client = self.deployed.redis.client()
        deadline = time.monotonic() + SETTLED
        while (left := leftovers(client, ids)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


@contextmanager
def load(folder: Path, redis: RedisServer, workers: int = 1, **settings: str) -> Iterator[Load]:
    """A deployment under `folder` that knows what its tasks should answer."""
    folder.mkdir(parents=True, exist_ok=True)
    with cluster(folder / "app", redis, WORKFLOWS, workers, **{**settings_for(folder), **settings}) as deployed:
        made = Load(deployed, folder)
        made.learn()
        yield made
