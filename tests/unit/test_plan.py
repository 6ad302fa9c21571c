"""Plans: waits, children, undo and other workflows compiled; ways through them; what a `match` requires."""

from __future__ import annotations

from typing import Any

import pytest

from stepwell.plan import Node, Plan, bundle_of, compile_definition, compile_workflow, downstream, node_at
from stepwell.workflow import Workflow, called, moment, reachable, snapshot


def workflow(*steps: dict[str, Any], **keys: Any) -> Workflow:
    return Workflow.model_validate({"steps": list(steps), **keys}, strict=True)


def node(step: dict[str, Any]) -> Node:
    return compile_workflow(workflow(step)).steps.nodes[0]


def test_a_wait_for_a_time() -> None:
    for given, seconds in ((90, 90.0), ("5m", 300.0), ("${{ variables.pause }}", 7200.0)):
        plan = node({"wait": given}).wait
        assert plan is not None
        assert (plan.kind, plan.until) == ("time", None)
        assert plan.duration is not None
        assert plan.duration({"variables": {"pause": "2h"}}) == seconds
    plan = node({"wait": {"until": "${{ variables.at }}"}}).wait
    assert plan is not None
    assert plan.until is not None
    assert plan.until({"variables": {"at": "1970-01-02T00:00:00Z"}}) == 86400.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1900000000, 1900000000.0),
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T01:00:00+01:00", 0.0),
        ("1970-01-02", 86400.0),
    ],
)
def test_moments(value: object, seconds: float) -> None:
    assert moment(value) == seconds


@pytest.mark.parametrize(
    "value", [True, None, -1, float("nan"), float("inf"), 1e300, "5m", "9999-12-31T23:59:59-12:00"]
)
def test_no_moments(value: object) -> None:
    with pytest.raises(ValueError, match="is not a time: write it like"):
        moment(value)


def test_a_wait_for_an_event() -> None:
    plan = node({"wait": {"event": "order.${{ variables.x }}", "timeout": "1h", "on_timeout": "continue"}}).wait
    assert plan is not None
    assert plan.event is not None
    assert plan.timeout is not None
    assert (plan.kind, plan.event({"variables": {"x": "paid"}}), plan.timeout({})) == ("event", "order.paid", 3600.0)
    assert (plan.tolerant, plan.match, plan.keys, plan.form) == (True, None, (), None)
    with pytest.raises(ValueError, match="is no name of an event"):
        plan.event({"variables": {"x": "a b"}})


def test_a_wait_for_an_approval() -> None:
    plan = node({"wait": {"approval": "${{ variables.x }}", "approvers": ["ann", "${{ variables.x }}"]}}).wait
    assert plan is not None
    assert plan.message is not None
    assert plan.approvers is not None
    assert (plan.kind, plan.tolerant, plan.timeout) == ("approval", False, None)
    assert plan.message({"variables": {"x": {"a": 1}}}) == '{"a":1}'
    assert plan.approvers({"variables": {"x": "bob"}}) == ["ann", "bob"]
    with pytest.raises(ValueError, match="an object is no list of names"):
        node({"wait": {"approval": "?", "approvers": "${{ variables.x }}"}}).wait.approvers(  # type: ignore[union-attr,misc]
            {"variables": {"x": {}}}
        )
    assert plan.form is not None
    assert {name: (one.type, one.required) for name, one in plan.form.items()} == {
        "approved": ("boolean", True),
        "comment": ("string", False),
    }


@pytest.mark.parametrize(
    ("match", "keys"),
    [
        ("event.id == variables.x", {"id": 7}),
        ("${{ variables.x == event['my id'] }}", {"my id": 7}),
        ("event.a == 'b' and (3 == event.c and event.d > 1) and event.e is defined", {"a": "b", "c": 3}),
        ("event.id == variables.x + 1", {"id": 8}),
        ("event.id == 1 or event.id == 2", {}),
        ("not event.id == 1", {}),
        ("event.id != 1 and event.n >= 2", {}),
        ("event.id == event.other", {}),
        ("event.id == steps.a.output[event.n]", {}),
        ("event.order.id == 1", {}),
        ("event[0] == 1", {}),
        ("event == 1", {}),
        ("event.at == now()", {}),
        ("1 < event.id == 2", {}),
        ("item.id == 1", {}),
        ("true", {}),
    ],
)
def test_what_a_match_requires(match: str, keys: dict[str, object]) -> None:
    plan = node({"wait": {"event": "e", "match": match}}).wait
    assert plan is not None
    assert {field: value({"variables": {"x": 7}}) for field, value in plan.keys} == keys


def test_queues_and_priorities() -> None:
    made = node({"output": 1, "queue": "bulk-${{ item }}", "priority": "${{ variables.p }}"})
    assert made.queue is not None
    assert made.priority is not None
    assert made.queue({"item": "a"}) == "bulk-a"
    assert [made.priority({"variables": {"p": given}}) for given in ("critical", 2, "low")] == [3, 2, 0]
    with pytest.raises(ValueError, match="is no queue: its name has letters"):
        made.queue({"item": "a b"})
    with pytest.raises(ValueError, match="is no priority"):
        made.priority({"variables": {"p": 4}})


def test_races_start_at_once_and_undo_is_in_order() -> None:
    racers = [{"id": "a", "output": 1}, {"wait": "1s"}]
    made = node({"race": racers, "compensate": [{"id": "x", "output": 1}, {"id": "y", "output": 2}]})
    assert made.block is not None
    assert made.compensate is not None
    assert (made.kind, [inner.name for inner in made.block.nodes], made.block.graph.before) == (
        "race",
        ["a", "wait-2"],
        ((), ()),
    )
    assert made.compensate.graph.before == ((), (0,))


