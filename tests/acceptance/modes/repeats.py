"""Steps that run more than once: for items, in rounds, again after a failure."""

from __future__ import annotations

from tests.acceptance.modes.cases import CHILDREN, Case

REPEATS: dict[str, Case] = {
    "foreach": Case(
        """
        steps:
          - {id: one, foreach: [a, b, c], run: [echo, "${{ item }}${{ index }}"], output: "${{ output.stdout }}"}
          - id: groups
            foreach: {in: "range(3)", as: n, max_parallel: 3}
            steps: [{id: inner, run: [echo, "${{ n }}"]}, {id: last, output: "${{ n * 2 }}"}]
          - {id: none, foreach: [], run: "true"}
        outputs:
          one: ${{ steps.one.output }}
          groups: ${{ steps.groups.output }}
          none: ${{ steps.none.output }}
        """,
        outputs={"one": ["a0", "b1", "c2"], "groups": [0, 2, 4], "none": []},
        completed="""
            one one[0] one[1] one[2] groups none
            groups[0] groups[0]/inner groups[0]/last groups[1] groups[1]/inner groups[1]/last
            groups[2] groups[2]/inner groups[2]/last
            """,
    ),
    "foreach that tolerates": Case(
        """
        steps:
          - id: half
            foreach: {in: [2, 3, 4], max_parallel: 3, on_item_error: continue}
            steps:
              - {id: odd, if: item is odd, uses: fail, with: {message: odd}}
              - {id: shared, output: "${{ item // 2 }}"}
          - {id: some, foreach: {in: [1, 0, 2], max_failed: 1}, call: modes_shop:price, with: {net: "${{ 1 / item }}"}}
        outputs:
          half: ${{ steps.half.output }}
          failed: ${{ steps.half.failures | map(attribute='index') }}
          some: ${{ steps.some.failures | map(attribute='item') }}
        """,
        outputs={"half": [1, None, 2], "failed": [1], "some": [0]},
        completed="half half[0] half[0]/shared half[2] half[2]/shared some some[0] some[2]",
        failed="half[1] half[1]/odd some[1]",
        skipped="half[0]/odd half[2]/odd",
    ),
    "foreach with too many failures": Case(
        """
        steps:
          - id: each
            foreach: {in: [1, 2, 3, 4], max_failed: "25%"}
            uses: fail
            with: {message: "no ${{ item }}", code: bad}
        """,
        status="failed",
        error="bad",
        failed="each each[0] each[1]",
    ),
    "foreach until enough": Case(
        """
        steps: [{id: each, foreach: {in: [1, 2, 3, 4], stop_after: 2}, run: "true", output: "${{ item }}"}]
        outputs: {each: "${{ steps.each.output }}"}
        """,
        outputs={"each": [1, 2, None, None]},
        completed="each each[0] each[1]",
    ),
    "foreach with queue": Case(
        f"""
        steps:
          - {{id: base, run: echo 10, output: "${{{{ output.stdout | int }}}}"}}
          - id: each
            foreach: {{in: "range(6)", as: n, max_parallel: 2}}
            queue: {CHILDREN}
            steps:
              - {{id: inner, run: "true"}}
              - {{id: last, output: "${{{{ steps.base.output * n + index }}}}"}}
        outputs: {{each: "${{{{ steps.each.output }}}}"}}
        """,
        outputs={"each": [0, 11, 22, 33, 44, 55]},
        completed="base each each[0] each[1] each[2] each[3] each[4] each[5]",
        children=6,
    ),
    "foreach with queue that tolerates": Case(
        f"""
        steps:
          - id: each
            foreach: {{in: [2, 3, 4], on_item_error: continue}}
            queue: {CHILDREN}
            steps:
              - {{if: item is odd, uses: fail, with: {{message: odd, code: odd}}}}
              - {{output: "${{{{ item // 2 }}}}"}}
        outputs:
          each: ${{{{ steps.each.output }}}}
          failed: ${{{{ steps.each.failures | map(attribute='index') }}}}
        """,
        outputs={"each": [1, None, 2], "failed": [1]},
        completed="each each[0] each[2]",
        failed="each[1]",
        children=3,
    ),
    "foreach with queue that fails": Case(
        f"""
        steps:
          - id: each
            foreach: {{in: [1, 2, 3, 4], max_failed: 1}}
            queue: {CHILDREN}
            steps: [{{uses: fail, with: {{message: no, code: bad}}}}]
        finally: [{{id: z, output: 1}}]
        """,
        status="failed",
        error="bad",
        completed="finally/z",
        failed="each each[0] each[1]",
        children=4,
    ),
    "foreach with queue until enough": Case(
        f"""
        steps:
          - {{id: each, queue: {CHILDREN}, foreach: {{in: [1, 2, 3, 4], stop_after: 2}}, output: "${{{{ item }}}}"}}
        outputs: {{each: "${{{{ steps.each.output }}}}"}}
        """,
        outputs={"each": [1, 2, None, None]},
        completed="each each[0] each[1]",
        children=4,
    ),
    "until": Case(
        """
        steps:
          - id: poll
            run: [echo, "${{ index + 1 }}"]
            output: ${{ output.stdout | int }}
            until: output >= 3
            every: 1ms
          - {id: group, until: index == 1, steps: [{id: inner, run: "true"}]}
        outputs: {rounds: "${{ steps.poll.output }}"}
        """,
        outputs={"rounds": 3},
        completed="poll poll[0] poll[1] poll[2] group group[0] group[0]/inner group[1] group[1]/inner",
    ),
    "until with queue": Case(
        f"""
        steps: [{{id: poll, queue: {CHILDREN}, output: "${{{{ index }}}}", until: output == 1, every: 1ms}}]
        outputs: {{last: "${{{{ steps.poll.output }}}}"}}
        """,
        outputs={"last": 1},
        completed="poll poll[0] poll[1]",
        children=2,
    ),
    "until too often": Case(
        "steps: [{id: poll, run: 'true', until: index == 9, every: 1ms, max_times: 2}]",
        status="failed",
        error="max_times",
        completed="poll[0] poll[1]",
        failed="poll",
    ),
    "retry": Case(
        """
        steps:
          - id: flaky
            run: test "$STEPWELL_ATTEMPT" -ge 3
            retry:
              {max_retries: 5, delay: 1ms, backoff: 1, max_delay: 2ms, jitter: false, if: "error.code == 'exit_code'"}
          - {id: group, retry: {max_retries: 1, delay: 1ms}, steps: [{id: inner, run: "true"}]}
        outputs: {often: "${{ steps.flaky.attempts >= 3 }}"}
        """,
        outputs={"often": True},
        completed="flaky group group/inner",
    ),
    "retry in vain": Case(
        """
        defaults: {retry: {max_retries: 2, delay: 1ms}, timeout: 1m}
        steps:
          - {id: a, on_error: continue, run: exit 3}
          - {id: b, on_error: continue, uses: fail, with: {message: no, code: other}, retry: 5}
          - {id: c, run: exit 4, retry: {max_retries: 5, delay: 1ms, if: "'never' in error.message"}}
        """,
        status="failed",
        error="exit_code",
        failed="a b c",
    ),
    "timeout": Case(
        """
        steps:
          - {id: script, on_error: continue, timeout: 100ms, run: sleep 60}
          - {id: group, timeout: 200ms, steps: [{id: nap, uses: sleep, with: {seconds: 60}}]}
        """,
        status="failed",
        error="timeout",
        failed="script group group/nap",
    ),
    "timeout of the task": Case(
        """
        timeout: 300ms
        steps: [{id: nap, uses: sleep, with: {seconds: 60}}, {id: never, output: 1}]
        finally: [{id: z, run: "true"}]
        """,
        status="failed",
        error="timeout",
        completed="finally/z",
        failed="nap",
    ),
}  # fmt: skip
