"""What is declared of gunicorn's settings, held against gunicorn: ``python -m tests.parity`` as a test."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.differences import OWN, Verdict, difference
from supervisor.config.settings import HOOKS, TABLE
from tests.parity import purposeful
from tests.parity.__main__ import complaints
from tests.parity.behaviour import shown_by
from tests.parity.comparison import mismatches, row
from tests.parity.oracle import Oracle

TESTS_FOLDER = Path(__file__).parents[1]


def test_every_setting_and_hook_beside_gunicorn(oracle: Oracle) -> None:
    found = list(mismatches(oracle))
    rows = [row(name, found) for name in TABLE if name not in OWN]
    assert len(rows) == 120
    assert len(HOOKS) == 16
    assert [str(each) for found_row in rows for each in found_row.mismatches] == []
    for each in rows:
        assert (each.said.text == "") == (each.said.verdict is Verdict.SAME), each.name
    needless = [purpose for purpose in purposeful.PURPOSES if not any(map(purpose.holds_for, found))]
    assert needless == [], "an exception that is none"


@pytest.mark.parametrize("name", [name for name in TABLE if name not in OWN])
def test_a_verdict_agrees_with_the_declaration(name: str) -> None:
    reason = TABLE[name].no_effect
    assert (difference(name).verdict is Verdict.NO_EFFECT) == (bool(reason) and name != "paste")
    if reason:
        assert difference(name).text == reason


@pytest.mark.parametrize("test", sorted({shown_by(name) for name in TABLE if name not in OWN} - {""}))
def test_the_tests_that_are_named_exist(test: str) -> None:
    file, _, function = test.partition("::")
    assert function in functions(TESTS_FOLDER / file)


def test_every_setting_has_a_test_that_shows_it() -> None:
    assert [name for name in TABLE if name not in OWN and not shown_by(name)] == []


@functools.cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


class Newer:
    """An oracle whose gunicorn has a setting more than the table."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle

    def answers(self, what: str, **question: Any) -> Any:
        found = self._oracle.answers(what, **question)
        return {**found, "novelty": found["spew"]} if what == "declarations" else found


def test_a_setting_that_is_new_in_gunicorn_is_found(oracle: Oracle) -> None:
    newer = Newer(oracle)
    found = next(each for each in mismatches(newer) if each.name == "novelty")
    assert next(complaints(row("novelty", [found]))) == "novelty flags its existence: gunicorn True, ours False"
