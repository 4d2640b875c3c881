"""The arbiter's process around the core, on a system without processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.load import Inputs, load
from supervisor.core.events import Failure
from supervisor.errors import SupervisorError
from supervisor.runtime.loop import Arbiter
from supervisor.runtime.system import Birth, SignalArrived
from supervisor.testing import Conduct, FakeSystem


def arbiter(system: FakeSystem, tmp_path: Path, config: str = "", **values: Any) -> Arbiter:
    """An arbiter on the fake system, with a configuration file of this text."""
    file = tmp_path / "gunicorn.conf.py"
    file.write_text(config)
    given = {"bind": ["127.0.0.1:0"], "errorlog": str(tmp_path / "error.log"), **values}
    inputs = Inputs(app="shop:app", values=given, cwd=str(tmp_path))
    return Arbiter(load(inputs), inputs, jitter=lambda: 0.5, system=lambda **_: system)


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "error.log").read_text()


def term(system: FakeSystem, at: float) -> FakeSystem:
    system.at(at, SignalArrived(signal.SIGTERM))
    return system


@pytest.fixture(autouse=True)
def signals_and_directory() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)}
    directory = Path.cwd()
    yield
    assert {number: signal.getsignal(number) for number in before} == before
    os.chdir(directory)


def test_it_boots_says_ready_and_stops(tmp_path: Path) -> None:
    system = term(FakeSystem(), 5)
    assert arbiter(system, tmp_path, workers=3).run() == 0
    log = log_of(tmp_path)
    assert "Ready: 3 workers serving" in log
    assert log.count("is ready") == 3
    assert log.index("Worker 3 (pid 102) is ready") < log.index("Ready: 3 workers")
    assert system.closed
    assert not system.workers


MANY_BOOTS = """
before = sorted(os.listdir("/proc/self/fd"))
for _ in range(200):
    system = term(FakeSystem(), 1)
    assert arbiter(system, Path(sys.argv[1]), workers=2, errorlog=os.devnull).run() == 0
    assert not system.workers
    assert not system.loaders
assert sorted(os.listdir("/proc/self/fd")) == before
"""


def test_two_hundred_boots_and_stops_leave_no_descriptor(tmp_path: Path) -> None:
    """In an interpreter of its own: at each start the arbiter looks at all modules, and the tests' has thousands."""
    code = f"import os, sys\nfrom pathlib import Path\nfrom tests.runtime.test_loop import *\n{MANY_BOOTS}"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("code", [3, 4])
def test_a_boot_that_fails_gives_up_with_one_traceback(tmp_path: Path, code: int) -> None:
    failure = Failure("no such table", "Traceback (most recent call last):\n  ...", exit_code=code)
    system = FakeSystem(conduct=lambda _birth: Conduct(failure=failure))
    assert arbiter(system, tmp_path, workers=4).run() == code
    assert log_of(tmp_path).count("Traceback") == 1
    assert "Boot failed, giving up: no such table" in log_of(tmp_path)


def test_a_failed_reload_changes_nothing(tmp_path: Path) -> None:
    system = FakeSystem(load=lambda generation: Failure("broken deploy", "Traceback") if generation == 2 else None)
    system.at(2, SignalArrived(signal.SIGHUP))
    system.at(4, SignalArrived(signal.SIGHUP))
    term(system, 6)
    assert arbiter(system, tmp_path, workers=2).run() == 0
    log = log_of(tmp_path)
    assert "Reload failed: generation 2 was dropped, 1 goes on serving: broken deploy" in log
    assert "Reloaded: generation 3, 2 workers" in log


