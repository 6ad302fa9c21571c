"""Hostile texts are refused, and long honest ones read, within bounds of CPU time and memory, in a process apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from stepwell.errors import DefinitionError
from stepwell.strict_yaml import parse

MEGABYTE = 1_000_000

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 80))
LONG_ALIASES = f'a: &a "{"x" * MEGABYTE}"\nb: [{",".join(["*a"] * 100_000)}]\n'
DEEP_ALIASES = "".join(f"a{i}: &a{i} {'[' * 30}{f'*a{i - 1}' if i else 'x'}{']' * 30}\n" for i in range(200))

HOSTILE: dict[str, Callable[[], str | bytes]] = {
    "billion laughs": lambda: LAUGHS,
    "merge bomb": lambda: MERGES,
    "self alias": lambda: "a: &a [*a, *a]",
    "aliases of a long text": lambda: LONG_ALIASES,
    "depth through aliases": lambda: DEEP_ALIASES,
    "misspelt aliases of many anchors": lambda: (
        "a:\n" + "".join(f"- &anchor{i} x\n" for i in range(10_000)) + "".join(f"- *anchro{i}\n" for i in range(99))
    ),
    "5,000 open lists": lambda: "[" * 5_000,
    "a megabyte of open lists": lambda: "[" * MEGABYTE,
    "a megabyte of open mappings": lambda: "{" * MEGABYTE,
    "a megabyte of dashes": lambda: "- " * (MEGABYTE // 2),
    "a megabyte of question marks": lambda: "? " * (MEGABYTE // 2),
    "deep indentation": lambda: "".join(" " * depth + "a:\n" for depth in range(1_400)),
    "many %TAG lines": lambda: "".join(f"%TAG !a{i}! tag:x\n" for i in range(20_000)) + "--- a",
    "a number of a million digits": lambda: "9" * MEGABYTE,
    "a number of a huge exponent": lambda: "1e999999999",
    "a thousand syntax errors": lambda: "a: b: c\n" * 1_000,
    "a thousand equal keys": lambda: "a: 1\n" * 1_000,
    "bare keys in one long line": lambda: "{" + ",".join(f"k{i}" for i in range(20_000)) + "}",
    "open quotes in a line": lambda: "a: " + "'\"" * 900 + " b: c",
    "brackets after a quote": lambda: "a: 'b' " + "[" * 1_900,
    "open expressions in a line": lambda: "a: " + "${{ '" * 350 + " b: c",
    "a bracket that no correction closes": lambda: "[?\n&-",
    "an open quote before a megabyte": lambda: 'a: "' + "x" * MEGABYTE,
    "a key of a megabyte": lambda: "x" * MEGABYTE + ": 1",
    "a comment that eats a bracket": lambda: "{a: " + "x #" * 30_000,
    "NUL": lambda: "\0" * 100_000,
    "no UTF-8": lambda: b"\xff" * MEGABYTE,
    "too long": lambda: b" " * (33 * 1024 * 1024),
}

# What a run costs beyond the interpreter and the text itself: the peak of memory is reset before it is measured.
MEASURE = """
import json, re, resource, sys, time
from stepwell.errors import DefinitionError
from stepwell.strict_yaml import parse
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
text = sys.stdin.buffer.read()
try: parse("a: 'b' c")
except DefinitionError: pass
with open("/proc/self/clear_refs", "w") as file: file.write("5")
memory, started = peak(), time.process_time()
try: parse(text); refused = []
except DefinitionError as error: refused = [str(problem) for problem in error.problems]
print(json.dumps({"cpu": time.process_time() - started, "mib": peak() - memory, "refused": refused}))
"""


def measured(text: str | bytes) -> tuple[float, float, list[str]]:
    """CPU seconds, MiB and the problems of one parse in a new process."""
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([sys.executable, "-c", MEASURE], input=data, capture_output=True, check=True, timeout=60)
    found = json.loads(done.stdout)
    return found["cpu"], found["mib"], found["refused"]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("name", HOSTILE)
def test_refused_within_100_ms_and_50_mib(name: str) -> None:
    tries = (measured(HOSTILE[name]()) for _ in range(3))  # a busy machine may slow one down, hardly all three
    assert any(refused and cpu < 0.1 and mib < 50 for cpu, mib, refused in tries)


def test_ten_thousand_steps_are_taken() -> None:
    keys = ("id: s{}", "uses: log", 'with: {{message: "${{{{ variables.x }}}}", level: info}}', "if: variables.n > 3")
    step = "  - " + "\n    ".join(keys) + "\n"
    document = parse("steps:\n" + "".join(step.format(i) for i in range(10_000)))
    assert isinstance(document.data, dict)
    assert len(document.data["steps"]) == 10_000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 65 + "]" * 65, "nested deeper than 64 levels"),
        ("- " * 64 + "x", "nested deeper than 64 levels"),
        (LAUGHS, "aliases stand for more than 10,000 values"),
        (LONG_ALIASES, "aliases stand for more than 10,000 values"),
        (DEEP_ALIASES, "nested deeper than 64 levels through the alias *a1"),
    ],
)
def test_the_bound_is_told(text: str, says: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(text)
    assert says in caught.value.problems[-1].message


def test_just_within_the_bounds() -> None:
    assert parse("[" * 64 + "]" * 64).data
    assert parse("a: &a [" + "x," * 999 + "]\nb: [" + "*a," * 9 + "]\n").data
