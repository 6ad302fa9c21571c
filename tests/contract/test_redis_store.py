"""What only the Redis store has: scripts, keys, their weight and number, the bell, and taking."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.building import ERROR, NOTHING, all_pages, at_once, child, crew_of, kinds, new, running, step
from tests.servers import RedisServer

from stepwell import lifecycle
from stepwell.errors import ClaimLost, Unavailable
from stepwell.ids import new_task_id
from stepwell.ports import Claim, Commit, Suspension, TaskFilter
from stepwell.queues.rq.bell import bell
from stepwell.redis_client import Argument, RedisClient, Script
from stepwell.stores.redis import SILENT, RedisStore
from stepwell.stores.redis.forms import FIELDS
from stepwell.task import Attempt, Error, NewEvent, NewMail, NewTask, Status, StepRecord, StepStatus
from stepwell.values import APART_SIZE, encode

if TYPE_CHECKING:
    from tests.contract.conftest import Clock

Make = Callable[..., RedisStore]
Raw = Any
"""A client that answers texts, of which the types of its library know nothing."""

TELLTALE = """
local bell = (function()
  local bell = {}
  for _, name in ipairs({'ring', 'started', 'ended', 'removed', 'forgotten'}) do
    bell[name] = function(...)
      local words = {name}
      for at, word in ipairs({...}) do words[at + 1] = tostring(word) end
      redis.call('RPUSH', 'told', table.concat(words, ' '))
      if name == 'ring' then redis.call('RPUSH', 'line:' .. select(2, ...), (...)) end
    end
  end
  function bell.next(queues)
    return function()
      for _, queue in ipairs(queues) do
        local id = redis.call('LPOP', 'line:' .. queue)
        if id then return id end
      end
    end
  end
  return bell
end)()
"""
"""A bell that writes down what it is told, and rings by a list for each queue."""

AT = "1700000000"
QUEUE = "workflow_execute"
WORKER = "host.example.12345.abcd"


class LosingReplies(RedisClient):
    """A client that can lose replies after the work was done."""

    loses = False

    def run(self, script: Script, args: Sequence[Argument], keys: Sequence[str] = ()) -> Any:
        reply = super().run(script, args, keys)
        if self.loses:
            raise Unavailable("no reply")
        return reply


class Interrupted(RedisClient):
    """A client after whose next reply something else happens."""

    then: Callable[[], object] | None = None

    def run(self, script: Script, args: Sequence[Argument], keys: Sequence[str] = ()) -> Any:
        reply = super().run(script, args, keys)
        then, self.then = self.then, None
        if then is not None:
            then()
        return reply


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[Raw]:
    with redis_server.client(decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def make(redis_server: RedisServer, raw: Raw, clock: Clock) -> Iterator[Make]:
    opened: list[RedisStore] = []

    def make(bell: str = SILENT, namespace: str = "stepwell", clock: Callable[[], float] | None = clock) -> RedisStore:
        opened.append(RedisStore(RedisClient(redis_server.url), namespace, bell=bell, clock=clock))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(make: Make) -> RedisStore:
    return make()


@pytest.fixture
def ringing(make: Make) -> RedisStore:
    return make(TELLTALE)


class TestServer:
    def test_scripts_that_the_server_forgot_are_sent_again(self, store: RedisStore, raw: Raw) -> None:
        running(store)
        raw.script_flush()
        store.commit("t1", "A", Commit(steps=[step()]))
        raw.script_flush()
        assert store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None).status is Status.COMPLETED

    def test_what_was_acknowledged_survives_a_killed_server(self, tmp_path: Path) -> None:
        with (
            RedisServer(tmp_path, appendfsync="always") as server,
            closing(RedisStore(RedisClient(server.url))) as store,
        ):
            running(store)
            store.commit("t1", "A", Commit(steps=[step()]))
            store.create(new("t2", labels={"a": "1"}))
            server.kill()
            server.start()
            assert [task.task_id for task in store.list(TaskFilter(labels={"a": "1"})).items] == ["t2"]
            assert kinds(store) == ["task.created", "task.queued", "task.started", "step.completed"]
            task = store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
            assert (task.status, list(store.steps("t1").items)) == (Status.COMPLETED, [step()])

    def test_namespaces_share_a_server(self, make: Make, raw: Raw) -> None:
        one, other = make(namespace="one"), make(namespace="other")
        one.create(new(queue="a"))
        other.create(new(queue="b"))
        assert (one.get("t1").queue, other.get("t1").queue) == ("a", "b")
        assert {key.partition(":")[0] for key in raw.keys("*")} == {"one", "other"}

    def test_two_stores_never_hold_the_same_task(self, make: Make) -> None:
        stores = [make(TELLTALE, clock=None) for _ in range(4)]
        for number in range(100):
            stores[0].create(new(f"t{number:03}"))

        def drain(number: int) -> Sequence[str]:
            tokens = (f"{number}-{count}" for count in range(1000))
            return [claim.task.task_id for token in tokens if (claim := stores[number].take(token, "w", ["line"]))]

        taken = [one for found in at_once(partial(drain, number) for number in range(4)) for one in _list(found)]
        assert sorted(taken) == [f"t{number:03}" for number in range(100)]

    def test_names_of_any_script_and_sign(self, store: RedisStore) -> None:
        name = 'né/\x7f"\\:\n汉字\U0001f600'
        store.create(new(queue=name, workflow_id=name, external_id=name, labels={name: name}, idempotency_key=name))
        claim = store.claim("t1", name, name)
        assert claim is not None
        assert (claim.task.worker, claim.task.queue) == (name, name)
        store.commit("t1", name, Commit(steps=[step(name, position=name)], progress={name: name}))
        for only in (TaskFilter(labels={name: name}), TaskFilter(external_id=name), TaskFilter(workflow_id=name)):
            assert store.list(replace(only, queue=name, status=Status.RUNNING)).items == [store.get("t1")]
        [task] = store.lose(name)
        assert task == store.get("t1")
        assert store.counts()[name]["queued"] == 1

    def test_half_a_surrogate_pair_in_a_message_is_told_as_a_question_mark(self, store: RedisStore) -> None:
        running(store)
        error = Error("bad", "half \ud800" + "é" * 2000)
        assert store.finish("t1", "A", NOTHING, Status.FAILED, None, error).error == error
        assert store.events("t1")[-1].data["message"] == "half ?" + "é" * 994


class TestKeys:
    def test_nothing_is_left_of_what_is_purged(self, store: RedisStore, raw: Raw, clock: Clock) -> None:
        store.ping()
        before = set(raw.keys("*"))
        large = encode("x" * APART_SIZE)
        for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            asked = new(status, labels={"a": "1"}, external_id="e", idempotency_key=status, files=("f",), delay=1)
            store.create(replace(asked, variables=large))
            clock.advance(1)
            store.wake()
            store.claim(status, "A", "host:1")
            steps = [step(f"s{number}", output=large) for number in range(2)]
            store.commit(status, "A", Commit(steps=steps))
            store.commit(status, "A", Commit(steps=[step(f"each[{number}]") for number in range(200)]))
            store.finish(status, "A", NOTHING, status, large, ERROR)
        assert len(raw.keys("*")) > len(before)
        clock.advance(1)
        assert store.purge(0).tasks == 3
        assert {key for key in raw.keys("*") if not key.startswith("stepwell:pace:")} == before

    def test_nothing_is_left_of_a_family_and_of_publications(self, store: RedisStore, raw: Raw, clock: Clock) -> None:
        store.ping()
        before = set(raw.keys("*"))
        running(store, labels={"a": "1"})
        store.spawn("t1", "A", "each", crew_of(3, at_once=2), [child(index, files=("f",)) for index in range(3)])
        store.claim("each-0000", "A", "host:1")
        deep = child(place="deep", ancestors=("t1", "each-0000"))
        store.spawn("each-0000", "A", "deep", crew_of(1), [deep])
        store.claim(deep.task_id, "A", "host:1")
        position = store.published("paid").position
        topics = ["paid", "paid\0n\x001"]
        listening = Suspension(topics=topics, positions=dict.fromkeys(topics, position))
        store.suspend(deep.task_id, "A", NOTHING, listening)
        for number in range(3):
            publication, _ = store.publish("paid", "{}", ["paid", f"paid\0m\0{number}"], key=str(number))
        store.undelivered("waits", "c")
        store.delivered("waits", publication, 1)
        store.send("t1", NewMail("approve", "1", key="key"))
        store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        clock.advance(1)
        assert [store.purge(0, limit=2).tasks for _ in range(4)] == [2, 2, 1, 0]
        left = {key for key in raw.keys("*") if not key.startswith("stepwell:pace:")}
        assert left == {*before, "stepwell:publications"}
        assert store.publications() == {"paid": {"published": 3, "received": 1, "listening": 0}}

    def test_what_counts_endings_goes_by_itself(self, store: RedisStore, raw: Raw) -> None:
        running(store)
        store.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        store.spend("account", 1, 10, 3600)
        assert all(0 < raw.ttl(key) <= 3600 for key in [*raw.keys("stepwell:pace:*"), *raw.keys("stepwell:spent:*")])
        assert store.pace() == {}

    @pytest.mark.parametrize(("ring", "most"), [(SILENT, 24), (bell("stepwell", 3600), 40)])
    def test_a_one_step_task_takes_three_round_trips_and_few_commands(
        self, make: Make, raw: Raw, ring: str, most: int
    ) -> None:
        store = make(ring, clock=None)
        raw.hset(f"rq:worker:{WORKER}", "state", "idle")
        _work_off(store)  # its scripts and its definition are known now
        task_id = store.create(_new())[0].task_id
        raw.config_resetstat()
        _run(store, store.claim(task_id, "A", WORKER) if ring == SILENT else store.take("A", WORKER, [QUEUE]))
        calls = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in raw.info("commandstats").items()}
        del calls["config|resetstat"]
        assert calls["evalsha"] == 3
        assert sum(calls.values()) <= most, calls

    def test_small_tasks_are_light(self, make: Make, raw: Raw) -> None:
        store, count = make(clock=None), 300
        tasks = [store.create(_new())[0].task_id for _ in range(count)]
        queued = _weight(raw) / count
        for task_id in tasks:
            _run(store, store.claim(task_id, "0" * 32, WORKER))
        finished = _weight(raw) / count
        assert queued < 1050
        assert finished < 1750

    @pytest.mark.parametrize("topics", [[], ['order.paid\0order\0"019a2b3c-4d5e-7f60-8a9b-0c1d2e3f4a5b"']])
    def test_a_task_that_waits_for_an_hour_is_light(self, make: Make, raw: Raw, topics: list[str]) -> None:
        store, count = make(bell("stepwell", 3600), clock=None), 2000
        raw.hset(f"rq:worker:{WORKER}", "state", "idle")
        _wait_for_an_hour(store, topics)
        before = raw.info("memory")["used_memory"]
        for number in range(count):
            _wait_for_an_hour(store, [f"{topic}{number}" for topic in topics])
        assert (raw.info("memory")["used_memory"] - before) / count <= 2500


class TestBell:
    def told(self, raw: Raw) -> list[str]:
        told: list[str] = raw.lrange("told", 0, -1)
        raw.delete("told")
        return told

    def test_the_life_of_a_task(self, ringing: RedisStore, raw: Raw, clock: Clock) -> None:
        ringing.create(new())
        assert self.told(raw) == [f"ring t1 line 1 {AT}"]
        assert ringing.take("A", "w", ["line"]) is not None
        assert self.told(raw) == [f"started t1 line 1 A w {AT}"]
        ringing.commit("t1", "A", Commit(steps=[step()]))
        ringing.renew({"t1": "A"})
        assert self.told(raw) == []
        ringing.back_off("t1", "A", NOTHING, 0, ERROR)
        assert self.told(raw) == [f"ended t1 line 1 A w {AT} waiting no disk"]
        ringing.wake()
        assert self.told(raw) == [f"ring t1 line 1 {AT}"]
        ringing.claim("t1", "B", "w")
        ringing.finish("t1", "B", NOTHING, Status.COMPLETED, None, None)
        assert self.told(raw) == [f"ended t1 line 1 B w {AT} completed "]
        ringing.retry("t1", [], 2)
        ringing.cancel("t1")
        assert self.told(raw) == [f"ring t1 line 1 {AT}", f"removed t1 line 1 {AT}"]
        ringing.cancel("t1")
        clock.advance(1)
        ringing.purge(0)
        assert self.told(raw) == ["forgotten t1 line 1"]

    def test_what_is_handed_back_rings_again(self, ringing: RedisStore, raw: Raw, clock: Clock) -> None:
        ringing.create(new(priority=3))
        ways: dict[str, Callable[[], object]] = {
            "A": lambda: ringing.release("t1", "A", NOTHING),
            "B": lambda: ringing.lose("w", crashed=False),
            "C": lambda: ringing.lose("w"),
        }
        for token, give_back in ways.items():
            assert ringing.take(token, "w", ["line"]) is not None
            self.told(raw)
            give_back()
            assert self.told(raw) == [f"ended t1 line 3 {token} w {AT} queued ", f"ring t1 line 3 {AT}"]
        ringing.take("D", "w", ["line"])
        clock.advance(10)
        self.told(raw)
        ringing.reap()
        assert self.told(raw) == ["ended t1 line 3 D w 1700000010 waiting "]

    def test_a_task_that_waits_for_its_time_rings_when_it_wakes(
        self, ringing: RedisStore, raw: Raw, clock: Clock
    ) -> None:
        ringing.create(new(delay=5))
        assert self.told(raw) == []
        clock.advance(5)
        ringing.wake()
        assert self.told(raw) == ["ring t1 line 1 1700000005"]

    def test_a_cancel_that_undoes_rings(self, ringing: RedisStore, raw: Raw) -> None:
        ringing.create(new(undo=True))
        ringing.take("A", "w", ["line"])
        ringing.back_off("t1", "A", NOTHING, 60, ERROR)
        self.told(raw)
        ringing.cancel("t1")
        ringing.cancel("t1")
        assert self.told(raw) == [f"ring t1 line 1 {AT}"]

    def test_one_created_without_a_bell_rings_only_later(self, ringing: RedisStore, raw: Raw) -> None:
        running(ringing, bell=False)
        assert self.told(raw) == []
        ringing.release("t1", "A", NOTHING)
        assert self.told(raw)[-1] == f"ring t1 line 1 {AT}"

    def test_what_is_refused_rings_nothing(self, ringing: RedisStore, raw: Raw) -> None:
        running(ringing)
        self.told(raw)
        with pytest.raises(ClaimLost):
            ringing.finish("t1", "B", NOTHING, Status.COMPLETED, None, None)
        ringing.create(new())
        assert self.told(raw) == []

    def test_who_waits_rings_for_mail_and_for_what_is_published(self, ringing: RedisStore, raw: Raw) -> None:
        running(ringing)
        ringing.suspend("t1", "A", NOTHING, Suspension(topics=["paid"]))
        self.told(raw)
        assert ringing.send("t1", NewMail("approve", "1"))[1]
        assert not ringing.send("t1", NewMail("approve", "1", once=True))[1]
        assert self.told(raw) == [f"ring t1 line 1 {AT}"]
        ringing.claim("t1", "B", "w")
        ringing.suspend("t1", "B", NOTHING, Suspension(mail=1, topics=["paid"]))
        self.told(raw)
        publication, _ = ringing.publish("paid", "{}", ["paid"])
        for _ in range(2):
            ringing.rouse(publication)
        assert self.told(raw) == [f"ring t1 line 1 {AT}"]

    def test_what_has_come_already_rings_at_once(self, ringing: RedisStore, raw: Raw) -> None:
        running(ringing)
        ringing.send("t1", NewMail("approve", "1"))
        self.told(raw)
        for _ in range(2):
            ringing.suspend("t1", "A", NOTHING, Suspension())
        assert self.told(raw) == [f"ended t1 line 1 A host:1 {AT} queued ", f"ring t1 line 1 {AT}"]

    def test_the_end_of_a_child_rings_for_the_next_one_and_for_its_parent(self, ringing: RedisStore, raw: Raw) -> None:
        running(ringing)
        self.told(raw)
        ringing.spawn("t1", "A", "each", crew_of(2, at_once=1), [child(index, queue="q") for index in range(2)])
        assert self.told(raw) == [f"ring each-0000 q 1 {AT}"]
        ringing.suspend("t1", "A", NOTHING, Suspension())
        ringing.claim("each-0000", "C", "w")
        self.told(raw)
        ringing.finish("each-0000", "C", NOTHING, Status.COMPLETED, None, None)
        assert self.told(raw) == [f"ended each-0000 q 1 C w {AT} completed ", f"ring each-0001 q 1 {AT}"]
        ringing.cancel("each-0001")
        assert self.told(raw) == [f"removed each-0001 q 1 {AT}", f"ring t1 line 1 {AT}"]

    def test_children_that_go_with_their_root_ring_no_more(self, ringing: RedisStore, raw: Raw, clock: Clock) -> None:
        running(ringing)
        ringing.spawn("t1", "A", "each", crew_of(2), [child(index) for index in range(2)])
        ringing.claim("each-0000", "C", "w")
        ringing.finish("t1", "A", NOTHING, Status.COMPLETED, None, None)
        self.told(raw)
        clock.advance(1)
        ringing.purge(0)
        at = "1700000001"
        assert self.told(raw) == [
            f"ended each-0000 line 1 C w {at} cancelled ",
            "forgotten each-0000 line 1",
            f"removed each-0001 line 1 {at}",
            "forgotten each-0001 line 1",
            "forgotten t1 line 1",
        ]


class TestCrews:
    def test_a_parent_that_is_lost_with_its_child_keeps_its_mail(self, store: RedisStore, clock: Clock) -> None:
        running(store, "z1")
        only = child(ancestors=("z1",))
        store.spawn("z1", "A", "each", crew_of(1), [only])
        for crashes in range(lifecycle.MAX_CRASHES - 1):
            store.claim(only.task_id, f"C{crashes}", "host:2")
            store.lose("host:2")
            clock.advance(60)
            store.wake()
        store.claim(only.task_id, "C", "host:1")
        lost = store.lose("host:1")
        assert [(task.task_id, task.status) for task in lost] == [("each-0000", "failed"), ("z1", "queued")]
        claim = store.claim("z1", "B", "host:1")
        assert claim is not None
        assert [mail.name for mail in claim.mail] == [lifecycle.crew_mail("each")]

    def test_in_a_list_of_running_tasks_children_are_left_out(self, store: RedisStore) -> None:
        running(store)
        store.spawn("t1", "A", "each", crew_of(2), [child(index) for index in range(2)])
        store.claim("each-0000", "C", "w")
        assert store.list(TaskFilter(status=Status.RUNNING)).items == [store.get("t1")]
        assert store.counts()["line"]["running"] == 2

    def test_who_looks_for_what_is_rare_sees_all_children(self, store: RedisStore) -> None:
        running(store)
        children = [child(index, queue="rare" if index == 2100 else "line") for index in range(2200)]
        for at in range(0, len(children), 1000):
            store.spawn("t1", "A", "each", crew_of(2200, at_once=1), children[at : at + 1000])
        for only in (TaskFilter(queue="rare"), TaskFilter(queue="rare", status=Status.PENDING)):
            [task] = store.list(replace(only, parent="t1")).items
            assert task.index == 2100
        assert list(store.list(TaskFilter(parent="t1", status=Status.FAILED)).items) == []

    def test_a_place_is_not_taken_for_the_beginning_of_another(self, store: RedisStore) -> None:
        running(store)
        for place in ("a", "a/b", "a[1]", "aa"):
            store.spawn("t1", "A", place, crew_of(1), [child(place=place)])
        for place in ("a", "a/b", "a[1]", "aa"):
            assert [task.place for task in store.list(TaskFilter(parent="t1", place=place)).items] == [place]


def test_fields_of_a_newer_version_are_kept(store: RedisStore, raw: Raw) -> None:
    store.create(new())
    words = json.loads(raw.lindex("stepwell:task:t1", 1))
    newer = [*words, *[0] * (len(FIELDS) - len(words)), 0, "text", 1.5, ["a", 1]]
    raw.lset("stepwell:task:t1", 1, json.dumps(newer))
    assert store.claim("t1", "A", "host:1")
    store.commit("t1", "A", Commit(steps=[step()]))
    assert store.suspend("t1", "A", NOTHING, Suspension()).status is Status.WAITING
    store.send("t1", NewMail("order", "1"))
    assert store.get("t1").status is Status.QUEUED
    state = str(raw.lindex("stepwell:task:t1", 1)).partition("\n")[0]
    assert json.loads(state)[len(FIELDS) :] == [0, "text", 1.5, ["a", 1]]


class TestListening:
    def test_what_others_listen_to_wakes_nobody(self, store: RedisStore) -> None:
        for number in (1, 2):
            running(store, f"t{number}")
        position = store.published("paid").position
        published = [store.publish("paid", "{}", ["paid", f"paid\0order\0{number}"])[0] for number in range(2, 100)]
        for number, status in ((1, Status.WAITING), (2, Status.QUEUED)):
            topic = f"paid\0order\0{number}"
            narrow = Suspension(topics=[topic], positions={topic: position})
            assert store.suspend(f"t{number}", "A", NOTHING, narrow).status is status
        assert [store.rouse(publication) for publication in published] == [[]] * len(published)

    def test_topics_of_any_text(self, store: RedisStore) -> None:
        running(store)
        topic = 'né\0\ud800 汉\0"\x01"'
        store.suspend("t1", "A", NOTHING, Suspension(topics=[topic]))
        publication, _ = store.publish("né", "{}", ["né", topic])
        assert [task.task_id for task in store.rouse(publication)] == ["t1"]
        assert store.publications() == {"né": {"published": 1, "received": 0, "listening": 0}}

    def test_publications_are_numbered_upwards_when_the_clock_jumps_back(self, store: RedisStore, clock: Clock) -> None:
        first, _ = store.publish("paid", "1", ["paid"])
        clock.advance(-3600)
        second, _ = store.publish("paid", "2", ["paid"])
        assert list(store.published("paid", after=first.id).items) == [second]
        assert second.published_at == clock()


class TestTake:
    def test_it_claims_what_the_bell_names(self, ringing: RedisStore) -> None:
        ringing.create(new("t1"))
        ringing.create(new("t2", queue="fast"))
        first, second = ringing.take("A", "w", ["fast", "line"]), ringing.take("B", "w", ["fast", "line"])
        assert first is not None
        assert (first.task, first.token, first.definition_text) == (ringing.get("t2"), "A", "steps: []")
        assert second is not None
        assert (second.task.task_id, second.task.worker) == ("t1", "w")
        assert ringing.take("C", "w", ["fast", "line"]) is None

    def test_after_a_lost_reply_a_repeat_answers_the_same(self, redis_server: RedisServer, ringing: RedisStore) -> None:
        ringing.create(new("t1"))
        ringing.create(new("t2"))
        client = LosingReplies(redis_server.url)
        with closing(RedisStore(client, bell=TELLTALE)) as store:
            store.take("A", "w", ["no queue"])
            client.loses = True
            for token in ("B", "C"):
                with pytest.raises(Unavailable):
                    store.take(token, "w", ["line"])
            client.loses = False
            second, first = store.take("C", "w", ["line"]), store.take("B", "w", ["line"])
            assert (first and first.task, second and second.task) == (store.get("t1"), store.get("t2"))
            assert store.take("D", "w", ["line"]) is None

    def test_a_repeat_answers_the_same_when_the_definition_could_not_be_read(
        self, ringing: RedisStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ringing.create(new("t1"))
        ringing.create(new("t2"))

        def unread(_definition: str) -> str:
            raise Unavailable("the connection broke right after the claim")

        with monkeypatch.context() as patched:
            patched.setattr(ringing, "definition", unread)
            with pytest.raises(Unavailable):
                ringing.take("A", "w", ["line"])
        claim = ringing.take("A", "w", ["line"])
        assert claim is not None
        assert claim.task.task_id == "t1"
        assert ringing.get("t2").status is Status.QUEUED

    def test_what_is_stale_is_skipped(self, ringing: RedisStore, raw: Raw) -> None:
        for task_id in ("t1", "t2", "t3"):
            ringing.create(new(task_id))
        ringing.cancel("t1")
        ringing.claim("t2", "A", "w")
        raw.lpush("line:line", "gone", "t1", "t1")
        claim = ringing.take("B", "w", ["line"])
        assert claim is not None
        assert claim.task.task_id == "t3"

    def test_paused_queues_are_left_alone(self, ringing: RedisStore, raw: Raw) -> None:
        ringing.create(new("t1"))
        ringing.pause("line")
        assert ringing.take("A", "w", ["line", "other"]) is None
        assert ringing.claim("t1", "A", "w") is None
        assert raw.lrange("line:line", 0, -1) == ["t1"]
        ringing.resume("line")
        assert ringing.take("B", "w", ["line", "other"]) is not None

    def test_a_task_of_a_newer_format_is_left_to_others(self, ringing: RedisStore, raw: Raw) -> None:
        ringing.create(new("t1"))
        ringing.create(new("t2"))
        state = raw.lindex("stepwell:task:t1", 1)
        assert state.startswith('["queued","line",1,1,')
        raw.lset("stepwell:task:t1", 1, state.replace('"line",1,1,', '"line",1,2,', 1))
        claim = ringing.take("A", "w", ["line"])
        assert claim is not None
        assert claim.task.task_id == "t2"
        assert ringing.claim("t1", "B", "w") is None

    def test_a_silent_bell_names_nothing(self, store: RedisStore) -> None:
        store.create(new())
        assert store.take("A", "w", ["line"]) is None


class TestRemovedRecords:
    """A key of a task that somebody removed, or that Redis evicted, is in nobody else's way."""

    def test_others_are_woken_taken_listed_and_purged(self, store: RedisStore, clock: Clock, raw: Raw) -> None:
        for task_id in ("asleep1", "asleep2"):
            store.create(new(task_id, delay=1.0))
        for task_id in ("run1", "run2"):
            running(store, task_id)
        for task_id in ("end1", "end2"):
            running(store, task_id)
            store.finish(task_id, "A", NOTHING, Status.COMPLETED, None, None)
        raw.delete("stepwell:task:asleep1", "stepwell:task:run1", "stepwell:task:end1")
        clock.advance(60)
        assert [task.task_id for task in store.wake()] == ["asleep2"]
        assert [task.task_id for task in store.reap()] == ["run2"]
        assert store.lose("nobody") == []
        listed = {task.task_id for task in store.list(TaskFilter()).items}
        assert listed == {"asleep2", "run2", "end2"}
        assert store.purge(1.0).tasks == 1

    def test_its_idempotency_key_is_free_again(self, store: RedisStore, raw: Raw) -> None:
        store.create(new("t1", idempotency_key="key"))
        raw.delete("stepwell:task:t1")
        assert store.create(new("t2", idempotency_key="key", fingerprint="another"))[1]
        assert store.create(new("t3", idempotency_key="key", fingerprint="another"))[0].task_id == "t2"


