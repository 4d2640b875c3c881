"""`System` with real processes: one selector, one channel to each loader and to each worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

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
    RetirementWanted,
)
from supervisor.logs.setup import Logs
from supervisor.runtime import janitor, privileges
from supervisor.runtime.channel import Channel, ChannelError, Message
from supervisor.runtime.child import DUMP_SIGNAL, ORDERS
from supervisor.runtime.children import Children, has_children, is_child
from supervisor.runtime.forking import Forks
from supervisor.runtime.heartbeat import HeartbeatFile
from supervisor.runtime.linux import have_subreaper, set_child_subreaper
from supervisor.runtime.loader import Loader, from_the_loader_on
from supervisor.runtime.relatives import OtherArbiter, Rehearsal, Relatives
from supervisor.runtime.scoreboard import Scoreboard
from supervisor.runtime.signals import SignalWakeup
from supervisor.runtime.system import (
    Birth,
    FilesImported,
    HazardFound,
    LoaderWords,
    Occurrence,
    Plan,
    SignalArrived,
    SourcesChanged,
    StrangerReaped,
    Succession,
)
from supervisor.runtime.watching import WatcherProcess, Watching
from supervisor.runtime.wiring import Wiring

LAST_REAP = 0.25
"""Seconds."""


@dataclass(slots=True)
class LoaderProcess:
    """The arbiter's side of a loader. ``page`` is there for the last words of the process only."""

    generation: int
    plan: Plan
    pid: int
    channel: Channel
    page: HeartbeatFile


@dataclass(slots=True)
class WorkerProcess:
    """The arbiter's side of a worker. ``pid`` is 0 until the loader has told it."""

    number: int
    generation: int
    channel: Channel
    heartbeat: HeartbeatFile
    seat: int
    pid: int = 0


