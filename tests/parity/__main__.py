"""``python -m tests.parity``: every setting and hook of gunicorn's beside ours. Exit code 1 if one differs unmeant."""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator

from supervisor.config.differences import OWN
from supervisor.config.settings import HOOKS, TABLE
from tests.parity.comparison import COLUMNS, Row, mismatches, row
from tests.parity.oracle import Oracle

WIDTH = 118


def main() -> int:
    with contextlib.closing(Oracle()) as oracle:
        found = list(mismatches(oracle))
    rows = [row(name, found) for name in dict.fromkeys([*TABLE, *(each.name for each in found)]) if name not in OWN]
    for each in rows:
        print("\n".join(text_of(each)))
    wrong = [line for each in rows for line in complaints(each)]
    verdicts = Counter(each.said.verdict.value for each in rows)
    hooks = sum(each.name in HOOKS for each in rows)
    print(f"\n{len(rows)} settings, {hooks} of them hooks: " + ", ".join(f"{n} {v}" for v, n in verdicts.most_common()))
    print("\n".join(["", "Not meant:", *wrong]) if wrong else "Nothing differs but what is meant to.")
    return 1 if wrong else 0


def text_of(each: Row) -> Iterator[str]:
    """The lines of a row."""
    yield f"{each.name}: {each.said.verdict}" + (f" ({each.said.text})" if each.said.text else "")
    compared = "; ".join(f"{column}: {each.compared[column]}" for column in COLUMNS)
    yield from textwrap.wrap(compared, WIDTH, initial_indent="    ", subsequent_indent="      ")
    yield f"    shown by tests/{each.test}"


def complaints(each: Row) -> Iterator[str]:
    """What must not be: a difference that nobody has declared, a verdict without reason, a row without a test."""
    yield from map(str, each.mismatches)
    if not each.test:
        yield f"{each.name}: tests.parity.behaviour names no test that shows what it does"


if __name__ == "__main__":
    sys.exit(main())
