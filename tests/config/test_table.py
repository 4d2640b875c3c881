"""The table itself: complete, consistent, and the same as what is derived from it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from supervisor.config import reference
from supervisor.config.schema import Kind
from supervisor.config.settings import HOOKS, TABLE
from supervisor.config.typed import TypedSettings

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"


def test_the_typed_view_has_the_names_of_the_table() -> None:
    assert set(TypedSettings.__annotations__) == set(TABLE)


def test_the_reference_page_is_what_the_generator_prints() -> None:
    assert REFERENCE.read_text(encoding="utf-8") == reference.page(), "run: python -m supervisor.config.reference"


def test_no_flag_is_used_twice() -> None:
    flags = Counter(flag for setting in TABLE.values() for flag in setting.flags)
    flags.update(["-h", "--help", "-v", "--version"])
    assert [flag for flag, count in flags.items() if count > 1] == []


@pytest.mark.parametrize("name", TABLE)
def test_every_default_is_a_valid_value(name: str) -> None:
    setting = TABLE[name]
    if setting.default is None and setting.derive is not None:
        return  # found at the start; the precedence tests look at those
    assert setting.validate(setting.default) == setting.default


@pytest.mark.parametrize("name", TABLE)
def test_every_setting_says_what_it_is_for(name: str) -> None:
    setting = TABLE[name]
    assert setting.doc.endswith(".")
    assert not setting.no_effect.endswith(".")


def test_the_sixteen_hooks() -> None:
    assert len(HOOKS) == 16
    assert {TABLE[name].kind for name in HOOKS} == {Kind.CALLABLE}
    assert not any(TABLE[name].flags or TABLE[name].variable for name in HOOKS)
