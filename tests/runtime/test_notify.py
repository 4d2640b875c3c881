"""What the service manager hears, word for word, from an arbiter on a system without processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.load import Inputs, load
from supervisor.core.events import Failure, StandDownRequested
from supervisor.runtime.handover import Handover
from supervisor.runtime.loop import Arbiter
from supervisor.runtime.system import (
    Occurrence,
    PredecessorGone,
    Rehearsed,
    SignalArrived,
    Succession,
    SuccessorExited,
    SuccessorReady,
)
from supervisor.testing import Conduct, FakeSystem

HUP, TERM, USR2 = (SignalArrived(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2))
EXTEND = "EXTEND_TIMEOUT_USEC=30000000"


class Manager:
    """The end of ``NOTIFY_SOCKET`` that systemd holds. While it is ``busy`` it reads nothing."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.busy = False
        self.heard: list[tuple[float, str]] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)

    def read(self, seconds: float) -> None:
        with contextlib.suppress(BlockingIOError):
            while not self.busy:
                message = self.socket.recv(4096).decode()
                if message != "noise":
                    self.heard.append((round(seconds, 2), message))

    def clog(self) -> None:
        """Have so much to read that nothing more can be sent."""
        self.busy = True
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.setblocking(False)
            other.connect(self.socket.getsockname())
            while True:
                other.send(b"noise")


class World(FakeSystem):
    """Has the manager listen, and notes the seconds, from the start of the arbiter, of all it hears."""

    def __init__(self, manager: Manager, **given: Any) -> None:
        super().__init__(**given)
        self.manager = manager
        self.begun = self.now()
        self.waits: list[float] = []

    def wait(self, until: float | None) -> list[Occurrence]:
        self.listen()
        self.waits.append(self.now() - self.begun)
        return super().wait(until)

    def listen(self) -> None:
        self.manager.read(self.now() - self.begun)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", found.address)
    directory = Path.cwd()
    yield found
    found.socket.close()
    os.chdir(directory)


def run(system: World, tmp_path: Path, config: str = "", **values: Any) -> list[tuple[float, str]]:
    """Run an arbiter on the system to its end, and return what was heard."""
    (tmp_path / "gunicorn.conf.py").write_text(config)
    given = {"bind": ["127.0.0.1:0"], "errorlog": str(tmp_path / "error.log"), **values}
    inputs = Inputs(app="shop:app", values=given, cwd=str(tmp_path))
    Arbiter(load(inputs), inputs, jitter=lambda: 0.5, system=lambda **_: system).run()
    system.listen()
    return system.manager.heard


def messages(heard: list[tuple[float, str]]) -> list[str]:
    return [message for _, message in heard]


def pings(heard: list[tuple[float, str]]) -> list[float]:
    return [at for at, message in heard if message == "WATCHDOG=1"]


def test_boot_and_stop(manager: Manager, tmp_path: Path) -> None:
    system = World(manager)
    system.at(5, TERM)
    assert run(system, tmp_path, workers=2) == [
        (0, "STATUS=booting: 0 of 2 workers"),
        (0.15, "STATUS=booting: 1 of 2 workers"),
        (0.15, "READY=1\nSTATUS=serving: 2 workers, generation 1"),
        (5, "STOPPING=1"),
        (5, "STATUS=stopping: 2 workers draining"),
        (5.05, "STATUS=stopping: 1 worker draining"),
        (5.05, "STATUS=stopping"),
    ]


def test_a_slow_boot_asks_for_more_time(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, conduct=lambda birth: Conduct(boot_time=12 if birth.worker == 1 else 8))
    system.at(30, TERM)
    assert run(system, tmp_path, workers=2)[:5] == [
        (0, "STATUS=booting: 0 of 2 workers"),
        (5, EXTEND),
        (8.1, "STATUS=booting: 1 of 2 workers"),
        (10, EXTEND),
        (12.1, "READY=1\nSTATUS=serving: 2 workers, generation 1"),
    ]


