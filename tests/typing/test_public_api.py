"""What ``supervisor`` offers by name is there, and is what a type checker was told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import supervisor


@pytest.mark.parametrize("name", supervisor.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(supervisor, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = supervisor.no_such_name


def test_the_front_door_is_small() -> None:
    lines = Path(supervisor.__file__).read_text().splitlines()
    assert len(lines) <= 50
    code = "import sys, supervisor; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "uvicorn", "click", "psutil"} & set(loaded), "nothing is imported before it is used"


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(supervisor.__file__).with_name("py.typed").exists()
