"""The setting ``reload`` in the arbiter's process, on a system without processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.events import Failure
from supervisor.runtime.reloading import DEATHS, ECHOES
from supervisor.runtime.system import FilesChanged, FilesImported, SignalArrived, WatcherExited, WatcherSaid
from supervisor.testing import FakeSystem
from tests.runtime.test_loop import arbiter, log_of, term


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    directory = Path.cwd()
    yield
    os.chdir(directory)


def changed(age: float = 0.0) -> FilesChanged:
    return FilesChanged(("/srv/app.py", "/srv/views.py"), 3, age)


def test_without_it_there_is_no_watcher(tmp_path: Path) -> None:
    system = term(FakeSystem(), 2)
    assert arbiter(system, tmp_path).run() == 0
    assert not system.watchers.started


def test_a_change_is_answered_as_hup_is(tmp_path: Path) -> None:
    system = term(FakeSystem(), 9)
    system.at(3, FilesImported(("/srv/app.py",)))
    system.at(4, changed())
    system.at(6, WatcherSaid(30, "look here"))
    assert arbiter(system, tmp_path, "def on_reload(server): server.log.info('hook')\n", reload=True).run() == 0
    log = log_of(tmp_path)
    assert "[INFO] Changed: /srv/app.py and 2 other files. Reloading\n" in log
    assert "[INFO] hook\n" in log
    assert "[WARNING] look here\n" in log
    assert "Reloaded: generation 2" in log
    assert system.rehearsals
    assert system.watchers.imported == ["/srv/app.py"]
    assert system.watchers.healthy
    assert not system.watchers.running


def test_while_the_newest_code_does_not_run_any_code_counts(tmp_path: Path) -> None:
    system = FakeSystem(load=lambda generation: Failure("broken", "Traceback") if generation == 2 else None)
    health: list[bool] = []

    class Noting(type(system.watchers)):  # type: ignore[misc]  # of what `FakeSystem` has
        def tell_health(self, *, healthy: bool) -> None:
            health.append(healthy)

    system.watchers = Noting()
    system.at(1, FilesImported(("/srv/app.py",)))
    system.at(3, changed())
    system.at(5, changed())
    assert arbiter(term(system, 8), tmp_path, reload=True).run() == 0
    assert [now for before, now in zip([None, *health], health, strict=False) if before != now] == [
        False,
        True,
        False,
        True,
    ]


def test_what_cannot_start_is_shown_until_it_can(tmp_path: Path) -> None:
    system = FakeSystem(
        load=lambda generation: Failure(f"broken {generation}", "Traceback") if generation in (1, 3) else None
    )
    shown: list[Any] = []
    start = system.start_loader

    def start_loader(generation: int, plan: Any) -> None:
        shown.append(plan.placeholder)
        start(generation, plan)

    system.start_loader = start_loader  # type: ignore[method-assign]
    system.at(3, changed())
    system.at(6, changed())
    assert arbiter(term(system, 9), tmp_path, reload=True, workers=2).run() == 0
    log = log_of(tmp_path)
    assert [placeholder is not None for placeholder in shown] == [False, True, False, True, False]
    assert "Boot failed: generation 1 was dropped; waiting for changed files: broken 1" in log
    assert "Reload failed: generation 3 was dropped, 2 goes on serving: broken 3" in log
    assert log.count("Ready: 2 workers serving") == 1
    assert log.index("Generation 5 takes over") < log.index("Ready: 2 workers")


def test_not_even_a_placeholder_and_a_stop(tmp_path: Path) -> None:
    system = FakeSystem(load=lambda generation: Failure("broken") if generation < 3 else None)
    assert arbiter(term(system, 5), tmp_path, reload=True).run() == 0
    assert log_of(tmp_path).count("Boot failed") == 2


def test_not_even_a_placeholder_and_then_all_is_well(tmp_path: Path) -> None:
    system = FakeSystem(load=lambda generation: Failure("broken") if generation < 3 else None)
    system.at(4, changed())
    assert arbiter(term(system, 8), tmp_path, reload=True).run() == 0
    assert "Ready: 1 worker" in log_of(tmp_path)


def edit(system: FakeSystem, seconds: float, act: Callable[[], object]) -> None:
    """Have the world change behind the arbiter's back."""
    system._schedule(system._started_at + seconds - system.now(), lambda: (act(), [])[1])


