"""USR2 on a system without processes: what the old arbiter does about a new one that is ready, late, or gone."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from supervisor.runtime import handover
from supervisor.runtime.handover import Handover
from supervisor.runtime.system import SignalArrived, SuccessorExited, SuccessorReady
from supervisor.testing import FakeSystem
from tests.runtime.test_loop import arbiter, log_of, term

USR2 = SignalArrived(signal.SIGUSR2)


def ready_at(system: FakeSystem, seconds: float) -> None:
    system._schedule(seconds, lambda: [SuccessorReady(system.successor)])


def test_the_command_is_the_one_that_was_given(tmp_path: Path) -> None:
    system = FakeSystem()
    system.at(2, USR2)
    assert arbiter(term(system, 3), tmp_path).run() == 0
    (succession,) = system.successions
    assert succession.command == [sys.executable, *sys.orig_argv[1:]]
    assert succession.directory == str(tmp_path)
    assert [listener.bind for listener in succession.listeners] == ["127.0.0.1:0"]


def test_by_default_both_go_on(tmp_path: Path) -> None:
    system = FakeSystem()
    system.at(2, USR2)
    ready_at(system, 3)
    system.at(4, USR2)
    assert arbiter(term(system, 9), tmp_path).run() == 0
    assert len(system.successions) == 1, "one upgrade at a time"
    assert "USR2 ignored" in log_of(tmp_path)
    assert "Handling signal: term" in log_of(tmp_path)


def test_with_upgrade_auto_the_old_one_goes_when_the_new_one_is_ready(tmp_path: Path) -> None:
    system = FakeSystem()
    system.at(2, USR2)
    ready_at(system, 3)
    assert arbiter(system, tmp_path, upgrade_auto=True).run() == 0
    assert "is ready" in log_of(tmp_path)


def test_with_upgrade_auto_nobody_waits_for_load_balancers(tmp_path: Path) -> None:
    """They find the new one at the same address. And one that is on its way out could not go on if that one died."""
    system = FakeSystem()
    system.at(2, USR2)
    ready_at(system, 3)
    system._schedule(4, lambda: [SuccessorExited(system.successor, -9)])
    assert arbiter(system, tmp_path, upgrade_auto=True, drain_delay=5).run() == 0
    assert "(drain_delay)" not in log_of(tmp_path)
    assert "this arbiter goes on" not in log_of(tmp_path)


def test_with_upgrade_auto_a_late_one_is_told_to_go_and_the_old_one_goes_on(tmp_path: Path) -> None:
    system = FakeSystem()
    system.at(2, USR2)
    system.at(40, USR2)
    ready_at(system, 41)
    assert arbiter(system, tmp_path, upgrade_auto=True, boot_timeout=20).run() == 0
    log = log_of(tmp_path)
    assert log.index("is late, and told to go") < log.index("Upgrade failed, this arbiter goes on")
    assert len(system.successions) == 2


def test_one_that_ends_makes_room_for_the_next(tmp_path: Path) -> None:
    system = FakeSystem()
    system.at(2, USR2)
    system._schedule(3, lambda: [SuccessorExited(system.successor, 3)])
    system.at(4, USR2)
    assert arbiter(term(system, 9), tmp_path).run() == 0
    assert len(system.successions) == 2
    assert "ended (exit code 3)" in log_of(tmp_path)


def test_what_is_handed_over_arrives() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        given = Handover(os.getppid(), ours.fileno(), {"127.0.0.1:8000": theirs.fileno()})
        environ = given.environ({"HOME": "/"})
        assert handover.received(environ) == given
        assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "text", ["", "rubbish", "[]", "[1, 2]", json.dumps([1, 9999, {}]), json.dumps([1, 0, {"a": 9999}]), "{}"]
)
def test_a_leftover_variable_counts_for_nothing(text: str) -> None:
    environ = {handover.VARIABLE: text}
    assert handover.received(environ) is None
    assert not environ
