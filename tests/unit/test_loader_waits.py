"""Waits, races, other workflows, queues, undo and triggers in a file: what loads, and what people are told if not."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from jsonschema import Draft202012Validator

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.errors import DefinitionError
from stepwell.loader import Catalog, load, schema
from stepwell.plan import compile_definition
from stepwell.registry import actions
from stepwell.strict_yaml import parse
from stepwell.workflow import Bundle, Workflow

VALIDATOR = Draft202012Validator(schema())

CHILD = Workflow.model_validate(
    {
        "variables": {
            "sku": {"type": "string", "required": True},
            "count": {"type": "integer", "default": 1},
            "tags": {"type": "list", "items": "string"},
        },
        "steps": [{"output": 1}],
        "outputs": {"price": 3},
    }
)

EVERYTHING = """\
variables:
  order: {type: string, required: true}
  pause: {type: duration, default: 1h}
  crew: {type: list, items: string, default: [ann]}
triggers:
  - event: order.placed
    if: event.total > 100
    with: {order: "${{ event.id }}", pause: 5m, crew: "${{ trigger.payload.crew }}"}
steps:
  - {wait: 30}
  - wait: 30s
  - {wait: "${{ variables.pause }}"}
  - {wait: {until: "2026-12-01T09:00:00+01:00"}}
  - {wait: {until: 1900000000}}
  - {wait: {until: "${{ now() + duration('1d') }}"}}
  - id: paid
    wait:
      event: order.paid
      match: event.order == variables.order and event.amount > 0
      timeout: ${{ variables.pause }}
      on_timeout: continue
    output: ${{ output.amount }}
  - {wait: {event: "order.${{ variables.order }}"}}
  - id: approve
    wait: {approval: "Ship ${{ variables.order }}?", approvers: [ann, "${{ variables.crew[0] }}"]}
  - if: steps.approve.output.approved and steps.approve.output.comment is not none
    wait:
      approval: Which box?
      approvers: ${{ variables.crew }}
      variables: {size: {type: string, enum: [s, m], required: true}, parts: {type: list, items: integer}}
      timeout: 3d
  - id: first
    race:
      - {id: mail, wait: {event: answered}}
      - {id: late, wait: 2d, needs: []}
      - steps: [{id: asked, workflow: child, with: {sku: a}}, {output: "${{ steps.asked.output.price }}"}]
    output: {who: "${{ output }}", mail: "${{ steps.mail.status }}"}
  - {output: "${{ steps.first.winner ~ steps.first.output.who }}"}
  - id: each
    foreach: {in: "${{ variables.crew }}", max_parallel: 50}
    workflow: child
    with: {sku: "${{ item }}", count: 2, tags: [a, "${{ index }}"]}
    queue: "bulk-${{ item }}"
    priority: ${{ 'high' if index == 0 else 'low' }}
    timeout: 5m
    retry: 2
    compensate:
      - {id: undo, uses: log, with: {message: "${{ steps.each.output | length }} ${{ error.code }}"}}
      - {queue: undo.queue, priority: 3, output: "${{ steps.undo.status }}"}
  - {until: output, every: 1m, queue: poll, output: true}
