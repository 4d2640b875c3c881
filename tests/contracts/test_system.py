"""What every `System` keeps to: the one with processes, and the one without."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.config.load import Inputs, load
from supervisor.core.events import (
    BootFailed,
    Draining,
    Exited,
    Failure,
    Forked,
    ForkFailed,
    LoaderExited,
    LoaderFailed,
    LoaderReady,
    Ready,
)
from supervisor.logs.setup import setup
from supervisor.runtime.posix import PosixSystem
from supervisor.runtime.signals import SignalWakeup
from supervisor.runtime.sockets import open_listener
from supervisor.runtime.system import Birth, Occurrence, Plan, System
from supervisor.testing import Conduct, FakeSystem

APP = """
async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

async def bad(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})
"""


class World:
    """A system under test, and what has happened in it so far."""

    def __init__(self, system: System, plan: Callable[[str], Plan]) -> None:
        self.system = system
        self.plan = plan
        self.happened: list[Occurrence] = []
        self._seen = 0

    def until(self, wanted: type) -> Occurrence:
        """Wait until something of this kind happens. The bound is a minute, for a machine that is busy."""
        end = self.system.now() + 60
        while self.system.now() < end:
            for occurrence in self.happened[self._seen :]:
                self._seen += 1
                if isinstance(occurrence, wanted):
                    return occurrence
            self.happened += self.system.wait(self.system.now() + 1)
        pytest.fail(f"no {wanted.__name__}; what happened: {self.happened}")

    def boot(self, worker: int, generation: int = 1) -> None:
        self.system.spawn(Birth(worker, 0, generation))
        self.until(Ready)


@pytest.fixture(params=["fake", "posix"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "fake":
        yield World(
            FakeSystem(
                load=lambda generation: Failure("no such module", exit_code=4) if generation == 13 else None,
                conduct=lambda birth: Conduct(failure=Failure("no database") if birth.generation == 7 else None),
            ),
            lambda _app: Plan(None),  # type: ignore[arg-type]  # the fake looks at nothing in it
        )
        return
    (tmp_path / "contract_app.py").write_text(APP)
    before = set(os.listdir("/proc/self/fd"))
    signals = SignalWakeup()
    listener = open_listener("127.0.0.1:0", backlog=16, umask=0)

    def plan(app: str) -> Plan:
        settings = load(Inputs(app=app, values={"preload_app": True}, cwd=str(tmp_path), default_files=False))
        return Plan(settings, (listener,))

    logs = setup(plan("contract_app:app").settings)
    system = PosixSystem(signals=signals, logs=lambda: logs, heartbeat_directory=str(tmp_path))
    yield World(system, plan)
    for loader in list(system._loaders.values()):
        system.stop_loader(loader.generation)
    for worker in list(system._workers.values()):
        if worker.pid and worker.pid in system.children:
            system.signal_worker(worker.number, signal.SIGKILL)
    while system._loaders or any(worker.pid in system.children for worker in system._workers.values()):
        system.wait(system.now() + 1)
    system.close()
    logs.close()
    signals.restore()
    listener.close()
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def app_for(generation: int) -> str:
    return {13: "contract_no_such_module:app", 7: "contract_app:bad"}.get(generation, "contract_app:app")


def start(world: World, generation: int = 1) -> None:
    world.system.start_loader(generation, world.plan(app_for(generation)))


def test_a_loader_gets_ready(world: World) -> None:
    start(world)
    assert world.until(LoaderReady) == LoaderReady(1)


def test_a_loader_that_cannot_load_says_why_and_is_gone(world: World) -> None:
    start(world, 13)
    failed = world.until(LoaderFailed)
    assert isinstance(failed, LoaderFailed)
    assert failed.failure.exit_code == 4
    assert "no such module" in failed.failure.summary or "not found" in failed.failure.summary
    assert world.until(LoaderExited) == LoaderExited(13, 4)


def test_a_stopped_loader_is_reaped(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.system.stop_loader(1)
    assert world.until(LoaderExited) == LoaderExited(1, -signal.SIGKILL)
    world.system.stop_loader(1)  # one that is gone already


def test_an_aborted_loader_is_reaped(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.system.abort_loader(1)
    assert world.until(LoaderExited) == LoaderExited(1, -signal.SIGABRT)
    world.system.abort_loader(1)  # one that is gone already


def test_a_worker_is_forked_gets_ready_and_beats(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.system.spawn(Birth(5, 0, 1))
    forked = world.until(Forked)
    assert isinstance(forked, Forked)
    assert forked.worker == 5
    assert forked.pid > 1
    assert world.until(Ready) == Ready(5)
    assert 0 < world.system.heartbeats()[5] <= world.system.now()


def test_term_drains_and_ends_with_zero(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.boot(1)
    world.system.signal_worker(1, signal.SIGTERM)
    assert world.until(Draining) == Draining(1)
    assert world.until(Exited) == Exited(1, 0)
    world.system.signal_worker(1, signal.SIGTERM)  # one that is gone already


@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGQUIT, 0), (signal.SIGKILL, -signal.SIGKILL), (signal.SIGABRT, 1)]
)
def test_signals_end_a_worker_each_in_its_way(world: World, signum: signal.Signals, status: int) -> None:
    start(world)
    world.until(LoaderReady)
    world.boot(1)
    world.system.signal_worker(1, signum)
    assert world.until(Exited) == Exited(1, status)


def test_a_worker_that_cannot_boot_says_why_before_it_exits(world: World) -> None:
    start(world, 7)
    world.until(LoaderReady)
    world.system.spawn(Birth(1, 0, 7))
    failed = world.until(BootFailed)
    assert isinstance(failed, BootFailed)
    assert "no database" in failed.failure.summary + failed.failure.detail
    assert world.until(Exited) == Exited(1, 3)
    kinds = [type(occurrence) for occurrence in world.happened]
    assert kinds.index(BootFailed) < kinds.index(Exited)


def test_workers_survive_their_loader(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.boot(1)
    world.system.stop_loader(1)
    world.until(LoaderExited)
    world.system.signal_worker(1, signal.SIGTERM)
    assert world.until(Exited) == Exited(1, 0)


def test_a_fork_that_was_asked_of_a_dying_loader_is_answered(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.system.stop_loader(1)
    world.system.spawn(Birth(1, 0, 1))
    answer = world.until(Forked | ForkFailed | LoaderExited)  # type: ignore[arg-type]  # isinstance takes unions
    assert answer in (LoaderExited(1, -signal.SIGKILL), Forked(1, getattr(answer, "pid", 0)))


def test_a_fork_that_is_asked_of_a_reaped_loader_is_answered_by_its_exit(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.system.stop_loader(1)
    world.until(LoaderExited)
    world.system.spawn(Birth(1, 0, 1))
    assert 1 not in world.system.heartbeats()
    world.system.release(1)


def test_released_workers_are_forgotten(world: World) -> None:
    start(world)
    world.until(LoaderReady)
    world.boot(1)
    world.system.signal_worker(1, signal.SIGKILL)
    world.until(Exited)
    world.system.release(1)
    assert 1 not in world.system.heartbeats()
    world.system.release(1)


def test_waiting_ends_at_its_deadline(world: World) -> None:
    until = world.system.now() + 0.05
    assert world.system.wait(until) == []
    assert world.system.now() >= until
