"""Everything at once, in an order that a seed decides, under load; and in the end all is as it should be.

``CHAOS_SECONDS`` (60) says how long, ``CHAOS_SEED`` repeats a run: the seed is printed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.process import processes
from tests.process.conftest import StartService
from tests.process.connection import Outcome, Target
from tests.process.harness import Service
from tests.process.load import Load, Record, Traffic

WORKERS = 3
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(2**32))

# Longer than any back-off: a request may have to wait for the only worker to come back.
TRAFFIC = (
    Traffic(50, timeout=90),
    Traffic(30, keep_alive=False, timeout=90),
    Traffic(8, body=16384, pause=0.01, timeout=90),
    Traffic(6, path="/sleep/0.2", timeout=90),
    Traffic(6, path="/stream/6/0.05", timeout=90),
)

BROKEN = (
    {"at_import": "raise RuntimeError('broken deploy')"},
    {"at_import": "import no_such_dependency"},
    {"at_import": "def half(:"},
    {"at_import": "sys.exit('broken deploy')"},
    {"startup": "raise RuntimeError('broken deploy')"},
    {"startup": "os._exit(9)"},
)


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that was killed: when the signal was sent, and when the process was gone."""

    pid: int
    begun: float
    over: float

    def explains(self, record: Record) -> bool:
        """Whether this request may have been in the worker's hands when it died."""
        resets = (Outcome.RESET_BEFORE, Outcome.RESET_MIDDLE)
        return record.outcome in resets and record.started <= self.over and record.ended >= self.begun


class Chaos:
    """What can happen to a service, and a record of what did."""

    def __init__(self, site: Service, rng: random.Random) -> None:
        self.site = site
        self.rng = rng
        self.deaths: list[Death] = []
        self.done: list[str] = []
        self.version = 1
        self._asleep: dict[int, float] = {}

    # -- one thing after the other

    def run(self, seconds: float) -> None:
        deeds: dict[Callable[[], None], int] = {
            self.reload: 4,
            self.reload_broken: 3,
            self.add: 3,
            self.remove: 3,
            self.reopen_logs: 3,
            self.kill: 3,
            self.freeze_worker: 3,
            self.freeze_arbiter: 2,
        }
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            deed = self.rng.choices(list(deeds), list(deeds.values()))[0]
            self.done.append(deed.__name__)
            deed()
            self._pause(self.rng.choice((0.0, 0.02, 0.1, 0.5, 1.5)))
        self._thaw(all_of_them=True)

    def _pause(self, seconds: float) -> None:
        """Let some time go by, in which frozen processes wake up. The times are the seed's, nothing waits for them."""
        end = time.monotonic() + seconds
        while True:
            self._thaw()
            if time.monotonic() >= end:
                return
            time.sleep(0.01)

    def _thaw(self, *, all_of_them: bool = False) -> None:
        for pid, wakes in list(self._asleep.items()):
            if all_of_them or time.monotonic() >= wakes:
                del self._asleep[pid]
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def order(self, number: signal.Signals) -> None:
        """A signal to the arbiter, which is acted on before the next one is sent: equal ones would become one."""
        told = f"Handling signal: {number.name.removeprefix('SIG').lower()}"
        before = self.site.log.count(told)
        self.site.signal(number)
        self.site.wait_until(lambda: self.site.log.count(told) > before, f"{number.name} is acted on")

    # -- deeds

    def reload(self) -> None:
        self.version += 1
        self.site.deploy(str(self.version))
        self.order(signal.SIGHUP)

    def reload_broken(self) -> None:
        self.site.deploy("broken", **self.rng.choice(BROKEN))
        self.order(signal.SIGHUP)

    def add(self) -> None:
        if len(self.site.workers()) < WORKERS + 3:
            self.order(signal.SIGTTIN)

    def remove(self) -> None:
        self.order(signal.SIGTTOU)

    def reopen_logs(self) -> None:
        self.order(signal.SIGUSR1)

    def kill(self) -> None:
        """SIGKILL to any worker: one that boots, serves, drains, or is frozen."""
        workers = sorted(self.site.workers())
        if not workers:
            return
        pid = self.rng.choice(workers)
        begun = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.site.wait_until(lambda: not lives(pid), "a killed process is gone")
        self.deaths.append(Death(pid, begun, time.monotonic()))

    def freeze_worker(self) -> None:
        workers = sorted(self.site.workers() - set(self._asleep))
        if workers:
            self._freeze(self.rng.choice(workers), self.rng.uniform(0.05, 2.0))

    def freeze_arbiter(self) -> None:
        """Workers may die meanwhile; orders come after it."""
        self._freeze(self.site.pid, 3600)
        if self.rng.random() < 0.5:
            self.kill()
        self._pause(self.rng.uniform(0.05, 1.5))
        del self._asleep[self.site.pid]
        self.site.signal(signal.SIGCONT)

    def _freeze(self, pid: int, seconds: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            self._asleep[pid] = time.monotonic() + seconds

    # -- the end

    def settle(self) -> None:
        """A good reload, which brings the setting's number of workers."""
        self.reload()
        self.site.wait_serving(WORKERS, version=str(self.version))

    def scale_and_break(self) -> int:
        """More and fewer workers, and a deployment that fails, in any order; how many workers there are to be then."""
        wanted = WORKERS
        deeds = [self.add] * self.rng.randrange(1, 3) + [self.remove] * self.rng.randrange(5) + [self.reload_broken]
        self.rng.shuffle(deeds)
        for deed in deeds:
            if deed == self.add:
                self.order(signal.SIGTTIN)
                wanted += 1
            elif deed == self.remove:
                self.remove()
                wanted = max(wanted - 1, 1)
            else:
                deed()
        return wanted


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def unexplained(load: Load, deaths: list[Death]) -> Iterator[Record]:
    return (record for record in load.report.lost if not any(death.explains(record) for death in deaths))


@pytest.mark.chaos
def test_chaos(service: StartService, measured: Callable[[str], None]) -> None:
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")
    site = service().start("--workers", str(WORKERS), "--preload", "--pid", "service.pid")
    site.expect_error(
        r"killed by signal 9|broken deploy|no_such_dependency|half\(|SyntaxError|exit code [39]|Reload failed",
        sure=False,
    )
    site.wait_serving(WORKERS)
    descriptors = processes.descriptors(site.pid)
    chaos = Chaos(site, random.Random(SEED))
    with Load(Target(("127.0.0.1", site.port)), *TRAFFIC) as load:
        chaos.run(SECONDS)
        chaos.settle()
        site.wait_until(
            lambda: processes.descriptors(site.pid) == descriptors,
            f"the arbiter has {descriptors} descriptors, as in the beginning",
        )
        assert not processes.zombies(site.pid)
        wanted = chaos.scale_and_break()
        site.wait_log(r"Reload failed", since=site.log.rindex("Handling signal: hup"))
        site.wait_serving(wanted, version=str(chaos.version))
    report = load.stop()
    measured(f"seed {SEED}, {len(chaos.done)} deeds, {len(chaos.deaths)} workers killed: {report}")
    lost = list(unexplained(load, chaos.deaths))
    assert not lost, f"{lost}\n{report}"
    assert "broken" not in {record.version for record in load.answers()}