"""


def told(text: str, others: dict[str, Workflow | str] | None = None) -> list[str]:
    """Every problem of a text, as `line:column: message`."""
    known: dict[str, Workflow | str] = {"child": CHILD} if others is None else others
    with pytest.raises(DefinitionError) as caught:
        load(text, "f.yaml", registry=actions, default_id="own", others=lambda: known)
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]


def test_all_of_it_loads() -> None:
    workflow = load(EVERYTHING, "f.yaml", registry=actions, others=lambda: {"child": CHILD})
    kinds = ["wait"] * 6 + ["wait", "wait", "wait", "wait", "race", "output", "workflow", "output"]
    assert [step.kind for step in workflow.steps] == kinds
    assert [trigger.event for trigger in workflow.triggers] == ["order.placed"]


def test_the_schema_takes_all_of_it() -> None:
    assert [error.message for error in VALIDATOR.iter_errors(parse(EVERYTHING).data)] == []


def test_its_snapshot_is_the_same_definition(tmp_path: Path) -> None:
    child = "variables: {sku: {type: string}, count: {type: any}, tags: {type: any}}\nsteps: [{output: 1}]\n"
    (tmp_path / "child.yaml").write_text(child + "outputs: {price: 1}\n")
    definition = Catalog(tmp_path, registry=actions).from_text(EVERYTHING, "a.yaml")
    again = Bundle.model_validate_json(definition.text)
    assert again.model_dump_json(by_alias=True, exclude_unset=True) == definition.text
    assert again.steps == definition.workflow.steps
    plan = compile_definition(definition.text)
    assert [node.kind for node in plan.steps.nodes] == [step.kind for step in definition.workflow.steps]
    assert list(plan.included) == ["child"]


class Bad(NamedTuple):
    """A file and what is said of it; `shape`: the JSON Schema refuses it too."""

    text: str
    problems: list[str]
    shape: bool = True


EXAMPLES = "{event: order.paid}, {approval: 'Ship it?'}, {until: '2026-12-01T09:00:00Z'}, or just 30s"
DURATION = "a duration: seconds, or 500ms, 30s, 5m, 2h, 1d"
WAITS = {
    "a wait for nothing": Bad(
        "steps:\n  - wait: {timeout: 5m}\n", [f"2:11: `wait` does not say for what: write {EXAMPLES}"]
    ),
    "a wait for two things": Bad(
        "steps:\n  - wait: {event: a, approval: b}\n",
        ["2:22: a wait has exactly one of `until`, `event`, `approval`, not `event` and `approval`"],
    ),
    "a wait that is a list": Bad(
        "steps:\n  - wait: [30s]\n",
        [
            f"2:11: `wait` must be {DURATION}; or {{until: a time}}, {{event: a name}} or {{approval: a message}}, "
            "not a list"
        ],
    ),
    "no duration": Bad(
        "steps:\n  - wait: soon\n",
        [
            f"2:11: `wait` must be {DURATION}; or {{until: a time}}, {{event: a name}} or {{approval: a message}}, "
            'not the string "soon"'
        ],
    ),
    "keys of another wait": Bad(
        "steps:\n"
        "  - wait: {until: '2026-12-01', match: event.a == 1, timeout: 5m, on_timeout: fail}\n"
        "  - wait: {event: paid, approvers: [ann], variables: {a: {type: string}}}\n"
        "  - wait: {approval: Well?, match: event.a}\n",
        [
            "2:33: `match` is only for a wait for an `event`",
            "2:54: `timeout` is only for a wait for an `event` or an `approval`; a wait for a time ends by itself",
            "2:67: `on_timeout` is only for a wait for an `event` or an `approval`; a wait for a time ends by itself",
            "3:25: `approvers` is only for a wait for an `approval`",
            "3:43: `variables` is only for a wait for an `approval`",
            "4:29: `match` is only for a wait for an `event`",
        ],
    ),
    "unknown and misspelled keys": Bad(
        "steps:\n  - wait: {evnt: paid, event: paid, timout: 5m}\n",
        [
            "2:12: unknown key 'evnt' of `wait` (did you mean 'event'?)",
            "2:37: unknown key 'timout' of `wait` (did you mean 'timeout'?)",
        ],
    ),
    "wrong values": Bad(
        "steps:\n"
        "  - wait: {until: tomorrow}\n"
        "  - wait: {event: 'order paid', timeout: 0, on_timeout: stop}\n"
        "  - wait: {approval: 7, approvers: ann}\n"
        "  - wait: {approval: Well?, approvers: []}\n",
        [
            "2:19: `until` must be a time like 2026-12-01T09:00:00Z, seconds since 1970, or an expression in ${{ }}, "
            'not the string "tomorrow"',
            '3:19: `event` must be the name of an event like order.paid, not the string "order paid"',
            "3:42: `timeout` must be more than 0; leave it out for no limit",
            '3:57: `on_timeout` must be fail or continue, not the string "stop"',
            "4:22: `approval` must be text, not 7: put it in quotes",
            "4:36: `approvers` must be a list of names of API keys, or an expression in ${{ }} that gives one, "
            'not the string "ann": write [ann]',
            "5:40: `approvers` names nobody: leave it out if anyone may answer",
        ],
        shape=True,
    ),
    "a way out of no limit": Bad(
        "steps:\n  - wait: {event: a, on_timeout: continue}\n",
        ["2:22: `on_timeout` is only for a wait with a `timeout`"],
    ),
    "the form of an approval": Bad(
        "steps:\n"
        "  - wait:\n"
        "      approval: Well?\n"
        "      variables:\n"
        "        size: string\n"
        "        my-box: {type: string}\n"
        "        many: {type: integer, default: lots}\n"
        "        code: {type: object, fields: {pin: secret}}\n",
        [
            "5:15: a variable must be a mapping: write {type: string}",
            "6:9: a variable is named with letters of any script, digits and _, not beginning with a digit, at most "
            "100, not 'my-box'",
            '7:40: `default`: the string "lots" does not fit: must be a whole number, not the string "lots"',
            "8:15: an answer is kept as it is, so that it cannot be a secret: ask for the name of one",
        ],
    ),
    "what a wait is not given": Bad(
        "steps:\n  - {wait: 5m, retry: 3, timeout: 1h, with: {a: 1}, files: ['*']}\n",
        [
            "2:16: a wait is not tried again: it ends with what it waits for, or with its `timeout`",
            "2:26: the `timeout` of a wait stands inside it: wait: {event: …, timeout: …}",
            "2:39: `with` is only for `uses`, `call` or `workflow`",
            "2:53: `files` is only for `uses`, `call` or `run`",
        ],
        shape=False,
    ),
    "an item that a match cannot see": Bad(
        "steps:\n"
        "  - foreach: {in: [1], as: event}\n"
        "    steps:\n"
        "      - {wait: {event: paid, match: event.id == event}}\n"
        "      - {wait: {event: 'paid.${{ event }}'}}\n",
        ["4:37: `event` is the payload here and hides the item of that name: give `foreach` another `as`"],
        shape=False,
    ),
    "names of a match": Bad(
        "steps:\n"
        "  - id: paid\n"
        "    wait: {event: paid, match: event.id == steps.paid.output and evnt.a == item, timeout: '${{ event.t }}'}\n"
        "  - {output: '${{ event.id }}'}\n"
        "  - id: asked\n"
        "    wait: {approval: Well?}\n"
        "  - {output: '${{ steps.asked.output.aproved }}'}\n",
        [
            "3:44: step 'paid' cannot read itself: what it gives is not known yet",
            "3:66: unknown name 'evnt' (did you mean 'event'?)",
            "3:76: there is no `item` here: it is known in a step with `foreach`, and inside it",
            "3:96: there is no `event` here: it is known in `match` of a wait and in `triggers`; later write "
            "steps.<id>.output",
            "4:19: there is no `event` here: it is known in `match` of a wait and in `triggers`; later write "
            "steps.<id>.output",
            "7:19: steps.asked.output has no 'aproved' (did you mean 'approved'?); it has approved, comment",
        ],
        shape=False,
    ),
}
GROUPS = {
    "a race of one": Bad(
        "steps:\n  - race: [{output: 1}]\n",
        ["2:5: a race needs at least two steps: of one alone, it is a group (`steps`)"],
    ),
    "racers that wait for each other": Bad(
        "steps:\n"
        "  - id: first\n"
        "    race:\n"
        "      - {id: a, output: '${{ steps.c.status }}'}\n"
        "      - {id: b, output: 1, needs: [a]}\n"
        "      - {id: c, output: 1}\n"
        "      - {id: d, output: '${{ steps.b.status }}'}\n",
        [
            "4:30: step 'c' is in the same race: all of them start at once, and only one completes",
            "5:28: the steps of a race start at once: none of them can need another",
            "7:30: step 'b' is in the same race: all of them start at once, and only one completes",
        ],
        shape=False,
    ),
    "a race from outside": Bad(
        "steps:\n"
        "  - {id: first, race: [{id: a, output: 1}, {id: b, output: 2}]}\n"
        "  - {output: '${{ steps.a.output ~ steps.first.output.a ~ steps.first.winer }}'}\n"
        "  - {id: group, parallel: [{output: 1}]}\n"
        "  - {output: '${{ steps.group.winner }}'}\n",
        [
            "3:19: step 'a' is inside 'first', and from outside only the race is seen: write steps.first.output",
            "3:59: a step has no 'winer' (did you mean 'winner'?): write steps.first.output.winer; it has output, "
            "status, error, attempts, failures, files, winner",
            "5:19: a step has no 'winner': write steps.group.output.winner; it has output, status, error, attempts, "
            "failures, files",
        ],
        shape=False,
    ),
    "what undoes what undoes": Bad(
        "steps:\n"
        "  - uses: stop\n"
        "    compensate:\n"
        "      - steps: [{output: 1, compensate: [{output: 2}]}]\n"
        "    on_failure: [{output: 1, compensate: [{output: 2}]}]\n"
        "finally: [{output: 1, compensate: [{output: 2}]}]\n",
        [
            "4:29: what undoes a step is not undone itself: no `compensate` may stand in `compensate`",
            "5:30: steps in `on_failure` are not undone: `compensate` is for those that do the work",
            "6:23: steps in `finally` are not undone: `compensate` is for those that do the work",
        ],
        shape=False,
    ),
    "what undo sees": Bad(
        "steps:\n"
        "  - id: book\n"
        "    foreach: [1]\n"
        "    steps: [{id: inner, output: 1}]\n"
        "    compensate:\n"
        "      - {id: undo, output: '${{ steps.book.output[0] ~ item ~ steps.later.output ~ steps.inner.output }}'}\n"
        "  - {id: later, output: '${{ steps.undo.status }}'}\n",
        [
            "6:56: there is no `item` here: it is known in a step with `foreach`, and inside it",
            "6:63: step 'later' runs after this one: nothing of it is known yet",
            "6:84: step 'inner' is inside a part of 'book' that is not seen from here",
            "7:30: step 'undo' is in `compensate` of 'book' and seen only there",
        ],
        shape=False,
    ),
    "queues and priorities": Bad(
        "steps:\n"
        "  - {output: 1, queue: my queue}\n"
        "  - {output: 1, priority: high}\n"
        "  - {output: 1, queue: bulk, priority: 7}\n"
        "  - {output: 1, queue: '${{ variables.q }}', priority: hihg}\n",
        [
            '2:24: `queue` must be letters, digits, _, - and dots, at most 100, not the string "my queue"',
            "3:17: `priority` is only for a step with `queue`: it is that of the child tasks",
            "4:40: `priority` must be low, normal, high, urgent, a number from 0 to 3, or an expression in ${{ }}, "
            "not 7",
            "5:29: unknown variable 'q'",
            "5:56: `priority` must be low, normal, high, urgent, a number from 0 to 3, or an expression in ${{ }}, "
            'not the string "hihg"',
        ],
    ),
}
CALLED = {
    "an unknown workflow": Bad(
        "steps:\n  - {workflow: chlid}\n  - {workflow: '${{ variables.x }}'}\n",
        [
            "2:16: unknown workflow 'chlid' (did you mean 'child'?)",
            '3:16: `workflow` must be the id of a workflow, in which no expression may stand, not the string "${{ '
            'variables.x }}"',
        ],
    ),
    "what another workflow is given": Bad(
        "steps:\n"
        "  - workflow: child\n"
        "  - workflow: child\n"
        "    with: {suk: a, cuont: 1}\n"
        "  - id: call\n"
        "    workflow: child\n"
        "    with: {sku: 7, count: '${{ 1 }}', tags: [a, 1]}\n"
        "  - {output: '${{ steps.call.output.prize }}'}\n"
        "  - {workflow: own, with: {a: 1}}\n",
        [
            "2:15: the workflow 'child' needs the variable 'sku'",
            "4:12: the workflow 'child' has no variable 'suk' (did you mean 'sku'?); it has sku, count, tags",
            "4:20: the workflow 'child' has no variable 'cuont' (did you mean 'count'?); it has sku, count, tags",
            "7:17: sku of the workflow 'child' must be a string, not 7",
            "7:45: tags[1] of the workflow 'child' must be a string, not 1",
            "8:19: steps.call.output has no 'prize' (did you mean 'price'?); it has price",
            "9:28: the workflow 'own' has no variable 'a'; it has none",
        ],
        shape=False,
    ),
    "triggers": Bad(
        "variables: {id: {type: string, required: true}, n: {type: integer}}\n"
        "triggers:\n"
        "  - {event: placed}\n"
        "  - {event: placed, with: {id: '${{ event.id }}', n: many, m: 1}, if: variables.n > 1}\n"
        "  - {with: {id: a}}\n"
        "  - {event: 'a b', with: {id: a}}\n"
        "  - placed\n"
        "steps: [{output: 1}]\n",
        [
            "3:5: this workflow needs the variable 'id'",
            '4:54: n of this workflow must be a whole number, not the string "many"',
            "4:60: this workflow has no variable 'm'; it has id, n",
            "4:71: a trigger sees only `event`, the payload, and `trigger`, not 'variables'",
            "5:5: a trigger needs `event`",
            '6:13: `event` must be the name of an event like order.paid, not the string "a b"',
            '7:5: a trigger must be a mapping, not the string "placed"',
            "7:5: this workflow needs the variable 'id'",
        ],
    ),
}
ALL = {**WAITS, **GROUPS, **CALLED}


@pytest.mark.parametrize("bad", ALL.values(), ids=ALL.keys())
def test_messages(bad: Bad) -> None:
    assert told(bad.text) == bad.problems


@pytest.mark.parametrize("name", [name for name, bad in ALL.items() if bad.shape])
def test_what_has_the_wrong_shape_shows_in_the_editor(name: str) -> None:
    assert not VALIDATOR.is_valid(parse(ALL[name].text).data)


def test_a_workflow_that_does_not_load_is_told_with_the_reason() -> None:
    message = "1:20: the workflow 'child' does not load: child.yaml:3:1: unknown key 'setps'"
    assert told("steps: [{workflow: child}]\n", {"child": "child.yaml:3:1: unknown key 'setps'"}) == [message]


def test_without_a_catalog_other_workflows_are_not_looked_at() -> None:
    assert load("steps: [{workflow: anything, with: {a: 1}}]\n", "f.yaml", registry=actions).steps