def test_hup_starts_changes_and_stops_the_watcher(tmp_path: Path) -> None:
    system = term(FakeSystem(), 20)
    file = tmp_path / "gunicorn.conf.py"
    running: list[bool] = []
    texts = ("reload = True\n", "reload = True\nreload_engine = 'poll'\n", "", "reload = (")
    for number, text in enumerate(texts):
        edit(system, 2 + 3 * number, partial(file.write_text, text))
        system.at(2.1 + 3 * number, SignalArrived(signal.SIGHUP))
        edit(system, 4 + 3 * number, lambda: running.append(system.watchers.running))
    assert arbiter(system, tmp_path).run() == 0
    assert [watch.engine for watch in system.watchers.started] == ["auto", "poll"]
    assert running == [True, True, False, False]


def test_the_watcher_is_started_again_and_told_what_it_missed(tmp_path: Path) -> None:
    system = FakeSystem()
    system.at(1, FilesImported(("/srv/app.py",)))
    system.at(20, WatcherExited(-9))
    assert arbiter(term(system, 30), tmp_path, reload=True).run() == 0
    assert len(system.watchers.started) == 2
    assert system.watchers.since > 0
    assert system.watchers.imported == ["/srv/app.py"]
    assert "[WARNING] The watcher died (signal 9" in log_of(tmp_path)


def test_a_watcher_that_dies_again_and_again_is_given_up_until_hup(tmp_path: Path) -> None:
    system = FakeSystem()
    at = 1.0
    for _ in range(DEATHS):
        system.at(at, WatcherExited(1))
        at += 9.0
    system.at(at, SignalArrived(signal.SIGHUP))
    assert arbiter(term(system, at + 5), tmp_path, reload=True).run() == 0
    assert "[ERROR] The watcher died (exit code 1), for the 5. time in a row: changed files" in log_of(tmp_path)
    assert len(system.watchers.started) == DEATHS + 1
    assert "Reloaded: generation 2" in log_of(tmp_path)


def test_a_watcher_that_cannot_be_forked_harms_nobody(tmp_path: Path) -> None:
    system = FakeSystem()

    def start(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    system.watchers.start = start  # type: ignore[method-assign]
    assert arbiter(term(system, 60), tmp_path, reload=True).run() == 0
    assert log_of(tmp_path).count("The watcher cannot be forked") == DEATHS
    assert "Ready: 1 worker" in log_of(tmp_path)


def test_an_application_that_writes_what_is_watched_is_not_loaded_for_ever(tmp_path: Path) -> None:
    """Each load changes the file, and each change would be a reload."""

    class Writing(FakeSystem):
        def start_loader(self, generation: int, plan: Any) -> None:
            super().start_loader(generation, plan)
            self._schedule(0.05, lambda: [FilesChanged(("/srv/version.py",), 1, 0.01)])

    system = Writing(load_time=0.1)
    system.at(20, FilesChanged(("/srv/app.py",), 1, 0.0))
    system.at(30, FilesChanged(("/srv/version.py",), 1, 0.0))
    assert arbiter(term(system, 40), tmp_path, reload=True).run() == 0
    log = log_of(tmp_path)
    assert log.count("Changed: /srv/version.py. Reloading") <= 3 * ECHOES
    assert log.count("[WARNING] /srv/version.py has changed 5 times in a row while the application was loading") >= 1
    assert "Changed: /srv/app.py. Reloading" in log
    assert log.rindex("Reloaded:") > log.rindex("Changed:")


def test_what_cannot_be_loaded_anew_is_not_watched(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """It was given as an object."""

    from supervisor.config.load import Inputs, load
    from supervisor.runtime.loop import Arbiter

    given = {"bind": ["127.0.0.1:0"], "errorlog": str(tmp_path / "error.log"), "reload": True}
    inputs = Inputs(app=app, values=given, cwd=str(tmp_path))
    system = term(FakeSystem(), 3)
    assert Arbiter(load(inputs), inputs, jitter=lambda: 0.5, system=lambda **_: system).run() == 0
    assert not system.watchers.started
    assert log_of(tmp_path).count("reload has no effect. The application was given as an object") == 1
