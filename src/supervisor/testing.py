"""A system without processes, for tests of launchers, and of the arbiter itself: a thousand boots in seconds.

An arbiter runs on it with ``Arbiter(settings, system=lambda **_: FakeSystem())``; have a signal come `FakeSystem.at`
some time, or it waits for ever, and is told so.
"""

from __future__ import annotations

import heapq
import itertools
import signal
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

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
from supervisor.errors import SupervisorError
from supervisor.runtime.system import Birth, Occurrence, Plan, Rehearsed, Succession, SuccessorExited
from supervisor.runtime.watched import Watch


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a fake worker behaves. Times are seconds; a failure makes it fail to boot instead of getting ready."""

    boot_time: float = 0.05
    drain_time: float = 0.05
    failure: Failure | None = None
    wedged: bool = False  # beats no more once it is ready


@dataclass(slots=True)
class FakeWorker:
    """A worker of a `FakeSystem`."""

    birth: Birth
    conduct: Conduct
    pid: int = 0
    gone: bool = False
    ready_at: float | None = None


class FakeWatchers:
    """A watcher without a process: what it was started with, and what it was told."""

    def __init__(self) -> None:
        self.started: list[Watch] = []
        self.since = 0.0
        self.imported: list[str] = []
        self.healthy = False
        self.running = False

    def start(self, watch: Watch, *, proc_name: str, since: float) -> None:
        del proc_name
        self.started.append(watch)
        self.since = since
        self.imported, self.healthy, self.running = [], False, True

    def stop(self) -> None:
        self.running = False

    def tell_imported(self, files: Iterable[str]) -> None:
        self.imported += files

    def tell_health(self, *, healthy: bool) -> None:
        self.healthy = healthy


class FakeSystem:
    """`supervisor.runtime.system.System` on a clock of its own: `wait` jumps to the next thing that happens.

    ``load`` tells by generation why its loader fails, or None; ``conduct`` tells how a worker behaves.
    """

    def __init__(
        self,
        *,
        load: Callable[[int], Failure | None] = lambda _generation: None,
        conduct: Callable[[Birth], Conduct] = lambda _birth: Conduct(),
        load_time: float = 0.1,
    ) -> None:
        self._load = load
        self._conduct = conduct
        self._load_time = load_time
        self._now = 1000.0
        self._started_at = self._now
        self._order = itertools.count()
        self._future: list[tuple[float, int, Callable[[], list[Occurrence]]]] = []
        self._pids = itertools.count(100)
        self.loaders: set[int] = set()
        self.workers: dict[int, FakeWorker] = {}
        self.successions: list[Succession] = []
        self.successor = 0
        self.told_predecessor = False
        self.rehearsals = 0
        self.closed = False
        self.watchers = FakeWatchers()

    def at(self, seconds: float, occurrence: Occurrence) -> None:
        """Have something happen, so many seconds after the system was made."""
        self._schedule(self._started_at + seconds - self._now, lambda: [occurrence])

    def crash(self, seconds: float, worker: int, status: int = -9) -> None:
        """Have a worker die, so many seconds after the system was made."""
        self._schedule(self._started_at + seconds - self._now, lambda: self._end(self.workers[worker], status))

    # System

    def now(self) -> float:
        return self._now

    def wait(self, until: float | None) -> list[Occurrence]:
        if self._future and (until is None or self._future[0][0] <= until):
            at, _, happen = heapq.heappop(self._future)
            self._now = max(self._now, at)
            return happen()
        if until is None:
            raise AssertionError("the arbiter waits for something that will never happen")
        self._now = max(self._now, until)
        return []

    def start_loader(self, generation: int, plan: Plan) -> None:
        del plan
        self.loaders.add(generation)
        self._schedule(self._load_time, lambda: self._loaded(generation))

    def stop_loader(self, generation: int) -> None:
        if generation in self.loaders:
            self._schedule(0.0, lambda: self._loader_ends(generation, -9))

    def abort_loader(self, generation: int) -> None:
        if generation in self.loaders:
            self._schedule(0.001, lambda: self._loader_ends(generation, -6))

    def spawn(self, birth: Birth) -> None:
        if birth.generation not in self.loaders:
            return
        worker = self.workers[birth.worker] = FakeWorker(birth, self._conduct(birth))
        self._schedule(0.001, lambda: self._fork(worker))

    def signal_worker(self, worker: int, signum: signal.Signals) -> None:
        target = self.workers[worker]
        match signum:
            case signal.SIGTERM:
                self._schedule(0.0, lambda: [] if target.gone else [Draining(worker)])
                self._schedule(target.conduct.drain_time, lambda: self._end(target, 0))
            case signal.SIGQUIT | signal.SIGINT:
                self._schedule(0.001, lambda: self._end(target, 0))
            case signal.SIGABRT:
                self._schedule(0.001, lambda: self._end(target, 1))
            case signal.SIGKILL:
                self._schedule(0.0, lambda: self._end(target, -9))
            case _:
                pass

    def heartbeats(self) -> dict[int, float]:
        return {number: self._beat(worker) for number, worker in self.workers.items()}

    def rehearse(self, act: Callable[[], bytes]) -> int:
        self.rehearsals += 1
        number = self.rehearsals
        try:
            answer = act()
        except SupervisorError as error:
            failure = Failure(str(error), error.detail)
            self._schedule(0.0, lambda: [Rehearsed(number, failure)] if number == self.rehearsals else [])
        else:
            self._schedule(0.0, lambda: [Rehearsed(number, None, answer)] if number == self.rehearsals else [])
        return number

    def stop_rehearsal(self) -> None:
        self.rehearsals += 1

    def start_successor(self, succession: Succession) -> int:
        self.successor = next(self._pids)
        self.successions.append(succession)
        return self.successor

    def signal_successor(self, signum: signal.Signals) -> None:
        if self.successor:
            self._schedule(0.001, lambda: self._end_successor(-signum))

    def meet_predecessor(self, line: int) -> None:
        del line

    def tell_predecessor(self, kept: Iterable[str]) -> None:
        del kept
        self.told_predecessor = True

    def reopen_logs(self) -> None:
        """There are none."""

    def last_words(self, worker: int) -> str:
        del worker
        return ""

    def release(self, worker: int) -> None:
        self.workers.pop(worker, None)

    def around_hooks(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        self.closed = True

    # What happens

    def _end_successor(self, status: int) -> list[Occurrence]:
        pid, self.successor = self.successor, 0
        return [SuccessorExited(pid, status)] if pid else []

    def _schedule(self, delay: float, happen: Callable[[], list[Occurrence]]) -> None:
        heapq.heappush(self._future, (self._now + delay, next(self._order), happen))

    def _loaded(self, generation: int) -> list[Occurrence]:
        if generation not in self.loaders:
            return []
        failure = self._load(generation)
        if failure is None:
            return [LoaderReady(generation)]
        return [LoaderFailed(generation, failure), *self._loader_ends(generation, failure.exit_code)]

    def _loader_ends(self, generation: int, status: int) -> list[Occurrence]:
        if generation not in self.loaders:
            return []
        self.loaders.discard(generation)
        for number, worker in list(self.workers.items()):
            if worker.birth.generation == generation and not worker.pid:
                worker.gone = True
                del self.workers[number]
        return [LoaderExited(generation, status)]

    def _fork(self, worker: FakeWorker) -> list[Occurrence]:
        if worker.gone:
            return []
        if worker.birth.generation not in self.loaders:
            return [ForkFailed(worker.birth.worker, "no loader")]
        worker.pid = next(self._pids)
        self._schedule(worker.conduct.boot_time, lambda: self._boot(worker))
        return [Forked(worker.birth.worker, worker.pid)]

    def _boot(self, worker: FakeWorker) -> list[Occurrence]:
        if worker.gone:
            return []
        if failure := worker.conduct.failure:
            return [BootFailed(worker.birth.worker, failure), *self._end(worker, failure.exit_code)]
        worker.ready_at = self._now
        return [Ready(worker.birth.worker)]

    def _end(self, worker: FakeWorker, status: int) -> list[Occurrence]:
        if worker.gone:
            return []
        worker.gone = True
        return [Exited(worker.birth.worker, status)]

    def _beat(self, worker: FakeWorker) -> float:
        if worker.ready_at is None:
            return 0.0
        return worker.ready_at if worker.conduct.wedged else self._now
