"""Waits, and events that end them or start tasks."""

from __future__ import annotations

from tests.acceptance.modes.cases import CHILDREN, Act, Case

WAITS: dict[str, Case] = {
    "wait for a time": Case(
        """
        steps:
          - {id: a, run: "true"}
          - {id: w, wait: 1500ms}
          - {id: b, output: "${{ steps.w.output }}"}
        outputs: {b: "${{ steps.b.output }}"}
        """,
        outputs={"b": None},
        completed="a w b",
    ),
    "wait until a time": Case(
        """
        steps:
          - {id: w, wait: {until: "${{ now() + duration('100ms') }}"}}
          - {id: past, wait: {until: "2020-01-01T00:00:00Z"}}
        """,
        completed="w past",
    ),
    "wait for an event": Case(
        """
        variables: {order: {type: string, default: A-7}}
        steps:
          - id: both
            parallel:
              - {id: paid, wait: {event: modes.paid, match: event.order == variables.order}}
              - {id: ticks, foreach: {in: [1, 2], max_parallel: 2}, wait: {event: modes.tick}}
          - {id: late, wait: {event: modes.late, timeout: 50ms, on_timeout: continue}}
        outputs:
          sum: ${{ steps.both.output.paid.sum }}
          ticks: ${{ steps.both.output.ticks | map(attribute='n') | sort }}
          late: ${{ steps.late.error.code }}
        """,
        outputs={"sum": 25, "ticks": [1, 2], "late": "timeout"},
        completed="both both/paid both/ticks both/ticks[0] both/ticks[1]",
        failed="late",
        acts=[
            Act("publish", "modes.paid", {"order": "B-1", "sum": 1}),
            Act("publish", "modes.tick", {"n": 1}),
            Act("publish", "modes.tick", {"n": 2}, at="both/paid"),
            Act("publish", "modes.paid", {"order": "A-7", "sum": 25}, at="both/paid"),
            Act("publish", "modes.paid", {"order": "A-7", "sum": 99}),
        ],
    ),
    "wait for a signal": Case(
        """
        steps:
          - {id: called, wait: {event: modes.called}}
          - {id: again, wait: {event: modes.called}}
        outputs: {first: "${{ steps.called.output }}", second: "${{ steps.again.output }}"}
        """,
        outputs={"first": {"n": 1}, "second": {"n": 1}},
        completed="called again",
        acts=[Act("signal", "modes.called", {"n": 1}, at="called")],
    ),
    "wait for an event in vain": Case(
        """
        steps: [{id: w, wait: {event: modes.never, timeout: 50ms, on_timeout: fail}}]
        on_failure: [{id: tell, output: "${{ error.code }}"}]
        """,
        status="failed",
        error="timeout",
        completed="on_failure/tell",
        failed="w",
    ),
    "event.emit": Case(
        f"""
        steps:
          - {{id: emit, uses: event.emit, with: {{name: modes.emitted, payload: {{n: 4}}}}, output: null}}
          - {{id: early, wait: {{event: modes.emitted, match: event.n == 4}}}}
          - {{id: child, queue: {CHILDREN}, steps: [{{id: inner, wait: {{event: modes.emitted}}}}]}}
        outputs: {{n: "${{{{ steps.early.output.n }}}}", child: "${{{{ steps.child.output.n }}}}"}}
        """,
        outputs={"n": 4, "child": 5},
        completed="emit early child",
        children=1,
        acts=[Act("publish", "modes.emitted", {"n": 5}, at="child")],
    ),
    "triggers": Case(
        """
        variables: {name: {type: string, required: true}}
        triggers:
          - {event: modes.registered, if: event.newsletter, with: {name: "${{ event.name }}"}}
        steps: [{id: greet, run: [echo, "Hello, ${{ variables.name }}"]}]
        outputs: {said: "${{ steps.greet.output.stdout }}", by: "${{ trigger.event }}", n: "${{ trigger.payload.n }}"}
        """,
        outputs={"said": "Hello, Ada", "by": "modes.registered", "n": 2},
        completed="greet",
        acts=[
            Act("publish", "modes.registered", {"name": "Bob", "newsletter": False, "n": 1}),
            Act("publish", "modes.registered", {"name": "Ada", "newsletter": True, "n": 2}),
        ],
        triggered=True,
    ),
    "wait for an approval": Case(
        """
        steps:
          - {id: plan, run: "true", output: 3}
          - {id: approve, wait: {approval: "Load ${{ steps.plan.output }}?", timeout: 1h}}
          - {id: load, if: steps.approve.output.approved, run: "true"}
          - id: form
            wait:
              approval: How much?
              variables: {amount: {type: integer, required: true}, unit: {type: string, default: EUR}}
        outputs: {approved: "${{ steps.approve.output }}", form: "${{ steps.form.output }}"}
        """,
        outputs={"approved": {"approved": True, "comment": "go"}, "form": {"amount": 5, "unit": "EUR"}},
        completed="plan approve load form",
        acts=[
            Act("signal", "form", {"amount": 5}),
            Act("signal", "approve", {"approved": True, "comment": "go"}, at="approve"),
        ],
    ),
    "wait for an approval that is refused": Case(
        """
        steps:
          - {id: each, foreach: {in: [a, b], max_parallel: 2}, steps: [{id: ask, wait: {approval: "${{ item }}?"}}]}
          - {id: go, if: steps.each.output | map(attribute='approved') | all, output: 1}
        """,
        completed="each each[0] each[0]/ask each[1] each[1]/ask",
        skipped="go",
        acts=[
            Act("signal", "each[1]/ask", {"approved": False}, at="each[1]/ask"),
            Act("signal", "each[0]/ask", {"approved": True}, at="each[0]/ask"),
        ],
    ),
    "wait for an approval in vain": Case(
        "steps: [{id: w, wait: {approval: Really?, approvers: [ann], timeout: 50ms}}]",
        status="failed",
        error="timeout",
        failed="w",
    ),
}  # fmt: skip
