"""How steps and tasks fail, are undone, are cancelled, and end."""

from __future__ import annotations

from tests.acceptance.modes.cases import CHILDREN, Act, Case

SAGA = f"""
steps:
  - id: reserve
    run: echo 12A
    compensate:
      - {{id: release, run: [echo, "${{{{ steps.reserve.output.stdout }}}}"]}}
      - {{id: tell, output: "${{{{ error.code }}}}"}}
  - id: group
    steps:
      - {{id: a, output: 1, compensate: [{{id: minus, run: "true"}}]}}
      - {{id: b, run: "true"}}
    compensate: [{{id: whole, run: "true"}}]
  - id: each
    foreach: [x, y]
    steps:
      - id: inner
        run: "true"
        compensate: [{{id: back, run: [echo, "${{{{ item }}}}"]}}]
  - id: child
    queue: {CHILDREN}
    run: "true"
    compensate: [{{id: recall, queue: {CHILDREN}, run: "true"}}]
  - {{id: last, LAST}}
on_failure: [{{id: page, run: "true"}}]
on_cancel: [{{id: sorry, run: "true"}}]
finally: [{{id: tidy, run: "true"}}]
"""
DONE = "reserve group group/a group/b each each[0] each[0]/inner each[1] each[1]/inner child"
UNDONE = [
    "child/compensate/recall",
    "each[1]/inner/compensate/back",
    "each[0]/inner/compensate/back",
    "group/compensate/whole",
    "group/a/compensate/minus",
    "reserve/compensate/release",
    "reserve/compensate/tell",
]

