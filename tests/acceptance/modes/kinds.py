"""Kinds of step, their order, and what they are given."""

from __future__ import annotations

from tests.acceptance.modes.cases import CHILDREN, TOKEN, Act, Case

PRICED = """
variables:
  net: {type: number, required: true}
  rate: {type: number, default: 20}
steps:
  - {id: tax, output: "${{ variables.net * variables.rate / 100 }}"}
  - {id: gross, call: modes_shop:price, with: {net: "${{ variables.net }}"}}
outputs: {tax: "${{ steps.tax.output }}", gross: "${{ steps.gross.output }}"}
finally: [{id: tidy, output: 1}]
"""
FAILING = """
steps:
  - id: done
    output: 1
    compensate: [{id: undo, output: 1}]
  - {id: bad, uses: fail, with: {message: no, code: inner}}
on_failure: [{id: tell, output: "${{ error.code }}"}]
"""
ITSELF = "steps: [{id: call, workflow: itself}]"

KINDS: dict[str, Case] = {
    "uses": Case(
        """
        steps: [{id: rows, uses: csv.parse, with: {text: "sku,price\\nTEA,8\\n"}}]
        outputs: {sku: "${{ steps.rows.output[0].sku }}"}
        """,
        outputs={"sku": "TEA"},
        completed="rows",
    ),
    "call": Case(
        """
        steps: [{id: priced, call: modes_shop:price, with: {net: 10}, output: {gross: "${{ output }}"}}]
        outputs: {gross: "${{ steps.priced.output.gross }}"}
        """,
        outputs={"gross": 12.0},
        completed="priced",
    ),
    "run": Case(
        """
        variables: {who: {type: string, required: true}}
        env: {WHO: "${{ variables.who }}"}
        steps:
          - id: script
            env: {EXTRA: "${{ 1 + 1 }}"}
            run: |
              printf '{"who": "%s", "extra": %s}' "$WHO" "$EXTRA" > "$STEPWELL_OUTPUT"
          - {run: [printf, "Hello, %s", "${{ variables.who }}"]}
          - {id: elsewhere, run: pwd, cwd: /}
          - {id: plain, shell: sh, run: echo plain}
        outputs:
          json: ${{ steps.script.output.json }}
          at: ${{ steps.elsewhere.output.stdout }}
          plain: ${{ steps.plain.output.stdout }}
        """,
        outputs={"json": {"who": "Ada", "extra": 2}, "at": "/", "plain": "plain"},
        completed="script run-2 elsewhere plain",
        variables={"who": "Ada"},
    ),
    "steps": Case(
        """
        steps:
          - id: group
            name: A group
            description: with a group in it
            steps:
              - {id: a, output: 1}
              - {id: inner, steps: [{id: b, run: "true"}, {id: c, output: "${{ steps.a.output + 1 }}"}]}
            output: ["${{ output }}", "${{ steps.a.output }}"]
        outputs: {all: "${{ steps.group.output }}"}
        """,
        outputs={"all": [2, 1]},
        completed="group group/a group/inner group/inner/b group/inner/c",
    ),
    "parallel": Case(
        """
        max_parallel: 2
        steps:
          - id: both
            parallel:
              - {id: left, run: echo left, output: "${{ output.stdout }}"}
              - {id: right, steps: [{id: deep, run: echo right}, {output: right}]}
              - {run: "true", output: 3}
        outputs: {both: "${{ steps.both.output }}"}
        """,
        outputs={"both": {"left": "left", "right": "right", "run-3": 3}},
        completed="both both/left both/right both/right/deep both/right/output-2 both/run-3",
    ),
    "switch": Case(
        """
        variables: {amount: {type: number, default: 500}}
        steps:
          - id: route
            switch:
              - {if: variables.amount < 100, steps: [{id: low, output: automatic}]}
              - {if: variables.amount < 1000, steps: [{id: middle, run: "true"}, {id: then, output: checked}]}
              - {steps: [{id: high, output: by hand}]}
          - id: default
            switch: [{if: "false", steps: [{output: 1}]}, {steps: [{id: other, run: "true", output: 2}]}]
          - {id: none, switch: [{if: "false", steps: [{output: 1}]}]}
        outputs:
          route: ${{ steps.route.output }}
          other: ${{ steps.default.output }}
          none: ${{ steps.none.output }}
        """,
        outputs={"route": "checked", "other": 2, "none": None},
        completed="route route/middle route/then default default/other none",
    ),
    "race": Case(
        """
        steps:
          - id: first
            race:
              - {id: quick, steps: [{id: a, run: "true"}, {id: b, output: 1}]}
              - {id: slow, wait: 1h}
            output: {what: "${{ output }}", slow: "${{ steps.slow.status }}"}
        outputs: {who: "${{ steps.first.winner }}", what: "${{ steps.first.output }}"}
        """,
        outputs={"who": "quick", "what": {"what": 1, "slow": "cancelled"}},
        completed="first first/quick first/quick/a first/quick/b",
        cancelled="first/slow",
    ),
    "race of child tasks": Case(
        f"""
        steps:
          - id: first
            race:
              - {{id: quick, queue: {CHILDREN}, wait: {{event: modes.decided}}}}
              - {{id: slow, queue: {CHILDREN}, steps: [{{id: nap, wait: 1h}}]}}
        outputs: {{who: "${{{{ steps.first.winner }}}}"}}
        """,
        outputs={"who": "quick"},
        completed="first first/quick",
        cancelled="first/slow",
        children=2,
        acts=[Act("publish", "modes.decided", at="first/slow")],
    ),
    "race that all lose": Case(
        """
        steps:
          - id: first
            race:
              - {id: a, uses: fail, with: {message: a, code: lost}}
              - {id: b, if: "false", output: 1}
              - {id: c, on_error: continue, uses: fail, with: {message: c, code: lost}}
        """,
        status="failed",
        error="lost",
        failed="first first/a first/c",
        skipped="first/b",
    ),
    "workflow": Case(
        """
        steps:
          - {id: priced, workflow: priced, with: {net: 10}, timeout: 1m}
          - {id: each, foreach: [20, 30], workflow: priced, with: {net: "${{ item }}"}}
        outputs: {one: "${{ steps.priced.output.gross }}", all: "${{ steps.each.output | map(attribute='tax') }}"}
        """,
        outputs={"one": 12.0, "all": [4.0, 6.0]},
        completed="""
            priced priced/tax priced/gross priced/workflow.finally/tidy each
            each[0] each[0]/tax each[0]/gross each[0]/workflow.finally/tidy
            each[1] each[1]/tax each[1]/gross each[1]/workflow.finally/tidy
            """,
        others={"priced": PRICED},
    ),
    "workflow that fails": Case(
        """
        steps:
          - {id: call, workflow: failing}
          - {id: never, output: 1}
        """,
        status="failed",
        error="inner",
        completed="call/done call/done/compensate/undo call/workflow.on_failure/tell",
        failed="call call/bad",
        undone=["call/done/compensate/undo"],
        others={"failing": FAILING},
    ),
    "workflow as a child task": Case(
        f"""
        steps:
          - {{id: priced, workflow: priced, with: {{net: 10}}, queue: {CHILDREN}, priority: high}}
          - id: each
            foreach: {{in: [20, 30, 40], max_parallel: 2}}
            workflow: priced
            with: {{net: "${{{{ item }}}}"}}
            queue: {CHILDREN}
            output: ${{{{ output.tax + index }}}}
        outputs: {{one: "${{{{ steps.priced.output.gross }}}}", all: "${{{{ steps.each.output }}}}"}}
        """,
        outputs={"one": 12.0, "all": [4.0, 7.0, 10.0]},
        completed="priced each each[0] each[1] each[2]",
        children=4,
        others={"priced": PRICED},
    ),
    "workflow in itself": Case(
        "steps: [{id: call, workflow: itself}]",
        status="failed",
        error="recursion",
        failed=" ".join("/".join(["call"] * depth) for depth in range(1, 18)),
        others={"itself": ITSELF},
    ),
    "queue": Case(
        f"""
        variables: {{day: {{type: string, default: today}}}}
        steps:
          - {{id: first, run: echo first, output: "${{{{ output.stdout }}}}"}}
          - id: leaf
            queue: {CHILDREN}
            run: [printf, "%s %s", "${{{{ steps.first.output }}}}", "${{{{ variables.day }}}}"]
            output: ${{{{ output.stdout }}}}
          - id: group
            queue: {CHILDREN}
            steps:
              - {{id: inner, run: "true"}}
              - {{id: again, queue: {CHILDREN}, output: "${{{{ steps.leaf.output }}}}!"}}
          - {{id: pure, queue: {CHILDREN}, output: "${{{{ steps.group.output }}}}!"}}
        outputs: {{all: "${{{{ steps.pure.output }}}}"}}
        """,
        outputs={"all": "first today!!"},
        completed="first leaf group pure",
        children=3,
    ),
    "queue that fails": Case(
        f"""
        steps:
          - id: leaf
            queue: {CHILDREN}
            uses: fail
            with: {{message: no, code: child}}
            on_error: continue
            on_failure: [{{id: react, queue: {CHILDREN}, output: "${{{{ error.code }}}}"}}]
          - {{id: told, output: "${{{{ steps.leaf.error.code }}}}"}}
          - {{id: retried, queue: {CHILDREN}, retry: {{max_retries: 1, delay: 1ms}}, run: exit 3}}
        outputs: {{code: "${{{{ steps.told.output }}}}"}}
        """,
        status="failed",
        error="exit_code",
        completed="leaf/on_failure/react told",
        failed="leaf retried",
        children=3,
    ),
    "output": Case(
        """
        steps:
          - {id: value, output: {a: [1, null, "x"], b: "${{ 1 < 2 }}"}}
          - {id: shaped, run: echo 3, output: "${{ output.stdout | int }}"}
        outputs:
          value: ${{ steps.value.output }}
          shaped: ${{ steps.shaped.output }}
          text: it is ${{ steps.shaped.output }}
        """,
        outputs={"value": {"a": [1, None, "x"], "b": True}, "shaped": 3, "text": "it is 3"},
        completed="value shaped",
    ),
    "outputs that cannot be worked out": Case(
        """
        steps: [{id: a, if: false, output: {rows: 3}}]
        outputs: {rows: "${{ steps.a.output.rows }}"}
        finally: [{id: z, output: 1}]
        """,
        status="failed",
        error="expression",
        completed="finally/z",
        skipped="a",
    ),
    "needs": Case(
        """
        steps:
          - {id: a, needs: [], run: echo 1}
          - {id: b, needs: [], run: echo 2}
          - {id: c, needs: [a, b], run: echo 3}
          - {id: d, needs: [], output: "${{ steps.b.output.stdout }}"}
        outputs: {d: "${{ steps.d.output }}"}
        """,
        outputs={"d": "2"},
        completed="a b c d",
    ),
    "needs any of": Case(
        """
        steps:
          - {id: a, needs: [], run: "true"}
          - {id: b, needs: [], wait: 50ms}
          - {id: c, needs: [], wait: 1s}
          - {id: quorum, needs: {any: 2, of: [a, b, c]}, output: "${{ steps.c.status | default('not yet') }}"}
        outputs: {c: "${{ steps.c.status }}"}
        """,
        outputs={"c": "completed"},
        completed="a b c quorum",
    ),
    "if": Case(
        """
        steps:
          - {id: a, run: echo 1}
          - {id: yes, if: steps.a.output.exit_code == 0, run: "true"}
          - {id: no, if: steps.a.output.exit_code == 1, run: "true"}
          - {id: group, if: false, steps: [{id: inner, run: "true"}]}
          - {id: each, if: false, foreach: [1, 2], run: "true"}
          - {id: child, if: false, queue: chat_process, run: "true"}
        outputs: {no: "${{ steps.no.status }}", rows: "${{ steps.no.output.rows | default(0) }}"}
        """,
        outputs={"no": "skipped", "rows": 0},
        completed="a yes",
        skipped="no group each child",
    ),
    "files": Case(
        f"""
        steps:
          - id: make
            run: |
              mkdir parts
              printf 'a\\nb' > parts/one.txt
            files: ["parts/*.txt"]
          - {{id: count, needs_files: [make], run: grep -c "" parts/one.txt}}
          - {{id: child, needs_files: [make], queue: {CHILDREN}, run: cp parts/one.txt two.txt, files: [two.txt]}}
          - {{id: again, needs_files: [child], run: cat two.txt}}
        outputs:
          size: ${{{{ steps.make.files['parts/one.txt'].size }}}}
          lines: ${{{{ steps.count.output.stdout }}}}
          text: ${{{{ steps.again.output.stdout }}}}
        """,
        outputs={"size": 3, "lines": "2", "text": "a\nb"},
        completed="make count child again",
        children=1,
    ),
    "secrets": Case(
        f"""
        variables: {{password: {{type: secret, required: true}}}}
        steps:
          - id: told
            secrets: [MODES_TOKEN]
            env: {{TOKEN: "${{{{ secrets.MODES_TOKEN }}}}", PASSWORD: "${{{{ variables.password }}}}"}}
            run: echo "${{TOKEN}} $PASSWORD"
          - id: length
            queue: {CHILDREN}
            secrets: [MODES_TOKEN]
            output: ["${{{{ secrets.MODES_TOKEN | length }}}}", "${{{{ variables.password | length }}}}"]
        outputs: {{told: "${{{{ steps.told.output.stdout }}}}", length: "${{{{ steps.length.output }}}}"}}
        """,
        outputs={"told": "*** ***", "length": [len(TOKEN), len("open sesame")]},
        completed="told length",
        children=1,
        variables={"password": "open sesame"},
    ),
    "variables and names": Case(
        """
        id: case_variables_and_names
        version: 3
        labels: {team: shop}
        secrets: [MODES_TOKEN]
        variables:
          day: {type: date, required: true}
          pause: {type: duration, default: 5m}
        steps:
          - {id: first, run: "true", output: ["${{ uuid() }}", "${{ random() }}", "${{ now() }}"]}
          - {id: second, run: "true", output: "${{ steps.first.output }}"}
          - {id: all, output: "${{ [variables.day, variables.pause, task.workflow, task.labels.team, trigger.kind] }}"}
        outputs: {same: "${{ steps.first.output == steps.second.output }}", all: "${{ steps.all.output }}"}
        """,
        outputs={"same": True, "all": ["2026-03-01", 300, "case_variables_and_names", "shop", "api"]},
        completed="first second all",
        variables={"day": "2026-03-01"},
    ),
}  # fmt: skip