@dataclass(slots=True)
class PosixSystem:
    """Processes, signals and clock of a Linux machine. Until `close`, orphans among its descendants are its children.

    ``logs`` returns the logs in use, which the loaders inherit.
    ``close_in_child`` closes, in a freshly forked loader, what the arbiter holds beside this system.
    """

    signals: SignalWakeup
    logs: Callable[[], Logs]
    heartbeat_directory: str
    close_in_child: Callable[[], None] = lambda: None
    children: Children = field(default_factory=Children)
    _loaders: dict[int, LoaderProcess] = field(default_factory=dict)
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _unclaimed: dict[int, int] = field(default_factory=dict)
    _sources: dict[int, bytes] = field(default_factory=dict)
    _scoreboard: Scoreboard = field(default_factory=Scoreboard)
    _wiring: Wiring = field(init=False)
    _forks: Forks = field(init=False)
    _relatives: Relatives = field(init=False)
    watchers: Watching = field(init=False)
    _was_subreaper: bool = field(init=False)

    def __post_init__(self) -> None:
        self._was_subreaper = have_subreaper()
        set_child_subreaper()
        self._wiring = Wiring(self.signals.fileno())
        self._forks = Forks(self.signals, self.children, self.logs, self._close_everything_in_child)
        self._relatives = Relatives(self._wiring, self._forks)
        self.watchers = Watching(self._wiring, self._forks)

    def now(self) -> float:
        return time.monotonic()

    # What happened

    def wait(self, until: float | None) -> list[Occurrence]:
        timeout = None if until is None else max(0.0, until - self.now())
        happened: list[Occurrence] = []
        arrived: list[signal.Signals] = []
        for owner in self._wiring.wait(timeout):
            match owner:
                case LoaderProcess():
                    happened += self._heed_loader(owner)
                case WorkerProcess():
                    happened += self._heed_worker(owner)
                case OtherArbiter():
                    happened += self._relatives.heed_arbiter(owner)
                case Rehearsal():
                    self._relatives.heed_rehearsal(owner)
                case WatcherProcess():
                    happened += self.watchers.heed(owner)
                case _:
                    arrived += self.signals.drain()
        if signal.SIGCHLD in arrived:
            happened += self._reap()
        # Orders first: a terminal and a service manager send them to the workers as well, and what these then do
        # would look like so many accidents to an arbiter that does not know yet.
        return [*(SignalArrived(number) for number in arrived if number != signal.SIGCHLD), *happened]

    def _heed_loader(self, loader: LoaderProcess) -> list[Occurrence]:
        happened: list[Occurrence] = []
        for message in loader.channel.receive():
            happened += self._understand_loader(loader, message)
        self._wiring.watch(loader.channel)
        return happened

    def _understand_loader(self, loader: LoaderProcess, message: Message) -> list[Occurrence]:
        generation = loader.generation
        match message.kind:
            case "loaded":
                self._sources.setdefault(generation, message.payload)
                return [*_findings(generation, message), LoaderReady(generation)]
            case "load_failed":
                return [LoaderFailed(generation, _failure(message))]
            case "imported":
                return [FilesImported(message.paths)]
            case "forked":
                return self._claim(message.integer("worker"), message.integer("pid"))
            case "fork_failed" if (worker := message.integer("worker")) in self._workers:
                return [ForkFailed(worker, message.text("reason"))]
            case _:
                return []

    def _claim(self, number: int, pid: int) -> list[Occurrence]:
        worker = self._workers.get(number)
        if worker is None or worker.pid or pid <= 0:
            return []
        status = self._unclaimed.pop(pid, None)
        if status is None and (pid in self.children or not is_child(pid)):
            # A loader runs the application's code, and what it says is not to be trusted with a kill(2).
            return [ForkFailed(number, f"the loader named a process {pid} that is no new child of the arbiter")]
        worker.pid = pid
        self._forget_unclaimed()
        if status is None:
            self.children.expect(pid)
            return [Forked(number, pid)]
        return [Forked(number, pid), *self._heed_worker(worker), Exited(number, status)]

    def _heed_worker(self, worker: WorkerProcess) -> list[Occurrence]:
        happened: list[Occurrence] = []
        for message in worker.channel.receive():
            match message.kind:
                case "ready":
                    happened.append(Ready(worker.number))
                case "boot_failed":
                    happened.append(BootFailed(worker.number, _failure(message)))
                case "retirement_wanted":
                    happened.append(RetirementWanted(worker.number, message.text("reason")))
                case "draining":
                    happened.append(Draining(worker.number))
                case "imported":
                    happened.append(FilesImported(message.paths))
        self._wiring.watch(worker.channel)
        return happened

    def _reap(self) -> list[Occurrence]:
        happened: list[Occurrence] = []
        ended, strangers = self.children.reap()
        for pid, status in ended.items():
            happened += self._relatives.ended(pid, status) + self.watchers.ended(pid, status)
            for loader in [loader for loader in self._loaders.values() if loader.pid == pid]:
                happened += self._loader_ended(loader, status)
            for worker in [worker for worker in self._workers.values() if worker.pid == pid]:
                # Its last words lie in the channel: they come before its death.
                happened += self._heed_worker(worker)
                happened.append(Exited(worker.number, status))
        for pid, status in strangers.items():
            # Perhaps a worker that nobody has told us of yet.
            self._unclaimed[pid] = status
            happened.append(StrangerReaped(pid))
        self._forget_unclaimed()
        return happened

    def _forget_unclaimed(self) -> None:
        """A pid means nothing for longer than it takes to hear of the workers that were asked for: it is used again."""
        if all(worker.pid for worker in self._workers.values()):
            self._unclaimed.clear()

    def _loader_ended(self, loader: LoaderProcess, status: int) -> list[Occurrence]:
        happened = self._heed_loader(loader)
        if words := from_the_loader_on(loader.page.read_dump()):
            happened.append(LoaderWords(loader.generation, words))
        self._wiring.hang_up(loader.channel)
        loader.page.close()
        del self._loaders[loader.generation]
        for worker in [w for w in self._workers.values() if w.generation == loader.generation and not w.pid]:
            self.release(worker.number)
        return [*happened, LoaderExited(loader.generation, status)]

    # What to do

    def start_loader(self, generation: int, plan: Plan) -> None:
        self._forget_sources(generation)
        page = HeartbeatFile.create(self.heartbeat_directory)
        arbiter_pid, known, logs = os.getpid(), self._sources.get(generation, b""), self.logs()

        def live(line: Channel) -> None:
            Loader(
                generation=generation,
                plan=plan,
                channel=line,
                page=page,
                known=known,
                scoreboard=self._scoreboard,
                logs=logs,
                arbiter_pid=arbiter_pid,
            ).run()

        try:
            loader = LoaderProcess(generation, plan, *self._forks.fork("loader", live), page)
        except OSError:
            page.close()
            raise
        self._loaders[generation] = loader
        self._wiring.connect(loader)
        if privileges.change(plan.settings):
            with suppress(OSError):  # it is wanted only if this process is killed
                let_go = self._close_everything_in_child
                self.children.expect(janitor.start(plan, loader=loader.pid, signals=self.signals, let_go=let_go))

    def _forget_sources(self, starting: int) -> None:
        """A generation may be loaded again for as long as it has workers."""
        alive = {starting, *self._loaders, *(worker.generation for worker in self._workers.values())}
        self._sources = {generation: known for generation, known in self._sources.items() if generation in alive}

    def stop_loader(self, generation: int) -> None:
        if loader := self._loaders.get(generation):
            self._find_guardian(generation)
            _kill(loader.pid, signal.SIGKILL)

    def _find_guardian(self, generation: int) -> None:
        """Leave the workers that a loader has forked to the newest one: see `supervisor.runtime.offspring`."""
        heir = self._loaders[max(self._loaders)]
        for worker in self._workers.values():
            if worker.pid and worker.generation <= generation < heir.generation:
                with suppress(OSError, ChannelError):
                    descriptor = os.pidfd_open(worker.pid)  # not reaped yet, so it is that worker's
                    try:
                        heir.channel.send("guard", fds=[descriptor])
                    finally:
                        os.close(descriptor)
        self._wiring.watch(heir.channel)

    def abort_loader(self, generation: int) -> None:
        if loader := self._loaders.get(generation):
            _kill(loader.pid, signal.SIGABRT)
            _kill(loader.pid, signal.SIGCONT)  # to one that is stopped, nothing else would be delivered

    def spawn(self, birth: Birth) -> None:
        loader = self._loaders.get(birth.generation)
        if loader is None:
            return  # it has just been reaped: LoaderExited is on its way, and answers this
        ours, theirs = Channel.pair()
        heartbeat = HeartbeatFile.create(self.heartbeat_directory)
        worker = WorkerProcess(birth.worker, birth.generation, ours, heartbeat, self._scoreboard.take())
        self._workers[birth.worker] = worker
        self._wiring.connect(worker)
        fds = [theirs.fileno(), heartbeat.fd, *(listener.fileno() for listener in loader.plan.listeners)]
        fields = {"worker": birth.worker, "slot": birth.slot, "seat": worker.seat}
        loader.channel.send("fork", fields, payload=birth.attachments, fds=fds)
        self._wiring.watch(loader.channel)
        theirs.close()
        # One that somebody has stopped would otherwise be given up, and its generation loaded from disk anew.
        _kill(loader.pid, signal.SIGCONT)

    def signal_worker(self, worker: int, signum: signal.Signals) -> None:
        process = self._workers[worker]
        if signum == signal.SIGABRT:
            _kill(process.pid, DUMP_SIGNAL)
        if order := ORDERS.get(signum):
            with suppress(ChannelError):
                process.channel.send(order)
                self._wiring.watch(process.channel)
        _kill(process.pid, signum)

    def heartbeats(self) -> dict[int, float]:
        return {worker.number: worker.heartbeat.last_beat for worker in self._workers.values()}

    def rehearse(self, act: Callable[[], bytes]) -> int:
        return self._relatives.rehearse(act)

    def stop_rehearsal(self) -> None:
        self._relatives.stop_rehearsal()

    def start_successor(self, succession: Succession) -> int:
        return self._relatives.start_successor(succession)

    def signal_successor(self, signum: signal.Signals) -> None:
        self._relatives.signal_successor(signum)

    def meet_predecessor(self, line: int) -> None:
        self._relatives.meet_predecessor(line)

    def tell_predecessor(self, kept: Iterable[str]) -> None:
        self._relatives.tell_predecessor(kept)

    def reopen_logs(self) -> None:
        for loader in self._loaders.values():
            loader.channel.send("reopen_logs")
            self._wiring.watch(loader.channel)

    def last_words(self, worker: int) -> str:
        process = self._workers.get(worker)
        return process.heartbeat.read_dump().strip() if process else ""

    def release(self, worker: int) -> None:
        if process := self._workers.pop(worker, None):
            self._wiring.hang_up(process.channel)
            process.heartbeat.close()
            self._scoreboard.vacate(process.seat)

    def around_hooks(self) -> AbstractContextManager[None]:
        return self._around_hooks()

    @contextmanager
    def _around_hooks(self) -> Iterator[None]:
        try:
            with self.children.left_to_hooks():
                yield
        finally:
            self.signals.reassert()

    def close(self) -> None:
        self._reap_the_rest()
        self._close_everything()
        if not self._was_subreaper:
            set_child_subreaper(on=False)  # a launcher goes on as it was

    def _reap_the_rest(self) -> None:
        """Wait a moment for processes that came to us when a loader was killed in the middle of a fork.

        What the application has left behind may run on: it goes to the next subreaper, or to init.
        """
        until = self.now() + LAST_REAP
        while self.now() < until and has_children():
            self.wait(until)
        self.children.reap_left_to_hooks()

    def _close_everything_in_child(self) -> None:
        self._close_everything()
        self.close_in_child()

    def _close_everything(self) -> None:
        self._wiring.close()
        for channel in self._channels():
            channel.close()
        for worker in self._workers.values():
            worker.heartbeat.close()
        for loader in self._loaders.values():
            loader.page.close()

    def _channels(self) -> Iterable[Channel]:
        yield from (loader.channel for loader in self._loaders.values())
        yield from (worker.channel for worker in self._workers.values())
        yield from (*self._relatives.channels(), *self.watchers.channels())


def _kill(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return  # it has ended, and will be reaped


def _findings(generation: int, message: Message) -> Iterator[HazardFound | SourcesChanged]:
    """What a loader has to report beside that it is ready."""
    hazards = message.fields.get("hazards")
    for hazard in hazards if isinstance(hazards, list) else []:
        yield HazardFound(generation, str(hazard))
    if first := message.text("changed"):
        yield SourcesChanged(generation, first, message.integer("changes", 1))


def _failure(message: Message) -> Failure:
    code = message.integer("exit_code")
    return Failure(message.text("summary"), message.payload_text, code if code in (3, 4) else 3)