BROKEN = {
    "a syntax error": "workers = (",
    "an exit": "import sys; sys.exit('no')",
    "a wrong value": "workers = 'many'",
    "an exception": "1 / 0",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_configuration_is_refused_at_reload(tmp_path: Path, text: str) -> None:
    class Editing(FakeSystem):
        def wait(self, until: float | None) -> list[Any]:
            if self.now() > 1000.1:
                (tmp_path / "gunicorn.conf.py").write_text(text)
            return super().wait(until)

    system = Editing()
    system.at(2, SignalArrived(signal.SIGHUP))
    term(system, 4)
    assert arbiter(system, tmp_path, "workers = 2\n").run() == 0
    assert "Reload refused, nothing has changed" in log_of(tmp_path)
    assert "generation 2" not in log_of(tmp_path)


HOOKS = """
seen = []
def on_starting(server): seen.append("on_starting")
def when_ready(server): seen.append("when_ready"); server.num_workers = 3
def nworkers_changed(server, new, old): seen.append(f"nworkers_changed {new} {old}")
def pre_fork(server, worker):
    worker.position = len(server.WORKERS)
    seen.append(f"pre_fork {worker.age} {worker.pid}")
def child_exit(server, worker): seen.append(f"child_exit {worker.age} {worker.pid} {worker.position}")
def on_reload(server): seen.append("on_reload")
def on_exit(server): seen.append("on_exit"); __import__("pathlib").Path("seen").write_text("\\n".join(seen))
"""


def test_hooks_of_the_arbiter_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert arbiter(term(FakeSystem(), 3), tmp_path, HOOKS, workers=2).run() == 0
    assert (tmp_path / "seen").read_text().splitlines() == [
        "nworkers_changed 2 None",
        "on_starting",
        "when_ready",
        "nworkers_changed 3 2",
        "pre_fork 1 [booting]",
        "pre_fork 2 [booting]",
        "pre_fork 3 [booting]",
        "child_exit 1 100 0",
        "child_exit 2 101 1",
        "child_exit 3 102 2",
        "on_exit",
    ]


RAISING = "\n".join(
    f"def {name}(*args): raise {error}"
    for name, error in {
        "on_starting": "SystemExit(1)",
        "when_ready": "KeyboardInterrupt",
        "pre_fork": "ValueError('no')",
        "child_exit": "RuntimeError('no')",
        "on_exit": "BaseException('no')",
    }.items()
)


def test_hooks_that_raise_are_reported_and_harm_nothing(tmp_path: Path) -> None:
    assert arbiter(term(FakeSystem(), 3), tmp_path, RAISING, workers=1).run() == 0
    log = log_of(tmp_path)
    assert "Ready: 1 worker serving" in log
    for name in ("on_starting", "when_ready", "pre_fork", "child_exit", "on_exit"):
        assert f"hook {name} " in log


@pytest.mark.parametrize("preload", [True, False])
def test_what_is_imported_is_said_where_a_loader_does_it(tmp_path: Path, preload: bool) -> None:
    system = term(FakeSystem(), 20)
    system.at(5, SignalArrived(signal.SIGHUP))
    assert arbiter(system, tmp_path, preload_app=preload).run() == 0
    log = log_of(tmp_path)
    assert ("Loading shop:app (generation 1)" in log) == preload
    assert ("Loading shop:app (generation 2)" in log) == preload


def test_no_workers_wanted_is_said(tmp_path: Path) -> None:
    assert arbiter(term(FakeSystem(), 5), tmp_path, workers=0).run() == 0
    assert "No workers are wanted: nothing answers until TTIN adds one" in log_of(tmp_path)


def test_a_detail_leaves_no_empty_line(tmp_path: Path) -> None:
    failure = Failure("it fails", detail="Traceback\n  somewhere\n\n")
    assert arbiter(FakeSystem(conduct=lambda birth: Conduct(failure=failure)), tmp_path).run() != 0
    log = log_of(tmp_path)
    assert "it fails\nTraceback\n  somewhere\n[" in log
    assert "\n\n" not in log


def test_crash_loops_back_off_and_siblings_are_left_alone(tmp_path: Path) -> None:
    def conduct(birth: Birth) -> Conduct:
        failing = birth.slot == 1 and birth.worker > 2
        return Conduct(failure=Failure("segmentation fault of sorts") if failing else None)

    system = FakeSystem(conduct=conduct)
    system.crash(2, worker=2)
    term(system, 60)
    assert arbiter(system, tmp_path, workers=2).run() == 0
    log = log_of(tmp_path)
    assert "Worker place 2 waits" in log
    assert log.count("Booting worker") < 20
    assert log.count("Draining worker 1 ") == 1


def test_pidfile_of_a_run_is_gone_after_it(tmp_path: Path) -> None:
    path = tmp_path / "run.pid"
    assert arbiter(term(FakeSystem(), 1), tmp_path, pidfile=str(path)).run() == 0
    assert not path.exists()


def test_an_address_in_use_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    import socket

    path = tmp_path / "run.pid"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SupervisorError, match=f"{port}.*in use"):
            arbiter(FakeSystem(), tmp_path, bind=[f"127.0.0.1:{port}"], pidfile=str(path)).run()
    assert not path.exists()
    warnings = [line for line in log_of(tmp_path).splitlines() if "trying again" in line]
    assert len(warnings) == 5
    assert re.search(rf"\[WARNING\] bind = .*{port}.*in use.*; trying again in 1 s \(1 of 5\)$", warnings[0])
    assert warnings[1].endswith("[WARNING] still in use; trying again in 1 s (2 of 5)")


def test_a_stop_while_it_waits_for_the_address_is_heeded(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        system = term(FakeSystem(), 1.5)
        assert arbiter(system, tmp_path, bind=[f"127.0.0.1:{taken.getsockname()[1]}"]).run() == 0
    assert "Booting" not in log_of(tmp_path)


def test_an_address_that_gets_free_is_taken(tmp_path: Path) -> None:
    import socket

    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()

    class Freeing(FakeSystem):
        def wait(self, until: float | None) -> list[Any]:
            taken.close()
            return super().wait(until)

    system = term(Freeing(), 5)
    assert arbiter(system, tmp_path, bind=[f"127.0.0.1:{taken.getsockname()[1]}"]).run() == 0
    assert "Ready: 1 worker serving" in log_of(tmp_path)


def test_it_runs_in_the_main_thread_only(tmp_path: Path) -> None:
    import threading

    caught: list[BaseException] = []

    def run() -> None:
        try:
            arbiter(FakeSystem(), tmp_path).run()
        except SupervisorError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "main thread" in str(caught[0])