def test_it_is_not_ready_before_all_are(manager: Manager, tmp_path: Path) -> None:
    """A slot that fails for a while: the others serve, and the manager waits, and goes on to be asked to."""
    failing = Conduct(failure=Failure("no connection"))
    system = World(manager, conduct=lambda birth: failing if birth.slot == 1 and birth.worker < 6 else Conduct())
    system.at(60, TERM)
    heard = run(system, tmp_path, workers=2)
    ready_at, message = next((at, message) for at, message in heard if message.startswith("READY"))
    assert message == "READY=1\nSTATUS=serving: 2 workers, generation 1"
    assert [at for at, message in heard if message == EXTEND] == [at for at in (5, 10, 15, 20) if at < ready_at] != []
    assert "STATUS=booting: 1 of 2 workers" in messages(heard)


@pytest.mark.parametrize("code", [3, 4])
def test_a_boot_that_fails(manager: Manager, tmp_path: Path, code: int) -> None:
    system = World(manager, load=lambda _: Failure("no such\ntable", "Traceback", exit_code=code))
    assert run(system, tmp_path) == [
        (0, "STATUS=booting: 0 of 1 worker"),
        (0.1, "STOPPING=1"),
        (0.1, "STATUS=boot failed: no such table; stopping"),
    ]


def test_reload(manager: Manager, tmp_path: Path) -> None:
    system = World(manager)
    system.at(2.5, HUP)
    system.at(6, TERM)
    assert run(system, tmp_path, workers=2)[2:5] == [
        (0.15, "READY=1\nSTATUS=serving: 2 workers, generation 1"),
        (2.5, "RELOADING=1\nMONOTONIC_USEC=1002500000\nSTATUS=reloading to generation 2"),
        (2.75, "READY=1\nSTATUS=serving: 2 workers, generation 2"),
    ]


def test_a_long_reload_asks_for_more_time(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, conduct=lambda birth: Conduct(boot_time=7 if birth.generation == 2 else 0.05))
    system.at(2, HUP)
    system.at(30, TERM)
    assert [at for at, message in run(system, tmp_path) if message == EXTEND] == [7]


def test_a_reload_that_fails(manager: Manager, tmp_path: Path) -> None:
    failure = Failure("cannot import name 'basket'", "Traceback")
    system = World(manager, load=lambda generation: failure if generation == 2 else None)
    system.at(2, HUP)
    system.crash(4, worker=1)
    system.at(6, HUP)
    system.at(9, TERM)
    note = "reload failed: cannot import name 'basket'"
    assert run(system, tmp_path, workers=2)[3:11] == [
        (2, "RELOADING=1\nMONOTONIC_USEC=1002000000\nSTATUS=reloading to generation 2"),
        (2.1, f"READY=1\nSTATUS={note}; serving: 2 workers, generation 1"),
        (4, f"STATUS={note}; serving: 1 of 2 workers, generation 1"),
        (4.05, f"STATUS={note}; serving: 2 workers, generation 1"),
        (6, "RELOADING=1\nMONOTONIC_USEC=1006000000\nSTATUS=reloading to generation 3"),
        (6.25, "READY=1\nSTATUS=serving: 2 workers, generation 3"),
        (9, "STOPPING=1"),
        (9, "STATUS=stopping: 2 workers draining"),
    ]


def test_a_reload_that_does_not_get_done_for_a_while(manager: Manager, tmp_path: Path) -> None:
    failure = Failure("too many connections", "Traceback")
    system = World(manager, conduct=lambda birth: Conduct(failure=failure if birth.worker == 4 else None))
    system.at(2, HUP)
    system.at(6, TERM)
    note = "reload incomplete: too many connections"
    assert run(system, tmp_path, workers=2)[3:6] == [
        (2, "RELOADING=1\nMONOTONIC_USEC=1002000000\nSTATUS=reloading to generation 2"),
        (2.2, f"READY=1\nSTATUS={note}; serving: 2 workers, generation 2"),
        (2.8, "STATUS=serving: 2 workers, generation 2"),
    ]


