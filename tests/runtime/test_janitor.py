"""What is left of a killed arbiter is removed, in whatever order the kernel closes what it held."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.runtime import janitor
from supervisor.runtime.pidfile import Pidfile


def test_files_are_removed_when_the_arbiter_has_let_go_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, arbiter = tmp_path / "service.pid", os.getpid()
    held = Pidfile(str(path))
    held.acquire(arbiter)
    looks = 0

    def getppid() -> int:
        nonlocal looks
        looks += 1
        if looks < 3:
            return arbiter
        held.close_in_child()
        return 1

    monkeypatch.setattr(os, "getppid", getppid)
    janitor.tidy_up(str(path), [], arbiter)
    assert not path.exists()


def test_an_arbiter_that_lives_keeps_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, arbiter = tmp_path / "service.pid", os.getpid()
    held = Pidfile(str(path))
    held.acquire(arbiter)
    monkeypatch.setattr(os, "getppid", lambda: arbiter)
    monkeypatch.setattr(janitor, "END", 0.01)
    janitor.tidy_up(str(path), [], arbiter)
    assert path.read_text() == f"{arbiter}\n"
    held.close_in_child()