def test_references_of_every_key_make_an_edge() -> None:
    reading: list[dict[str, Any]] = [
        {"wait": "${{ steps.a.output }}"},
        {"wait": {"until": "${{ steps.a.output }}"}},
        {"wait": {"event": "${{ steps.a.output }}"}},
        {"wait": {"event": "e", "match": "event.x == steps.a.output"}},
        {"wait": {"event": "e", "timeout": "${{ steps.a.output }}"}},
        {"wait": {"approval": "${{ steps.a.output }}"}},
        {"wait": {"approval": "?", "approvers": ["${{ steps.a.output }}"]}},
        {"workflow": "w", "with": {"x": "${{ steps.a.output }}"}},
        {"output": 1, "queue": "${{ steps.a.output }}"},
        {"output": 1, "queue": "q", "priority": "${{ steps.a.output }}"},
        {"race": [{"output": "${{ steps.a.output }}"}, {"output": 1}]},
        {"output": 1, "compensate": [{"output": "${{ steps.a.output }}"}]},
    ]
    first = {"id": "a", "output": 1}
    plan = compile_workflow(workflow(first, *({**step, "needs": []} for step in reading)))
    assert plan.steps.graph.before == ((), *[(0,)] * len(reading))


def test_another_workflow_and_what_it_is_given() -> None:
    made = node({"workflow": "w", "with": {"x": "${{ 1 + 1 }}"}, "retry": 2, "timeout": "5m"})
    assert (made.kind, made.inputs({}), made.block) == ("workflow", {"x": 2}, None)
    assert made.timeout is not None
    assert made.retry is not None
    assert (made.timeout({}), made.retry.max_retries({})) == (300.0, 2)
    defaults = {"defaults": {"retry": 3, "timeout": "1m"}}
    plain = compile_workflow(workflow({"workflow": "w"}, {"wait": "1s"}, **defaults)).steps.nodes
    assert [(one.timeout, one.retry) for one in plain] == [(None, None)] * 2


MAIN = workflow(
    {"id": "first", "output": 1, "compensate": [{"id": "undo", "workflow": "inner"}, {"id": "told", "output": 1}]},
    {"id": "call", "workflow": "inner", "on_failure": [{"id": "sorry", "output": 1}]},
    {"id": "race", "race": [{"id": "left", "steps": [{"id": "deep", "output": 1}, {"output": 2}]}, {"output": 1}]},
    {"id": "last", "output": 1},
    **{"finally": [{"id": "end", "output": 1}]},
)
INNER = workflow(
    {"id": "one", "output": 1},
    {"id": "again", "workflow": "inner", "queue": "q"},
    on_failure=[{"id": "failed", "output": 1}],
)


@pytest.fixture
def plan() -> Plan:
    return compile_definition(snapshot(MAIN, {"inner": INNER})[0])


@pytest.mark.parametrize(
    ("path", "workflow_kind"),
    [
        ("last", "main output"),
        ("race/left/deep", "main output"),
        ("race[2]/left[1]/output-2", "main output"),
        ("race/left[0]", "main steps"),
        ("call/again", "inner workflow"),
        ("call/again/again[3]/one", "inner output"),
        ("call/sorry", ""),
        ("call/on_failure/sorry", "main output"),
        ("call/workflow.on_failure/failed", "inner output"),
        ("first/compensate/undo", "main workflow"),
        ("first/compensate/undo/again", "inner workflow"),
        ("finally/end", "main output"),
        ("finally", ""),
        ("last/deeper", ""),
        ("nothing", ""),
        ("", ""),
        ("/".join(["call", *["again"] * 5000]), "inner workflow"),
    ],
)
def test_the_step_of_a_path(plan: Plan, path: str, workflow_kind: str) -> None:
    found = node_at(plan, path)
    named = {id(plan): "main", **{id(inner): name for name, inner in plan.included.items()}}
    assert ("" if found is None else f"{named[id(found[0])]} {found[1].kind}") == workflow_kind


@pytest.mark.parametrize(
    ("path", "later"),
    [
        ("first", ["call", "race", "last"]),
        ("race/left", ["last"]),
        ("race/left/deep", ["last", "race/left/output-2"]),
        ("call/one", ["race", "last", "call/again"]),
        ("call/again[2]/one", ["race", "last", "call/again[2]/again"]),
        ("first/compensate/undo", ["call", "race", "last", "first/compensate/told"]),
        ("nothing", []),
    ],
)
def test_what_comes_after_a_step(plan: Plan, path: str, later: list[str]) -> None:
    assert downstream(plan, path) == [path, *later]


def test_included_workflows_share_their_plans(plan: Plan) -> None:
    assert list(plan.included) == ["inner"]
    assert plan.included["inner"].included is plan.included
    assert repr(plan)  # a circle does not go on for ever


def test_a_bundle_is_the_same_text_from_file_and_snapshot(plan: Plan) -> None:
    assert list(called(MAIN)) == ["inner", "inner"]
    assert reachable(INNER, {"inner": INNER}.__getitem__) == {"inner": INNER}
    assert bundle_of("inner", plan) == snapshot(INNER, {"inner": INNER})
    assert snapshot(MAIN, {})[0] == MAIN.model_dump_json(by_alias=True, exclude_unset=True)