class TestSteps:
    """Where the records of a task stand depends on how many and how long they are; nobody sees it."""

    @pytest.mark.parametrize("count", [1, 4, 5, 100, 101, 250])
    @pytest.mark.parametrize("size", [1, 3000])
    def test_pages_of_any_number_of_records(self, store: RedisStore, count: int, size: int) -> None:
        running(store)
        steps = [step(f"s{number}", position=f"{number:04}", output=encode("x" * size)) for number in range(count)]
        for at in range(0, count, 3):
            store.commit("t1", "A", Commit(steps=steps[at : at + 3]))
        repeated = store.commit("t1", "A", Commit(steps=steps, events=[NewEvent("log")]))
        assert repeated.cancelled is False
        assert "log" not in kinds(store)
        pages = all_pages(lambda cursor: store.steps("t1", limit=7, cursor=cursor))
        found = [record for page in pages for record in page]
        assert found == steps == list(store.steps("t1").items)
        claim = store.claim("t1", "A", "host:1")
        assert claim is not None
        assert claim.steps == steps

    @pytest.mark.parametrize("count", [2, 150])
    def test_a_record_that_moves_is_listed_once(self, store: RedisStore, count: int) -> None:
        running(store)
        steps = [step(f"s{number:03}", position=f"{number:04}") for number in range(count)]
        store.commit("t1", "A", Commit(steps=steps))
        moved = replace(steps[0], position="9999")
        store.commit("t1", "A", Commit(steps=[moved]))
        assert list(store.steps("t1", limit=1000).items) == [*steps[1:], moved]

    def test_a_retry_resets_records_wherever_they_stand(self, store: RedisStore) -> None:
        running(store)
        failed = [step(f"s{number}", StepStatus.FAILED, error=ERROR) for number in range(8)]
        store.finish("t1", "A", Commit(steps=failed), Status.FAILED, None, ERROR)
        store.retry("t1", [f"s{number}" for number in range(0, 8, 2)], 1)
        statuses = [record.status for record in store.steps("t1").items]
        assert statuses == [StepStatus.PENDING, StepStatus.FAILED] * 4

    def test_a_retry_sees_what_was_written_while_it_read(self, redis_server: RedisServer, store: RedisStore) -> None:
        running(store)
        store.commit("t1", "A", Commit(steps=[step("a", StepStatus.RUNNING)]))
        last = Commit(steps=[step("a", StepStatus.FAILED, attempts=2)])
        client = Interrupted(redis_server.url)
        client.then = partial(store.finish, "t1", "A", last, Status.FAILED, None, ERROR)
        with closing(RedisStore(client)) as another:
            another.retry("t1", ["a"], 1)
        [record] = store.steps("t1").items
        assert (record.status, record.attempts) == (StepStatus.PENDING, 2)