ENDINGS: dict[str, Case] = {
    "on_error": Case(
        """
        steps:
          - {id: a, on_error: continue, uses: fail, with: {message: nothing left, code: no_stock}}
          - {id: b, run: "true", output: "${{ steps.a.output }}"}
        outputs: {status: "${{ steps.a.status }}", why: "${{ steps.a.error.code }}", b: "${{ steps.b.output }}"}
        """,
        outputs={"status": "failed", "why": "no_stock", "b": None},
        completed="b",
        failed="a",
    ),
    "on_failure": Case(
        """
        steps:
          - {id: beside, needs: [], run: "true"}
          - id: group
            steps: [{id: bad, uses: fail, with: {message: no, code: why}}, {id: never, output: 1}]
            on_failure: [{id: told, run: [echo, "${{ error.step }}"]}, {id: worse, uses: fail, with: {message: x}}]
          - {id: after, output: 1}
        on_failure: [{id: page, run: [echo, "${{ error.code }}"]}]
        finally: [{id: tidy, run: "true"}]
        """,
        status="failed",
        error="why",
        completed="beside group/on_failure/told on_failure/page finally/tidy",
        failed="group group/bad group/on_failure/worse",
    ),
    "finally": Case(
        """
        steps: [{id: a, run: "true"}]
        on_failure: [{id: page, run: "true"}]
        on_cancel: [{id: sorry, run: "true"}]
        finally: [{id: tidy, run: "true"}, {id: bad, uses: fail, with: {message: x, code: untidy}}]
        outputs: {a: "${{ steps.a.output.exit_code }}"}
        """,
        status="failed",
        error="untidy",
        completed="a finally/tidy",
        failed="finally/bad",
    ),
    "on_crash": Case(
        """
        steps:
          - {id: again, run: "true", on_crash: retry}
          - {id: once, run: "true", on_crash: fail}
        outputs: {both: "${{ steps.again.status == steps.once.status }}"}
        """,
        outputs={"both": True},
        completed="again once",
        after_crashes={
            "status": "failed", "error": "worker_lost", "outputs": {}, "completed": "again", "failed": "once"
        },
    ),
    "compensate": Case(
        SAGA.replace("LAST", "uses: fail, with: {message: declined, code: no_card}"),
        status="failed",
        error="no_card",
        completed=f"{DONE} {' '.join(UNDONE)} on_failure/page finally/tidy",
        failed="last",
        children=2,
        undone=UNDONE,
    ),
    "compensate that fails": Case(
        """
        steps:
          - {id: a, run: "true", compensate: [{id: undo, run: "true"}]}
          - id: b
            run: "true"
            compensate: [{id: bad, uses: fail, with: {message: x, code: worse}}, {id: no, output: 1}]
          - {id: c, uses: fail, with: {message: x, code: first}}
        """,
        status="failed",
        error="first",
        completed="a b a/compensate/undo",
        failed="c b/compensate/bad",
        undone=["a/compensate/undo"],
    ),
    "cancel": Case(
        SAGA.replace("LAST", "wait: {approval: Go on?}"),
        status="cancelled",
        completed=f"{DONE} {' '.join(UNDONE)} on_cancel/sorry finally/tidy",
        cancelled="last",
        children=2,
        undone=UNDONE,
        acts=[Act("cancel", at="last")],
    ),
    "cancel with child tasks": Case(
        f"""
        steps:
          - {{id: a, run: "true"}}
          - {{id: each, foreach: {{in: [1, 2], max_parallel: 2}}, queue: {CHILDREN}, steps: [{{id: nap, wait: 1h}}]}}
        on_cancel: [{{id: sorry, output: 1}}]
        """,
        status="cancelled",
        completed="a on_cancel/sorry",
        cancelled="each each[0] each[1]",
        children=2,
        acts=[Act("cancel", at="each")],
    ),
    "cancel at once": Case(
        "steps: [{id: a, run: 'true'}, {id: w, wait: 1h}]",
        status="cancelled",
        completed="a",
        cancelled="w",
        acts=[Act("cancel", at="w")],
    ),
    "stop": Case(
        """
        steps:
          - {id: a, run: "true"}
          - {id: group, steps: [{id: enough, uses: stop, with: {message: enough}}, {id: never, output: 1}]}
          - {id: after, output: 1}
        finally: [{id: tidy, run: "true"}]
        outputs: {a: "${{ steps.a.status }}", after: "${{ steps.after.status }}"}
        """,
        outputs={"a": "completed", "after": "pending"},
        completed="a group/enough finally/tidy",
        cancelled="group",
    ),
    "stop as cancelled": Case(
        """
        steps:
          - {id: a, run: "true", compensate: [{id: undo, run: "true"}]}
          - {id: halt, uses: stop, with: {status: cancelled, message: not today}}
        on_cancel: [{id: sorry, run: "true"}]
        """,
        status="cancelled",
        error="stopped",
        completed="a halt a/compensate/undo on_cancel/sorry",
        undone=["a/compensate/undo"],
    ),
    "stop in a child task": Case(
        f"""
        steps:
          - {{id: child, queue: {CHILDREN}, steps: [{{uses: stop}}]}}
          - {{id: after, output: 1}}
        """,
        cancelled="child",
        children=1,
    ),
    "max_retries": Case(
        """
        max_retries: 1
        steps:
          - {id: a, run: "true"}
          - id: group
            steps:
              - {id: b, run: "true"}
              - {id: c, if: task.attempt == 1, uses: fail, with: {message: x, retryable: true}}
          - {id: d, output: "${{ task.attempt }}"}
        outputs: {attempt: "${{ steps.d.output }}"}
        """,
        outputs={"attempt": 2},
        completed="a group group/b d",
        skipped="group/c",
    ),
    "max_retries in vain": Case(
        """
        max_retries: 1
        queue: workflow_execute
        priority: high
        steps:
          - {id: a, run: "true", compensate: [{id: undo, run: "true"}]}
          - {id: b, run: exit 3}
        finally: [{id: z, run: "true"}]
        """,
        status="failed",
        error="exit_code",
        completed="a a/compensate/undo finally/z",
        failed="b",
        undone=["a/compensate/undo"],
    ),
}  # fmt: skip
