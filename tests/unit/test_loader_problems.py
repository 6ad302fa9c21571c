"""What people are told about a file that is wrong: every message, with its place, as they read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

import stepwell.actions  # noqa: F401 - registers the actions
from stepwell.errors import DefinitionError, Fail
from stepwell.loader import load
from stepwell.registry import Action, actions


class Bad(NamedTuple):
    """A file and what is said of it, each as `line:column: message`."""

    text: str
    problems: list[str]


def fetch(region: str, day: str, retries: int = 0) -> list[int]:
    return []


def anything(**values: object) -> object:
    return values


def resolve_call(target: str) -> Action:
    functions: dict[str, Callable[..., object]] = {"shop:fetch": fetch, "shop:anything": anything}
    if target not in functions:
        raise Fail(f"call: there is no function {target!r}", code="invalid", retryable=False)
    return Action(f"call {target}", functions[target])


def problems(text: str, **options: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(text, "f.yaml", registry=actions, resolve_call=resolve_call, **options)  # type: ignore[arg-type]
    return [f"{problem.line}:{problem.column}: {problem.message}" for problem in caught.value.problems]


def corrected(text: str) -> list[str | None]:
    with pytest.raises(DefinitionError) as caught:
        load(text, "f.yaml", registry=actions, resolve_call=resolve_call)
    return [problem.corrected for problem in caught.value.problems]


SHAPE = {
    "an empty file": Bad("", ["1:1: the file is empty: a workflow needs `steps`"]),
    "a list of steps": Bad("- uses: log\n", ["1:1: a workflow must be a mapping with `steps`, not a list"]),
    "no steps": Bad("name: x\n", ["1:1: a workflow needs `steps`"]),
    "empty steps": Bad("steps: []\n", ["1:8: `steps` is empty: it needs at least one of its steps"]),
    "steps by name": Bad(
        "steps:\n  fetch: {uses: log}\n",
        ["2:3: `steps` must be a list of steps, not an object: begin each of them with '- '"],
    ),
    "unknown key of the workflow": Bad(
        "step: []\nsteps: [{output: 1}]\n", ["1:1: unknown key 'step' of a workflow (did you mean 'steps'?)"]
    ),
    "unknown key of a step": Bad(
        "steps:\n  - output: 1\n    ned: [a]\n", ["3:5: unknown key 'ned' of a step (did you mean 'needs'?)"]
    ),
    "Python's spelling of a key": Bad(
        "steps:\n  - output: 1\n    if_: true\n", ["3:5: unknown key 'if_' of a step (did you mean 'if'?)"]
    ),
    "unknown key of retry": Bad(
        "steps:\n  - uses: stop\n    retry: {max: 3}\n",
        ["3:13: unknown key 'max' of `retry`"],
    ),
    "keys of later versions": Bad(
        "notify: []\ntriggers: [{cron: 0 5 * * *}, {webhook: {secret: A}, if: true}]\n"
        "steps:\n  - cache: {key: a}\n  - {uses: stop, rate_limit: {limit: 1}}\n",
        [
            "1:1: `notify` is not supported yet",
            "2:13: `cron` is not supported yet",
            "2:32: `webhook` is not supported yet",
            "4:5: `cache` is not supported yet",
            "5:18: `rate_limit` is not supported yet",
        ],
    ),
    "a key without a value": Bad(
        "steps:\n  - output: 1\n    if:\n", ["3:5: `if` has no value: give it one, or remove the key"]
    ),
    "a step that is text": Bad("steps: [log]\n", ['1:9: a step must be a mapping, not the string "log"']),
    "an empty step": Bad(
        "steps: [{}]\n",
        [
            "1:9: a step is empty: it needs one of `uses`, `call`, `run`, `steps`, `parallel`, `switch`, `race`, "
            "`wait` or `workflow`, or `output` for a pure value"
        ],
    ),
    "wrong types": Bad(
        "name: 5\nlabels: {team: 7}\ntimeout: 5 minutes\nmax_parallel: 0\npriority: asap\nsteps:\n"
        '  - {id: my-step, uses: stop, on_error: ignore, timeout: [1], retry: "3"}\n',
        [
            "1:7: `name` must be text, not 5: put it in quotes",
            "2:16: the label 'team' must be text, not a number: put it in quotes",
            '3:10: `timeout` must be a duration: seconds, or 500ms, 30s, 5m, 2h, 1d, not the string "5 minutes"',
            "4:15: `max_parallel` must be a whole number from 1 to 1000, not 0",
            '5:11: `priority` must be low, normal, high, urgent, or a number from 0 to 10, not the string "asap"',
            "7:10: `id` must be letters of any script, digits and _, not beginning with a digit, at most 100, not "
            'the string "my-step"',
            '7:41: `on_error` must be fail or continue, not the string "ignore"',
            "7:58: `timeout` must be a duration: seconds, or 500ms, 30s, 5m, 2h, 1d, not a list",
            '7:70: `retry` must be a whole number, or {max_retries: …, delay: …}, not the string "3"',
        ],
    ),
    "text where a list belongs": Bad(
        "secrets: TOKEN\nsteps:\n  - {id: a, output: 1}\n  - {output: 2, needs: a}\n  - {uses: stop, files: a.csv}\n",
        [
            '1:10: `secrets` must be a list of names, not the string "TOKEN": write [TOKEN]',
            '4:24: `needs` must be a list of ids of steps, or {any: 2, of: [a, b, c]}, not the string "a": write [a]',
            "5:25: `files` must be a list of globs like '*.csv', not the string \"a.csv\": write [a.csv]",
        ],
    ),
    "one message for each value": Bad(
        "steps:\n  - {output: 1, needs: [1, 2]}\n  - {output: 1, needs: {any: a, of: b}}\n",
        [
            "2:25: `needs` must be a list of ids of steps, or {any: 2, of: [a, b, c]}; 1 in it does not fit",
            "2:28: `needs` must be a list of ids of steps, or {any: 2, of: [a, b, c]}; 2 in it does not fit",
            '3:30: `any` must be a whole number of 1 or more, not the string "a"',
            '3:37: `of` must be a list of ids of steps, not the string "b": write [b]',
        ],
    ),
    "foreach": Bad(
        "steps:\n  - output: 1\n    foreach: {max_parallel: many, max_failed: 500%, as: 1st}\n",
        [
            "3:14: `foreach` needs `in`",
            '3:29: `max_parallel` must be a whole number, or an expression in ${{ }}, not the string "many"',
            '3:47: `max_failed` must be a whole number, or a share like 5%, not the string "500%"',
            "3:57: `as` must be letters of any script, digits and _, not beginning with a digit, at most 100, not "
            'the string "1st"',
        ],
    ),
    "a reserved id": Bad(
        "id: tasks\nsteps: [{output: 1}]\n", ["1:5: the workflow id 'tasks' is reserved: choose another"]
    ),
    "a malformed id": Bad(
        "id: my flow\nsteps: [{output: 1}]\n",
        ['1:5: `id` must be letters of any script, digits, _ and -, at most 100, not the string "my flow"'],
    ),
    "booleans are not guessed": Bad(
        "variables: {a: {type: string, required: yes}}\nsteps: [{output: 1}]\n",
        ['1:41: `required` must be true or false, not the string "yes"'],
    ),
}

KINDS = {
    "two kinds": Bad(
        "steps:\n  - uses: log\n    call: a:b\n    with: {message: x}\n",
        [
            "3:5: a step has exactly one of `uses`, `call`, `run`, `steps`, `parallel`, `switch`, `race`, "
            "`wait` or `workflow`; this has `uses` and `call`"
        ],
    ),
    "no kind": Bad(
        "steps:\n  - id: a\n    timeout: 5s\n",
        [
            "2:5: a step needs one of `uses`, `call`, `run`, `steps`, `parallel`, `switch`, `race`, "
            "`wait` or `workflow`, or `output` for a pure value",
            "3:5: `timeout` is only for work that takes time, not a pure value",
        ],
    ),
    "keys of another kind": Bad(
        "steps:\n"
        "  - {run: ls, with: {a: 1}}\n"
        "  - {uses: stop, env: {A: b}, shell: sh, cwd: x}\n"
        "  - {run: [ls], shell: sh}\n"
        "  - {output: 1, retry: 3, timeout: 5s}\n"
        "  - {steps: [{output: 1}], files: ['*'], on_crash: fail}\n"
        "  - {output: 1, every: 5s, max_times: 3}\n"
        "  - {output: 1, until: true, foreach: [1]}\n"
        "  - {run: ''}\n",
        [
            "2:15: `with` is only for `uses`, `call` or `workflow`",
            "3:18: `env` is only for `run`",
            "3:31: `shell` is only for `run`",
            "3:42: `cwd` is only for `run`",
            "4:17: `shell` is only for scripts: a list is run without a shell",
            "5:17: `retry` is only for work that can fail, not a pure value",
            "5:27: `timeout` is only for work that takes time, not a pure value",
            "6:28: `files` is only for `uses`, `call` or `run`",
            "6:42: `on_crash` is only for `uses`, `call` or `run`",
            "7:17: `every` is only for `until`",
            "7:28: `max_times` is only for `until`",
            "8:17: a step has `foreach` or `until`, not both: put the step with `until` into a group with `foreach`",
            "9:6: `run` is empty: it needs a script, or a program and its arguments",
        ],
    ),
    "time limits of no time": Bad(
        "timeout: 0s\ndefaults: {timeout: 0}\nsteps:\n"
        "  - {uses: stop, timeout: 0ms}\n"
        "  - {run: ls, timeout: '0'}\n"
        "  - {run: ls, timeout: 0.0h}\n",
        [
            "1:10: `timeout` must be more than 0; leave it out for no limit",
            "2:21: `timeout` must be more than 0; leave it out for no limit",
            "4:27: `timeout` must be more than 0; leave it out for no limit",
            "5:24: `timeout` must be more than 0; leave it out for no limit",
            "6:24: `timeout` must be more than 0; leave it out for no limit",
        ],
    ),
    "numbers that are too small": Bad(
        "steps:\n"
        "  - {uses: stop, timeout: 0, retry: {max_retries: -1}}\n"
        "  - {output: 1, until: true, max_times: 0}\n"
        "  - {output: 1, foreach: {in: [1], max_parallel: 0, stop_after: 0, max_failed: -1}}\n",
        [
            "2:27: `timeout` must be more than 0; leave it out for no limit",
            "2:51: `max_retries` must be at least 0, not -1",
            "3:41: `max_times` must be at least 1, not 0",
            "4:50: `max_parallel` must be at least 1, not 0",
            "4:65: `stop_after` must be at least 1, not 0",
            "4:80: `max_failed` must be at least 0, not -1",
        ],
    ),
    "foreach.as hides a name": Bad(
        "steps:\n  - {output: 1, foreach: {in: [1], as: steps}}\n",
        ["2:40: `steps` means something else: choose another name"],
    ),
    "a default case that is not the last": Bad(
        "steps:\n  - switch: [{steps: [{output: 1}]}, {if: true, steps: [{output: 2}]}]\n",
        ["2:5: case 1 has no `if`, so none after it is ever taken: put it last"],
    ),
}

NAMES = {
    "unknown names": Bad(
        "variables: {day: date}\nsteps: [{output: 1}]\n", ["1:18: a variable must be a mapping: write {type: date}"]
    ),
    "variables": Bad(
        "variables:\n"
        "  day: {type: date, default: tomorrow}\n"
        "  box: {type: object, fields: {width: number}}\n"
        "  n: {type: intger}\n"
        "  m: {}\n"
        "steps:\n"
        "  - output: ${{ variables.dya + variables.box.heigth + variables.day.year + variables.m }}\n",
        [
            '2:30: `default`: the string "tomorrow" does not fit: must be a date like 2026-11-21, '
            'not the string "tomorrow"',
            "4:13: there is no type the string \"intger\" (did you mean 'integer'?); types are string, integer, "
            "number, boolean, date, datetime, duration, list, object, file, secret, any",
            "5:6: the variable 'm' needs a `type`: one of string, integer, number, boolean, date, datetime, "
            "duration, list, object, file, secret, any",
            "7:17: unknown variable 'dya' (did you mean 'day'?)",
            "7:33: variables.box has no field 'heigth'",
            "7:56: variables.day is of type date and has no 'year'",
        ],
    ),
    "roots": Bad(
        "variables: {day: {type: date}}\n"
        "steps:\n"
        "  - {id: first, output: 1}\n"
        "  - output: ${{ variable.day ~ inputs.day ~ day ~ first ~ nonsense ~ now ~ task.name ~ now() }}\n",
        [
            "4:17: unknown name 'variable' (did you mean 'variables'?)",
            "4:32: unknown name 'inputs' (did you mean 'variables'?)",
            "4:45: unknown name 'day': write variables.day",
            "4:51: unknown name 'first': write steps.first.output",
            "4:59: unknown name 'nonsense'",
            "4:70: `now` is a function: write now()",
            "4:76: `task` has no 'name'; it has id, workflow, attempt, priority, labels, created_at",
        ],
    ),
    "names where they are not": Bad(
        "steps:\n"
        "  - {uses: log, with: {message: '${{ item ~ index ~ error.code ~ output }}'}}\n"
        "  - {output: '${{ region }}', foreach: {in: [a], as: region}, if: region == 'a'}\n"
        "  - {output: '${{ item }}', foreach: {in: [a], as: region}}\n"
        "  - {uses: stop, on_failure: [{output: '${{ error.mesage }}'}]}\n",
        [
            "2:38: there is no `item` here: it is known in a step with `foreach`, and inside it",
            "2:45: there is no `index` here: it is known in a step with `foreach` or `until`, and inside it",
            "2:53: there is no `error` here: it is known in `on_failure`, `compensate` and `retry`; of a step that may "
            "fail, write steps.<id>.error",
            "2:66: there is no `output` here: it is known in `output` and `until` of a step; elsewhere write "
            "steps.<id>.output",
            "3:67: `region` is not known in `if`, which is asked once, before the first item or round",
            "4:19: there is no `item` here: it is known in a step with `foreach`, and inside it",
            "5:45: `error` has no 'mesage' (did you mean 'message'?); it has code, message, step, path, attempt, "
            "retryable, status",
        ],
    ),
    "names that were not rightly declared are not told again": Bad(
        "variables: {my-day: {type: date}, n: {}}\n"
        "steps:\n"
        "  - output: ${{ variables['my-day'] ~ variables.n }}\n"
        "  - {output: '${{ item }}', foreach: 5}\n"
        "  - {uses: log, with: [x]}\n",
        [
            "1:13: a variable is named with letters of any script, digits and _, not beginning with a digit, "
            "at most 100, not 'my-day'",
            "1:38: the variable 'n' needs a `type`: one of string, integer, number, boolean, date, datetime, duration, "
            "list, object, file, secret, any",
            "4:38: `foreach` must be an expression that gives a list, a list, or {in: …, as: …}, not 5",
            "5:23: `with` must be a mapping from inputs to values, not a list",
        ],
    ),
    "variables that are no mapping": Bad(
        "variables: [x]\nsteps: [{output: '${{ variables.day }}'}]\n",
        ["1:12: `variables` must be a mapping, not a list"],
    ),
    "error after a success": Bad(
        "steps: [{output: 1}]\n"
        "finally:\n"
        "  - {uses: log, with: {message: '${{ error.message }}'}}\n"
        "  - {uses: log, with: {message: '${{ error.message | default(1) }}'}}\n"
        "  - {uses: log, with: {message: '${{ error.message }}'}, if: error is defined}\n",
        ["3:38: there is an `error` here only if the task failed: add `if: error is defined`"],
    ),
    "secrets": Bad(
        "secrets: [A]\n"
        "env: {X: '${{ secrets.A }}'}\n"
        "outputs: {x: '${{ secrets.A }}'}\n"
        "steps:\n"
        "  - {run: ls, secrets: [B], env: {A: '${{ secrets.A }}', B: '${{ secrets.B }}', C: '${{ secrets.C }}'}}\n",
        [
            "3:19: the secret 'A' may not be read: only steps read secrets",
            "5:89: the secret 'C' may not be read: add it to `secrets` of the step or workflow",
        ],
    ),
    "the workflow's own keys": Bad(
        "env: {X: '${{ steps.a.output }}'}\n"
        "timeout: ${{ task.attempt }}s\n"
        "defaults: {retry: {if: steps.a.status == error.code}}\n"
        "outputs: {x: '${{ steps.b.output }}'}\n"
        "labels: {day: '${{ variables.day }}'}\n"
        "steps: [{id: a, output: 1}]\n",
        [
            "1:15: `env` of the workflow is the same for every step: put what reads a step into the step's own `env`",
            "2:14: the time limit is known before the first step: it can read `variables` only",
            "3:24: `defaults` are the same for every step: put what reads a step into that step",
            "4:19: unknown step 'b'",
            "5:15: `day` is taken as it is written: no expression may stand in it",
        ],
    ),
    "expressions where none may stand": Bad(
        'steps:\n  - {uses: "${{ x }}", name: "${{ x }}", files: ["${{ x }}"]}\n',
        [
            "2:12: `uses` is taken as it is written: no expression may stand in it",
            "2:30: `name` is taken as it is written: no expression may stand in it",
            "2:50: `files` is taken as it is written: no expression may stand in it",
        ],
    ),
}

STEPS = {
    "ids": Bad(
        "steps:\n  - {id: a, output: 1}\n  - steps: [{id: a, output: 2}]\n",
        ["3:18: the id 'a' is taken by the step in line 2"],
    ),
    "unknown steps": Bad(
        "steps:\n"
        "  - {id: fetch, output: 1}\n"
        "  - {output: '${{ steps.fech.output }}', needs: [fethc, nothing]}\n"
        "  - {run: ls, needs_files: [fetch, ftch]}\n",
        [
            "3:19: unknown step 'fech' (did you mean 'fetch'?)",
            "3:50: unknown step 'fethc' (did you mean 'fetch'?)",
            "3:57: unknown step 'nothing'",
            "4:29: step 'fetch' keeps no files: give it `files`",
            "4:36: unknown step 'ftch' (did you mean 'fetch'?)",
        ],
    ),
    "members of a step": Bad(
        "steps:\n"
        "  - {id: a, run: ls}\n"
        "  - {id: each, foreach: [1], output: 1}\n"
        "  - {id: both, parallel: [{id: one, output: 1}, {output: 2}]}\n"
        "  - {id: made, output: {total: 1}}\n"
        "  - output: ${{ steps.a.rows ~ steps.a.ouput ~ steps.a.output.stdot ~ steps.each.output.x }}\n"
        "  - output: ${{ steps.both.output.two ~ steps.both.output.one ~ steps.made.output.totl }}\n"
        "  - output: ${{ steps.a.error.mesage ~ steps.a.output.x | default(1) }}\n",
        [
            "6:17: a step has no 'rows': write steps.a.output.rows; it has output, status, error, attempts, "
            "failures, files",
            "6:32: a step has no 'ouput' (did you mean 'output'?): write steps.a.output.ouput; it has output, "
            "status, error, attempts, failures, files",
            "6:48: steps.a.output has no 'stdot' (did you mean 'stdout'?); it has exit_code, stdout, json",
            "6:71: steps.each.output is a list, one for each item: take one like [0], or `| map(attribute=…)`",
            "7:17: steps.both.output has no 'two'; it has one, output-2",
            "7:65: steps.made.output has no 'totl' (did you mean 'total'?); it has total",
            "8:17: steps.a.error has no 'mesage' (did you mean 'message'?); it has code, message, step, path, "
            "attempt, retryable, status",
        ],
    ),
    "what cannot have run": Bad(
        "steps:\n"
        "  - {id: a, output: '${{ steps.b.output }}'}\n"
        "  - {id: b, output: '${{ steps.b.output }}'}\n"
        "  - {id: c, steps: [{output: '${{ steps.c.output }}'}, {output: '${{ steps.d.output }}'}]}\n"
        "  - {id: d, output: 1}\n",
        [
            "2:26: step 'b' runs after this one: nothing of it is known yet",
            "3:26: step 'b' cannot read itself: what it gives is not known yet",
            "4:35: step 'c' is the group that this step is in: what it gives is not known yet",
            "4:70: step 'd' runs after this one: nothing of it is known yet",
        ],
    ),
    "what runs later by needs": Bad(
        "steps:\n"
        "  - {id: a, output: 1, needs: [b]}\n"
        "  - {id: b, needs: [], output: '${{ steps.a.output }}'}\n"
        "  - {id: c, run: ls, needs_files: [d]}\n"
        "  - {id: d, run: ls, files: [x]}\n",
        [
            "3:37: step 'a' runs after this one: nothing of it is known yet",
            "4:36: step 'd' runs after this one: nothing of it is known yet",
        ],
    ),
    "inside of the step itself": Bad(
        "steps:\n  - {if: steps.in_g.output, steps: [{id: in_g, output: 1}], output: '${{ steps.in_g.output }}'}\n",
        ["2:10: step 'in_g' is inside this step, of which only `output` and `until` see it"],
    ),
    "inside of other groups": Bad(
        "steps:\n"
        "  - {id: g, steps: [{id: in_g, output: 1}]}\n"
        "  - {id: p, parallel: [{id: in_p, output: 1}]}\n"
        "  - {steps: [{id: nameless, output: 1}]}\n"
        "  - {id: f, uses: stop, on_failure: [{id: in_f, output: 1}]}\n"
        "  - id: s\n"
        "    switch:\n"
        "      - {if: true, steps: [{id: one, output: 1}]}\n"
        "      - {steps: [{id: two, output: '${{ steps.one.output }}'}]}\n"
        "  - {output: '${{ [steps.in_g.output, steps.in_p.output, steps.nameless.output, steps.in_f.output] }}'}\n"
        "  - {output: '${{ steps.end.output }}', needs: [in_g, s]}\n"
        "finally: [{id: end, output: '${{ steps.g.output }}'}]\n",
        [
            "9:41: step 'one' is in another case of this switch: only one of them runs",
            "10:20: step 'in_g' is inside 'g', and from outside only the group is seen: write steps.g.output",
            "10:39: step 'in_p' is inside 'p', and from outside only the group is seen: write steps.p.output.in_p",
            "10:58: step 'nameless' is inside the group steps-3: give that an `id` and refer to its output",
            "10:81: step 'in_f' is in `on_failure` of 'f' and seen only there",
            "11:19: step 'end' is in `finally` of the workflow and seen only there",
            "11:49: step 'in_g' is inside 'g': `needs` names steps of its own list, here 'g'",
        ],
    ),
    "needs": Bad(
        "steps:\n"
        "  - {id: a, output: 1, needs: [c]}\n"
        "  - {id: b, output: 1, needs: [a, b]}\n"
        "  - {id: c, output: 1, needs: [b]}\n"
        "  - {id: g, steps: [{output: 1, needs: [a, g]}]}\n"
        "  - {output: 1, needs: {any: 3, of: [a, b]}}\n",
        [
            "2:31: a waits for c, which comes after it: a → b → c → a",
            "3:35: a step cannot need itself",
            "5:41: step 'a' is not in this list: `needs` names steps of its own list; put it on the group around this",
            "5:44: step 'g' is the group that this step is in",
            "6:24: `any` is 3, but `of` names only 2 steps",
        ],
    ),
    "readings that make a cycle": Bad(
        "steps:\n"
        "  - parallel:\n"
        "      - {id: a, output: '${{ steps.b.output }}'}\n"
        "      - {id: b, output: '${{ steps.a.output }}'}\n",
        ["3:30: a waits for b, which comes after it: a → b → a"],
    ),
}

INPUTS = {
    "unknown actions": Bad(
        "steps:\n  - {uses: logg}\n  - {call: 'shop:fech'}\n  - {call: shop.fetch}\n",
        [
            "2:12: unknown action 'logg' (did you mean 'log'?)",
            "3:12: there is no function 'shop:fech'",
            '4:12: `call` must be module:function, not the string "shop.fetch"',
        ],
    ),
    "names of inputs": Bad(
        "steps:\n"
        "  - {uses: log}\n"
        "  - {uses: log, with: {mesage: x}}\n"
        "  - {call: 'shop:fetch', with: {region: eu, dya: x}}\n"
        "  - {call: 'shop:anything', with: {really: [1]}}\n",
        [
            "2:12: log needs the input 'message'",
            "3:24: log has no input 'mesage' (did you mean 'message'?); it has message, level",
            "4:45: shop:fetch has no input 'dya' (did you mean 'day'?); it has region, day, retries",
        ],
    ),
    "literal values": Bad(
        "steps:\n"
        "  - {call: 'shop:fetch', with: {region: 5, day: '${{ now() }}', retries: many}}\n"
        "  - {uses: stop, with: {status: done}}\n",
        [
            "2:41: 'region' of shop:fetch must be a valid string, not 5",
            "2:74: 'retries' of shop:fetch must be a valid integer, not the string \"many\"",
            "3:33: 'status' of stop must be 'completed' or 'cancelled', not the string \"done\"",
        ],
    ),
}

EXPRESSIONS = {
    "places in every kind of text": Bad(
        "steps:\n"
        "  - if: variables.x &&\n"
        "      true\n"
        "    output: 1\n"
        "  - output: 'it''s ${{ nonsense }}'\n"
        '  - output: "tab\\t\\u00e9 ${{ nonsense }}"\n'
        "  - output: |\n"
        "      first\n"
        "        second ${{ nonsense }}\n"
        "  - output: >-\n"
        "      folded\n"
        "      second ${{ nonsense }}\n"
        "  - output: plain\n"
        "      goes on\n"
        "\n"
        "\n"
        "      and on ${{ nonsense }}\n"
        "  - output: &anchor ${{ nonsense }}\n"
        "  - output: *anchor\n",
        [
            "2:21: unexpected '&&'; write `and` for `&&`",
            "5:24: unknown name 'nonsense'",
            "6:30: unknown name 'nonsense'",
            "9:20: unknown name 'nonsense'",
            "12:18: unknown name 'nonsense'",
            "17:18: unknown name 'nonsense'",
            "18:25: unknown name 'nonsense'",
            "19:13: unknown name 'nonsense'",
        ],
    ),
    "syntax": Bad(
        "steps:\n"
        "  - {output: '${{ 1 + }}'}\n"
        "  - {output: 'x ${{ 1'}\n"
        "  - {output: 1, if: '{{ true }}'}\n"
        "  - {output: '${{ [1].append(2) }}', if: '${{ 1 }} or ${{ 2 }}'}\n",
        [
            "2:22: the expression ends too early",
            "3:17: `${{` is never closed by `}}`",
            "4:22: unexpected '{{'; leave out the inner `{{ }}`: this is an expression already",
            "5:29: unknown method 'append'; write `list + [item]`",
            "5:43: a bare expression is expected, or one wholly in `${{ }}`",
        ],
    ),
    "text that was meant as a value": Bad(
        "variables: {day: {type: date}}\n"
        "steps:\n"
        "  - {id: fetch, output: variables.day}\n"
        "  - uses: log\n"
        "    with: {message: steps.fetch.output, level: '{{ variables.day }}'}\n"
        "  - uses: log\n"
        "    with: {message: steps.nobody.output, level: '{{ whatever }}'}\n",
        [
            '3:25: this is text, not a value: write "${{ variables.day }}"',
            '5:21: this is text, not a value: write "${{ steps.fetch.output }}"',
            "5:48: an expression is written `${{ … }}`; `{{ … }}` is text",
        ],
    ),
    "scripts": Bad(
        "variables: {day: {type: date}}\n"
        "steps:\n"
        "  - run: |\n"
        "      docker inspect --format '{{.State}}'\n"
        "      tar czf orders-${{ variables.day | replace('-', '') }}.tgz\n"
        "  - run: echo {{ variables.day }}\n",
        [
            '5:22: no expression may stand in a script, because its value could run as code: write "$DAY" here '
            "and, beside `run`, env: {DAY: \"${{ variables.day | replace('-', '') }}\"}",
            '6:15: no expression may stand in a script, because its value could run as code: write "$DAY" here '
            'and, beside `run`, env: {DAY: "${{ variables.day }}"}',
        ],
    ),
}

ALL = {**SHAPE, **KINDS, **NAMES, **STEPS, **INPUTS, **EXPRESSIONS}


@pytest.mark.parametrize("bad", ALL.values(), ids=ALL.keys())
def test_messages(bad: Bad) -> None:
    assert problems(bad.text) == bad.problems


def test_a_problem_is_told_with_file_line_and_remedy() -> None:
    with pytest.raises(DefinitionError) as caught:
        load("steps:\n  - uses: log\n    ned: [a]\n    with: {message: x}\n", "orders.yaml", registry=actions)
    assert str(caught.value) == (
        "orders.yaml:3:5: unknown key 'ned' of a step (did you mean 'needs'?)\n        ned: [a]"
    )


def test_corrected_lines() -> None:
    assert corrected(EXPRESSIONS["text that was meant as a value"].text) == [
        '  - {id: fetch, output: "${{ variables.day }}"}',
        "    with: {message: \"${{ steps.fetch.output }}\", level: '{{ variables.day }}'}",
        '    with: {message: steps.fetch.output, level: "${{ variables.day }}"}',
    ]
    assert corrected(EXPRESSIONS["scripts"].text) == [
        "      tar czf orders-$DAY.tgz",
        "  - run: echo $DAY",
    ]


def test_allowed_environment() -> None:
    text = "steps: [{output: '${{ env.HOME ~ env.HOMER }}'}]\n"
    message = "1:34: env.HOMER may not be read (did you mean 'HOME'?): EXPRESSION_ENV names what may"
    assert problems(text, expression_env=["HOME"]) == [message]
    assert load(text, "f.yaml", registry=actions).steps  # not known: not checked


@pytest.mark.parametrize(
    ("stem", "message"),
    [
        ("queue", "1:1: the workflow id 'queue' is reserved: rename the file, or give it an `id`"),
        (
            "my flow",
            "1:1: the file's name 'my flow' is no workflow id (letters of any script, digits, _ and -, at most 100): "
            "rename the file, or give it an `id`",
        ),
        (
            "ｆｌｏｗ",
            "1:1: the file's name 'ｆｌｏｗ' is no workflow id (letters of any script, digits, _ and -, at most 100): "
            "name it 'flow', or give it an `id`",
        ),
    ],
)
def test_names_of_files(stem: str, message: str) -> None:
    assert problems("steps: [{output: 1}]\n", default_id=stem) == [message]
    assert load("id: fine\nsteps: [{output: 1}]\n", "f.yaml", registry=actions, default_id=stem).id == "fine"