class TestLists:
    def test_a_rare_one_among_thousands(self, store: RedisStore) -> None:
        tasks = [new(f"t{number:05}", labels={"all": "x"}, queue=f"q{number % 2}") for number in range(5000)]
        tasks[17] = replace(tasks[17], queue="q2")
        tasks[18] = replace(tasks[18], workflow_id="other", queue="q1")
        store.create_many(tasks)
        for only, wanted in [
            (TaskFilter(queue="q2", labels={"all": "x"}), ["t00017"]),
            (TaskFilter(queue="q1", workflow_id="other"), ["t00018"]),
            (TaskFilter(queue="q2", workflow_id="other"), []),
            (TaskFilter(dead=True), []),
        ]:
            page = store.list(only)
            assert ([task.task_id for task in page.items], page.next_cursor) == (wanted, None)

    def test_pages_over_queues_and_states_are_in_one_order(self, store: RedisStore) -> None:
        ids = [f"t{number:03}" for number in range(60)]
        store.create_many([new(id_, queue=f"q{number % 3}") for number, id_ in enumerate(ids)])
        for id_ in ids[::5]:
            store.claim(id_, "A", "w")
        for id_ in ids[::10]:
            store.finish(id_, "A", NOTHING, Status.FAILED, None, None)
        pages = all_pages(lambda cursor: store.list(TaskFilter(), limit=7, cursor=cursor))
        found = [task.task_id for page in pages for task in page]
        assert found == ids[::-1]
        alive = store.list(TaskFilter(workflow_id="orders", dead=False), limit=100).items
        assert [task.task_id for task in alive] == [id_ for id_ in ids[::-1] if id_ not in ids[::10]]

    def test_what_is_old_in_one_list_waits_for_what_is_newer_in_another(self, store: RedisStore) -> None:
        ids = [f"t{number:03}" for number in range(300)]
        store.create_many([new(id_, queue="a" if number < 100 else "b") for number, id_ in enumerate(ids)])
        for id_ in ids[150:]:  # more than are looked at in one call
            store.claim(id_, "A", "w")
            store.finish(id_, "A", NOTHING, Status.FAILED, None, None)
        for id_ in ids[150:155]:
            store.discard(id_)
        pages = all_pages(lambda cursor: store.list(TaskFilter(dead=False), limit=100, cursor=cursor))
        assert [task.task_id for page in pages for task in page] == ids[154::-1]