class Editing(World):
    """Breaks the configuration file at ``broken_at``, and mends it a second later."""

    broken_at = 3.0

    def wait(self, until: float | None) -> list[Occurrence]:
        happened = super().wait(until)
        broken = self.broken_at <= self.now() - self.begun < self.broken_at + 1
        Path("gunicorn.conf.py").write_text("workers = 'many'" if broken else "")
        return happened


REFUSED = "reload refused: workers must be a whole number, not 'many' (gunicorn.conf.py:1)."


def test_a_reload_that_is_refused(manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    system = Editing(manager)
    system.at(3, HUP)
    system.at(6, TERM)
    assert run(system, tmp_path)[2:4] == [
        (3, "RELOADING=1\nMONOTONIC_USEC=1003000000\nSTATUS=reloading to generation 2"),
        (3, f"READY=1\nSTATUS={REFUSED}; serving: 1 worker, generation 1"),
    ]


def test_one_that_is_refused_does_not_end_the_one_before(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    system = Editing(manager, conduct=lambda birth: Conduct(boot_time=3 if birth.generation == 2 else 0.05))
    system.at(2, HUP)
    system.at(3, HUP)
    system.at(8, TERM)
    assert run(system, tmp_path)[2:6] == [
        (2, "RELOADING=1\nMONOTONIC_USEC=1002000000\nSTATUS=reloading to generation 2"),
        (3, "RELOADING=1\nMONOTONIC_USEC=1003000000\nSTATUS=reloading to generation 3"),
        (3, f"STATUS={REFUSED}; reloading to generation 2"),
        (5.15, f"READY=1\nSTATUS={REFUSED}; serving: 1 worker, generation 2"),
    ]


def test_a_reload_that_another_one_supersedes(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, conduct=lambda birth: Conduct(boot_time=60 if birth.generation == 2 else 0.05))
    system.at(2, HUP)
    system.at(3, HUP)
    system.at(8, TERM)
    assert run(system, tmp_path)[2:5] == [
        (2, "RELOADING=1\nMONOTONIC_USEC=1002000000\nSTATUS=reloading to generation 2"),
        (3, "RELOADING=1\nMONOTONIC_USEC=1003000000\nSTATUS=reloading to generation 3"),
        (3.2, "READY=1\nSTATUS=serving: 1 worker, generation 3"),
    ]


def test_a_reload_during_the_boot_is_part_of_the_boot(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, conduct=lambda birth: Conduct(boot_time=60 if birth.generation == 1 else 0.05))
    system.at(2, HUP)
    system.at(8, TERM)
    assert run(system, tmp_path)[:2] == [
        (0, "STATUS=booting: 0 of 1 worker"),
        (2.15, "READY=1\nSTATUS=serving: 1 worker, generation 2"),
    ]


def test_a_stop_in_the_middle_of_a_reload_is_a_stop(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, load=lambda generation: Failure("too late") if generation == 2 else None)
    system.at(2, HUP)
    system.at(2.05, TERM)
    heard = run(system, tmp_path)
    assert messages(heard)[3:] == ["STOPPING=1", "STATUS=stopping: 1 worker draining", "STATUS=stopping"]


def test_a_long_drain_asks_for_more_time(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, conduct=lambda _: Conduct(drain_time=12))
    system.at(2, TERM)
    assert run(system, tmp_path)[2:] == [
        (2, "STOPPING=1"),
        (2, "STATUS=stopping: 1 worker draining"),
        (7, EXTEND),
        (12, EXTEND),
        (14, "STATUS=stopping"),
    ]


def test_a_stop_that_waits_for_load_balancers(manager: Manager, tmp_path: Path) -> None:
    system = World(manager)
    system.at(2, TERM)
    assert run(system, tmp_path, drain_delay=7)[2:] == [
        (2, "STOPPING=1"),
        (2, "STATUS=stopping: 1 worker still serving"),
        (7, EXTEND),
        (9, "STATUS=stopping: 1 worker draining"),
        (9.05, "STATUS=stopping"),
    ]


def test_who_gets_ready_while_a_stop_waits_does_not_take_it_back(manager: Manager, tmp_path: Path) -> None:
    system = World(manager, conduct=lambda birth: Conduct(boot_time=birth.worker * 2 - 1))
    system.at(2, TERM)
    system.at(6, TERM)
    heard = run(system, tmp_path, workers=2, drain_delay=60)
    assert "Ready: 2 workers serving" in (tmp_path / "error.log").read_text()
    assert [message for message in messages(heard) if "=1" in message] == ["STOPPING=1"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_quick_stop(manager: Manager, tmp_path: Path, number: signal.Signals) -> None:
    system = World(manager)
    system.at(2, SignalArrived(number))
    system.at(2, TERM)
    assert [message for message in messages(run(system, tmp_path)) if "STOPPING" in message] == ["STOPPING=1"]


def test_workers_come_and_go(manager: Manager, tmp_path: Path) -> None:
    system = World(manager)
    system.at(2, SignalArrived(signal.SIGTTIN))
    system.at(4, SignalArrived(signal.SIGTTOU))
    system.at(5, StandDownRequested())
    system.at(6, TERM)
    assert run(system, tmp_path)[1:6] == [
        (0.15, "READY=1\nSTATUS=serving: 1 worker, generation 1"),
        (2, "STATUS=serving: 1 of 2 workers, generation 1"),
        (2.05, "STATUS=serving: 2 workers, generation 1"),
        (4, "STATUS=serving: 1 worker, generation 1"),
        (5, "STATUS=standing by: no workers are wanted"),
    ]


# The watchdog


def test_the_watchdog_hears_of_us_twice_in_its_time(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    system = World(manager, conduct=lambda _: Conduct(drain_time=20))
    system.at(25, HUP)
    system.at(45, TERM)
    heard = run(system, tmp_path)
    assert [int(at) for at in pings(heard)] == [10, 20, 30, 40], "and none once it stops"


def test_the_watchdog_hears_nothing_while_nobody_serves(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker, which crashes, and then fails to boot four times; in the end one serves again."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    failing = Conduct(failure=Failure("no connection"))
    system = World(manager, conduct=lambda birth: failing if 1 < birth.worker < 6 else Conduct())
    system.crash(5, worker=1)
    system.at(20, TERM)
    heard = run(system, tmp_path)
    none = next(at for at, message in heard if message == "STATUS=serving: 0 of 1 worker, generation 1")
    again = next(at for at, message in heard if at > none and message == "STATUS=serving: 1 worker, generation 1")
    assert again - none > 2
    assert [at for at in pings(heard) if none <= at < again] == []
    assert again in pings(heard), "at once, since it is overdue"
    assert max(b - a for a, b in zip(pings(heard), pings(heard)[1:], strict=False) if not a < again <= b) <= 1.01
    assert len(system.waits) < 200, "nor does it spin meanwhile"


def test_a_reload_does_not_put_the_watchdog_off_while_nobody_serves(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manager moves its watchdog together with its timeout, when it is asked for more time."""
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    system = World(manager, conduct=lambda birth: Conduct(boot_time=20 if birth.worker > 1 else 0.05))
    system.at(2, HUP)
    system.crash(4, worker=1)
    system.at(30, TERM)
    heard = run(system, tmp_path)
    assert [at for at, message in heard if message in (EXTEND, "WATCHDOG=1") and 4 < at < 30][:2] == [22.1, 22.1]
    assert "READY=1\nSTATUS=serving: 1 worker, generation 2" in messages(heard)


def test_the_watchdog_is_content_when_no_workers_are_wanted(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    system = World(manager)
    system.at(3, StandDownRequested())
    system.at(10, TERM)
    heard = run(system, tmp_path)
    assert [int(at) for at in pings(heard) if at > 3] == [3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("variables", [{"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}])
def test_a_watchdog_that_is_not_ours(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    system = World(manager)
    system.at(10, TERM)
    assert pings(run(system, tmp_path)) == []


def test_idle_it_is_woken_for_the_watchdog_only(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "10000000")
    system = World(manager)
    system.at(1000, TERM)
    run(system, tmp_path, timeout=0)
    assert len([at for at in system.waits if 10 < at < 990]) == 980 / 5


# The line


def test_an_abstract_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abstract = Manager(f"@supervisor-test-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", abstract.address)
    monkeypatch.chdir(tmp_path)
    system = World(abstract)
    system.at(1, TERM)
    assert "READY=1\nSTATUS=serving: 1 worker, generation 1" in messages(run(system, tmp_path))
    abstract.socket.close()


def test_what_matters_reaches_a_manager_that_was_busy(manager: Manager, tmp_path: Path) -> None:
    """In order, with the status that is true by then; statuses of that time, which nobody could hear, are left out."""

    class Busy(World):
        def wait(self, until: float | None) -> list[Occurrence]:
            self.manager.busy = self.now() - self.begun < 3
            return super().wait(until)

    manager.clog()
    system = Busy(manager)
    system.at(2, HUP)
    system.at(6, TERM)
    heard = run(system, tmp_path, workers=2)
    assert messages(heard)[:3] == [
        "READY=1\nSTATUS=serving: 2 workers, generation 1",
        "RELOADING=1\nMONOTONIC_USEC=1002000000\nSTATUS=reloading to generation 2",
        "READY=1\nSTATUS=serving: 2 workers, generation 2",
    ]
    assert 3 <= heard[0][0] <= heard[2][0] < 4
    assert len(system.waits) < 60, "it does not spin meanwhile"


def test_a_manager_that_is_gone_is_missed_once(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    system = World(manager)
    system.at(1, TERM)
    assert run(system, tmp_path) == []
    log = (tmp_path / "error.log").read_text()
    assert log.count("the service manager cannot be told") == 1
    assert "Ready: 1 worker serving" in log


def test_without_a_manager_nothing_is_said(manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET")
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    system = World(manager)
    system.at(2, HUP)
    system.at(100, TERM)
    assert run(system, tmp_path, timeout=0) == []
    assert [at for at in system.waits if 3 < at < 100] == []


# Upgrades


def test_an_arbiter_that_leaves_names_the_next_one_and_falls_silent(manager: Manager, tmp_path: Path) -> None:
    class Upgrading(World):
        def start_successor(self, succession: Succession) -> int:
            pid = super().start_successor(succession)
            self.at(3, SuccessorReady(pid))
            return pid

    system = Upgrading(manager, conduct=lambda _: Conduct(drain_time=12))
    system.at(2, USR2)
    system.at(4, TERM)
    heard = run(system, tmp_path)
    assert heard[1:] == [
        (0.15, "READY=1\nSTATUS=serving: 1 worker, generation 1"),
        (4, f"MAINPID={system.successor}"),
    ]


def test_an_upgrade_that_fails_is_none_of_the_managers_business(manager: Manager, tmp_path: Path) -> None:
    class Failing(World):
        def start_successor(self, succession: Succession) -> int:
            pid = super().start_successor(succession)
            self.at(3, SuccessorReady(pid))
            self.at(4, SuccessorExited(pid, 1))
            return pid

    system = Failing(manager)
    system.at(2, USR2)
    system.at(6, TERM)
    assert messages(run(system, tmp_path))[2:] == [
        "STOPPING=1",
        "STATUS=stopping: 1 worker draining",
        "STATUS=stopping",
    ]


def test_a_new_arbiter_speaks_when_the_one_before_is_gone(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it only keeps the watchdog quiet, which the one before does no longer while it drains."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    line, other = socket.socketpair()
    with line, other:
        for name, value in Handover(1, line.fileno(), {}).environ({}).items():
            monkeypatch.setenv(name, value)
        system = World(manager)
        system.at(15, PredecessorGone())
        system.at(18, TERM)
        assert run(system, tmp_path) == [
            (10.15, "WATCHDOG=1"),
            (15, "READY=1\nSTATUS=serving: 1 worker, generation 1"),
            (18, "STOPPING=1"),
            (18, "STATUS=stopping: 1 worker draining"),
            (18.05, "STATUS=stopping"),
        ]


def test_a_new_arbiter_that_reloads_when_the_one_before_goes(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, other = socket.socketpair()
    with line, other:
        for name, value in Handover(1, line.fileno(), {}).environ({}).items():
            monkeypatch.setenv(name, value)
        system = World(manager, conduct=lambda birth: Conduct(boot_time=3 if birth.generation == 2 else 0.05))
        system.at(2, HUP)
        system.at(4, PredecessorGone())
        system.at(8, TERM)
        assert run(system, tmp_path)[:2] == [
            (4, "STATUS=reloading to generation 2"),
            (5.15, "READY=1\nSTATUS=serving: 1 worker, generation 2"),
        ]


def test_a_new_arbiter_that_is_told_to_go_again_says_nothing(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, other = socket.socketpair()
    with line, other:
        for name, value in Handover(1, line.fileno(), {}).environ({}).items():
            monkeypatch.setenv(name, value)
        system = World(manager)
        system.at(3, TERM)
        assert run(system, tmp_path) == []


def test_a_reload_that_ends_while_the_next_one_is_read_and_refused(manager: Manager, tmp_path: Path) -> None:
    """READY has to follow: nothing that was asked for is under way any more."""

    class Slow(World):
        def rehearse(self, act: Callable[[], object]) -> int:
            number = self.rehearsals = self.rehearsals + 1
            failure = Failure("no such table") if number == 2 else None
            self._schedule(3.0 if failure else 0.0, lambda: [Rehearsed(number, failure)])
            return number

    system = Slow(manager)
    system.at(2, HUP)
    system.at(2.1, HUP)
    system.at(8, TERM)
    ready = [(at, message) for at, message in run(system, tmp_path) if message.startswith("READY")]
    assert [at for at, _ in ready] == [0.15, 5.1]
    assert ready[-1][1] == "READY=1\nSTATUS=reload refused: no such table; serving: 1 worker, generation 2"


def test_a_rehearsal_that_another_one_has_replaced_counts_for_nothing(manager: Manager, tmp_path: Path) -> None:
    class Crossing(World):
        """What became of a rehearsal is told after it was given up, as when both happen at once."""

        def rehearse(self, act: Callable[[], object]) -> int:
            number = self.rehearsals = self.rehearsals + 1
            self._schedule(1.0, lambda: [Rehearsed(number, Failure("no such table") if number == 1 else None)])
            return number

    system = Crossing(manager)
    system.at(2, HUP)
    system.at(2.5, HUP)
    system.at(6, HUP)
    system.at(6.5, TERM)
    run(system, tmp_path)
    log = (tmp_path / "error.log").read_text()
    assert "refused" not in log
    assert "Reloaded: generation 2" in log
    assert "generation 3" not in log, "the third one ended while the arbiter was stopping"


def test_a_worker_that_never_boots_does_not_put_the_end_of_the_start_off_for_ever(
    manager: Manager, tmp_path: Path
) -> None:
    failing = Conduct(failure=Failure("no connection"))
    system = World(manager, conduct=lambda birth: failing if birth.slot == 1 else Conduct())
    system.at(600, TERM)
    heard = run(system, tmp_path, workers=2)
    last = max(at for at, message in heard if message == EXTEND)
    assert 20 < last < 200
    assert "STATUS=a worker cannot boot; booting: 1 of 2 workers" in messages(heard)


def test_a_new_arbiter_that_is_ready_while_the_old_one_stops_becomes_the_main_process(
    manager: Manager, tmp_path: Path
) -> None:
    system = World(manager, conduct=lambda _: Conduct(drain_time=10))
    system.at(2, USR2)
    system.at(3, TERM)
    system._schedule(5, lambda: [SuccessorReady(system.successor)])
    heard = run(system, tmp_path)
    assert (5, f"MAINPID={system.successor}") in heard
    assert heard[-1][1].startswith("MAINPID=")
