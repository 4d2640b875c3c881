"""The page of gunicorn's weaknesses names tests that exist, one for each that can be shown by now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.parity.test_table import TESTS_FOLDER, functions

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "weaknesses.md"
ROWS = [line.split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
STILL_TO_COME = ["a second instance steals the control socket"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("| "))
def test_it_is_shown(row: list[str]) -> None:
    named = re.search(r"`(\S+\.py)::(\w+)`", row[2])
    if row[0].strip("| ") in STILL_TO_COME:
        assert named is None, "it is here by now: take it off the list"
        return
    assert named is not None
    assert named[2] in functions(TESTS_FOLDER / named[1])


def test_all_are_there() -> None:
    assert len(ROWS) >= 20
