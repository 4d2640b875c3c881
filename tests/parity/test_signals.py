"""Signals to the master, sent to gunicorn with its Uvicorn worker and to us: the same effect, or one that is named."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.parity.beside import Beside, side_by_side

ARGUMENTS = ["app:app", "-w", "2", "-p", "pid", "--error-logfile", "error.log", "--access-logfile", "access.log"]


def life(server: Beside) -> dict[str, Any]:
    """What becomes of one service, signal by signal."""
    seen: dict[str, Any] = {}
    first = server.wait_serving(2)
    seen["pidfile"] = (server.directory / "pid").read_text() == f"{server.process.pid}\n"
    server.signal(signal.SIGTTIN)
    seen["TTIN"] = len(server.wait_serving(3))
    for expected in (2, 1, 1):
        server.signal(signal.SIGTTOU)
        server.wait_serving(expected)
    seen["TTOU"] = len(server.workers())
    server.deploy("2")
    server.signal(signal.SIGHUP)
    second = server.wait_serving(2, "2")
    seen["HUP"] = (len(second), first & second, server.get())
    for name in ("error.log", "access.log"):
        (server.directory / name).rename(server.directory / f"{name}.1")
    server.signal(signal.SIGUSR1)
    logs = [server.directory / name for name in ("error.log", "access.log")]
    server.wait(lambda: all(log.exists() for log in logs), "reopened its logs")
    server.wait(lambda: server.get() and "GET / " in logs[1].read_text(), "written to the new access log")
    seen["USR1"] = [log.name for log in logs]
    server.signal(signal.SIGTERM)
    seen["TERM"] = server.wait_exit()
    seen["left"] = (server.directory / "pid").exists()
    return seen


def test_side_by_side(tmp_path: Path) -> None:
    with side_by_side(tmp_path, *ARGUMENTS) as servers:
        theirs, ours = map(life, servers)
    assert ours == theirs
    assert ours == {
        "pidfile": True,
        "TTIN": 3,
        "TTOU": 1,
        "HUP": (2, set(), "2"),
        "USR1": ["error.log", "access.log"],
        "TERM": 0,
        "left": False,
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_quick_stops(tmp_path: Path, number: signal.Signals) -> None:
    """Where gunicorn takes ``graceful_timeout`` for it, and kills, our workers are gone long before, by themselves."""
    with side_by_side(tmp_path, *ARGUMENTS, "--graceful-timeout", "2") as servers:
        for server in servers:
            server.wait_serving(2)
        for server in servers:
            server.signal(number)
        assert [server.wait_exit() for server in servers] == [0, 0]
        assert not any((server.directory / "pid").exists() for server in servers)


def test_winch_is_heeded_without_a_terminal(tmp_path: Path) -> None:
    """On purpose: gunicorn heeds WINCH as a daemon only, we do wherever no terminal could have sent it."""
    with side_by_side(tmp_path, *ARGUMENTS) as (theirs, ours):
        for server in (theirs, ours):
            server.wait_serving(2)
            server.signal(signal.SIGWINCH)
        log = theirs.directory / "error.log"
        theirs.wait(lambda: "winch" in log.read_text(), "said that it ignores WINCH")
        assert len(theirs.workers()) == 2
        ours.wait(lambda: not ours.workers(), "without workers")