def _new() -> NewTask:
    return new(new_task_id(), definition="0" * 64, queue=QUEUE, variables='{"name":"World"}')


def _wait_for_an_hour(store: RedisStore, topics: Sequence[str]) -> None:
    """Create a task whose only step begins to wait."""
    store.create(_new())
    claim = store.take("0" * 32, WORKER, [QUEUE])
    assert claim is not None
    due = claim.now + 3600
    pause = StepRecord(
        "pause", "0001/pause", StepStatus.WAITING, "wait", id="pause", attempts=1, tries=1, started_at=claim.now,
        wait={"kind": "time", "due": due},
    )  # fmt: skip
    store.suspend(claim.task.task_id, claim.token, Commit(steps=[pause]), Suspension(due=due, topics=topics))


def _work_off(store: RedisStore) -> None:
    """Create a task and run it."""
    task, _ = store.create(_new())
    _run(store, store.take("first", WORKER, [QUEUE]) or store.claim(task.task_id, "first", WORKER))


def _run(store: RedisStore, claim: Claim | None) -> None:
    assert claim is not None
    task_id, token, worker = claim.task.task_id, claim.token, claim.task.worker or ""
    begun = StepRecord(
        "hello", "0001/hello", StepStatus.RUNNING, "run", id="hello", attempts=1, tries=1, started_at=claim.now,
        history=(Attempt(1, claim.now, worker),),
    )  # fmt: skip
    now = store.commit(task_id, token, Commit(steps=[begun])).now
    done = replace(
        begun, status=StepStatus.COMPLETED, output='{"text":"Hello, World"}', completed_at=now,
        history=(Attempt(1, claim.now, worker, now),),
    )  # fmt: skip
    store.finish(task_id, token, Commit(steps=[done]), Status.COMPLETED, '{"greeting":"Hello, World"}', None)


def _weight(raw: Raw) -> int:
    return sum(raw.memory_usage(key, samples=0) or 0 for key in raw.keys("*"))


def _list(found: Sequence[str] | Exception) -> Sequence[str]:
    assert not isinstance(found, Exception)
    return found
