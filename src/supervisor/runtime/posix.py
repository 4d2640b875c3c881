"""`System` with real processes: one selector, one channel to each loader and to each worker."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

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
from supervisor.core.status import describe
from supervisor.logs.setup import Logs
from supervisor.runtime.channel import Channel, Message
from supervisor.runtime.child import DUMP_SIGNAL
from supervisor.runtime.children import Children, has_children, is_child
from supervisor.runtime.handover import Handover, pass_on
from supervisor.runtime.heartbeat import HeartbeatFile
from supervisor.runtime.loader import Loader
from supervisor.runtime.rehearsal import rehearse
from supervisor.runtime.service_manager import for_successor
from supervisor.runtime.signals import SignalWakeup
from supervisor.runtime.system import (
    Birth,
    HazardFound,
    Occurrence,
    Plan,
    PredecessorGone,
    Rehearsed,
    SignalArrived,
    StrangerReaped,
    Succession,
    SuccessorExited,
    SuccessorReady,
)

LAST_REAP = 0.25
"""Seconds."""


@dataclass(slots=True)
class LoaderProcess:
    """The arbiter's side of a loader."""

    generation: int
    plan: Plan
    pid: int
    channel: Channel


@dataclass(slots=True)
class WorkerProcess:
    """The arbiter's side of a worker. ``pid`` is 0 until the loader has told it."""

    number: int
    generation: int
    channel: Channel
    heartbeat: HeartbeatFile
    pid: int = 0
    status: int | None = None


@dataclass(slots=True)
class OtherArbiter:
    """The arbiter that was before this one, or that comes after it. ``pid`` is 0 for the one before."""

    pid: int
    channel: Channel


@dataclass(slots=True)
class Rehearsal:
    """The process in which something is tried, and what it has said: None for nothing yet."""

    pid: int
    channel: Channel
    said: Message | None = None


@dataclass(slots=True)
class PosixSystem:
    """Processes, signals and clock of a Linux machine.

    ``logs`` returns the logs in use, which the loaders inherit.
    ``close_in_child`` closes, in a freshly forked loader, what the arbiter holds beside this system.
    """

    signals: SignalWakeup
    logs: Callable[[], Logs]
    heartbeat_directory: str
    close_in_child: Callable[[], None] = lambda: None
    children: Children = field(default_factory=Children)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _loaders: dict[int, LoaderProcess] = field(default_factory=dict)
    _workers: dict[int, WorkerProcess] = field(default_factory=dict)
    _unclaimed: dict[int, int] = field(default_factory=dict)
    _successor: OtherArbiter | None = None
    _predecessor: OtherArbiter | None = None
    _rehearsal: Rehearsal | None = None

    def __post_init__(self) -> None:
        self._selector.register(self.signals.fileno(), selectors.EVENT_READ)

    def now(self) -> float:
        return time.monotonic()

    # What happened

    def wait(self, until: float | None) -> list[Occurrence]:
        timeout = None if until is None else max(0.0, until - self.now())
        happened: list[Occurrence] = []
        arrived: list[signal.Signals] = []
        for key, mask in self._selector.select(timeout):
            match key.data:
                case LoaderProcess() as loader:
                    self._serve(loader.channel, mask)
                    happened += self._heed_loader(loader)
                case WorkerProcess() as worker:
                    self._serve(worker.channel, mask)
                    happened += self._heed_worker(worker)
                case OtherArbiter() as other:
                    happened += self._heed_arbiter(other)
                case Rehearsal() as rehearsal:
                    self._heed_rehearsal(rehearsal)
                case _:
                    arrived += self.signals.drain()
        if signal.SIGCHLD in arrived:
            happened += self._reap()
        # Orders first: a terminal and a service manager send them to the workers as well, and what these then do
        # would look like so many accidents to an arbiter that does not know yet.
        return [*(SignalArrived(number) for number in arrived if number != signal.SIGCHLD), *happened]

    def _serve(self, channel: Channel, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            channel.flush()
        self._watch(channel)

    def _heed_loader(self, loader: LoaderProcess) -> list[Occurrence]:
        happened: list[Occurrence] = []
        for message in loader.channel.receive():
            happened += self._understand_loader(loader, message)
        self._watch(loader.channel)
        return happened

    def _understand_loader(self, loader: LoaderProcess, message: Message) -> list[Occurrence]:
        generation = loader.generation
        match message.kind:
            case "loaded":
                hazards = message.fields.get("hazards")
                found = hazards if isinstance(hazards, list) else []
                return [*(HazardFound(generation, str(hazard)) for hazard in found), LoaderReady(generation)]
            case "load_failed":
                return [LoaderFailed(generation, _failure(message))]
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
        self._watch(worker.channel)
        return happened

    def _reap(self) -> list[Occurrence]:
        happened: list[Occurrence] = []
        ended, strangers = self.children.reap()
        for pid, status in ended.items():
            if self._rehearsal is not None and self._rehearsal.pid == pid:
                happened.append(self._rehearsed(self._rehearsal, status))
            if self._successor is not None and self._successor.pid == pid:
                self._drop_channel(self._successor.channel)
                self._successor = None
                happened.append(SuccessorExited(pid, status))
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
        self._drop_channel(loader.channel)
        del self._loaders[loader.generation]
        for worker in [w for w in self._workers.values() if w.generation == loader.generation and not w.pid]:
            self.release(worker.number)
        return [*happened, LoaderExited(loader.generation, status)]

    # What to do

    def start_loader(self, generation: int, plan: Plan) -> None:
        ours, theirs = Channel.pair()
        logs = self.logs()
        logs.flush()
        arbiter_pid = os.getpid()
        with self.signals.held():
            pid = os.fork()
            if pid == 0:
                self._be_a_loader(generation, plan, channel=theirs, ours=ours, logs=logs, arbiter_pid=arbiter_pid)
        theirs.close()
        loader = LoaderProcess(generation, plan, pid, ours)
        self._loaders[generation] = loader
        self.children.expect(pid)
        self._selector.register(ours.fileno(), selectors.EVENT_READ, loader)

    def _be_a_loader(
        self, generation: int, plan: Plan, *, channel: Channel, ours: Channel, logs: Logs, arbiter_pid: int
    ) -> NoReturn:
        try:
            self.signals.reset_in_child()
            ours.close()
            self._close_everything()
            self.close_in_child()
            Loader(
                generation=generation,
                plan=plan,
                channel=channel,
                logs=logs,
                arbiter_pid=arbiter_pid,
            ).run()
        except BaseException as error:  # noqa: BLE001 - nothing may climb up into the arbiter's frames of this copy
            logs.error.critical("the loader failed: %s", error, exc_info=error)
        finally:
            os._exit(3)

    def stop_loader(self, generation: int) -> None:
        if loader := self._loaders.get(generation):
            _kill(loader.pid, signal.SIGKILL)

    def spawn(self, birth: Birth) -> None:
        loader = self._loaders.get(birth.generation)
        if loader is None:
            return  # it has just been reaped: LoaderExited is on its way, and answers this
        ours, theirs = Channel.pair()
        heartbeat = HeartbeatFile.create(self.heartbeat_directory)
        worker = WorkerProcess(birth.worker, birth.generation, ours, heartbeat)
        self._workers[birth.worker] = worker
        self._selector.register(ours.fileno(), selectors.EVENT_READ, worker)
        fds = [theirs.fileno(), heartbeat.fd, *(listener.fileno() for listener in loader.plan.listeners)]
        fields = {"worker": birth.worker, "slot": birth.slot}
        loader.channel.send("fork", fields, payload=birth.attachments, fds=fds)
        self._watch(loader.channel)
        theirs.close()

    def signal_worker(self, worker: int, signum: signal.Signals) -> None:
        process = self._workers[worker]
        if signum == signal.SIGABRT:
            _kill(process.pid, DUMP_SIGNAL)
        _kill(process.pid, signum)

    def heartbeats(self) -> dict[int, float]:
        return {worker.number: worker.heartbeat.last_beat for worker in self._workers.values()}

    # Rehearsal

    def rehearse(self, act: Callable[[], object]) -> None:
        self.stop_rehearsal()
        ours, theirs = Channel.pair()
        with self.signals.held():
            pid = os.fork()
            if pid == 0:
                try:
                    self.signals.reset_in_child()
                    ours.close()
                    self._close_everything()
                    self.close_in_child()
                    rehearse(act, theirs)
                finally:
                    os._exit(1)
        theirs.close()
        self._rehearsal = Rehearsal(pid, ours)
        self.children.expect(pid)
        self._selector.register(ours.fileno(), selectors.EVENT_READ, self._rehearsal)

    def stop_rehearsal(self) -> None:
        if self._rehearsal is not None:
            _kill(self._rehearsal.pid, signal.SIGKILL)
            self._drop_channel(self._rehearsal.channel)
            self._rehearsal = None

    def _heed_rehearsal(self, rehearsal: Rehearsal) -> None:
        for message in rehearsal.channel.receive():
            rehearsal.said = message
        self._watch(rehearsal.channel)

    def _rehearsed(self, rehearsal: Rehearsal, status: int) -> Rehearsed:
        self._heed_rehearsal(rehearsal)
        self._drop_channel(rehearsal.channel)
        self._rehearsal = None
        if rehearsal.said is None:
            return Rehearsed(Failure(f"reading the configuration ended the process ({describe(status)})"))
        return Rehearsed(None if rehearsal.said.kind == "passed" else _failure(rehearsal.said))

    # Arbiters before and after this one

    def start_successor(self, succession: Succession) -> int:
        ours, theirs = Channel.pair()
        with self.signals.held():
            pid = os.fork()
            if pid == 0:
                self._become_successor(succession, theirs)
        theirs.close()
        self._successor = OtherArbiter(pid, ours)
        self.children.expect(pid)
        self._selector.register(ours.fileno(), selectors.EVENT_READ, self._successor)
        return pid

    def _become_successor(self, succession: Succession, line: Channel) -> NoReturn:
        """Replace the program. What is not passed on closes by itself."""
        try:
            self.signals.reset_in_child()
            succession.before_exec()
            sockets = {listener.bind: listener.fileno() for listener in succession.listeners}
            handover = Handover(os.getppid(), line.fileno(), sockets)
            pass_on(handover)
            os.chdir(succession.directory)
            environ = for_successor(succession.environ, arbiter=os.getppid(), successor=os.getpid())
            os.execvpe(succession.command[0], list(succession.command), handover.environ(environ))
        except BaseException as error:  # noqa: BLE001 - nothing may climb up into the arbiter's frames of this copy
            self.logs().error.critical("the new arbiter cannot be started: %s", error, exc_info=error)
        finally:
            self.logs().flush()
            os._exit(1)

    def signal_successor(self, signum: signal.Signals) -> None:
        if self._successor is not None:
            _kill(self._successor.pid, signum)

    def meet_predecessor(self, line: int) -> None:
        self._predecessor = OtherArbiter(0, Channel(socket.socket(fileno=line)))
        self._selector.register(line, selectors.EVENT_READ, self._predecessor)

    def tell_predecessor(self) -> None:
        if self._predecessor is not None:
            self._predecessor.channel.send("ready")

    def _heed_arbiter(self, other: OtherArbiter) -> list[Occurrence]:
        said = [message.kind for message in other.channel.receive()]
        happened: list[Occurrence] = [SuccessorReady(other.pid)] if other.pid and "ready" in said else []
        if other.channel.at_eof and other is self._predecessor:
            self._predecessor = None
            happened.append(PredecessorGone())
        if other.channel.at_eof:
            self._drop_channel(other.channel)
        return happened

    def reopen_logs(self) -> None:
        for loader in self._loaders.values():
            loader.channel.send("reopen_logs")
            self._watch(loader.channel)

    def last_words(self, worker: int) -> str:
        process = self._workers.get(worker)
        return process.heartbeat.read_dump().strip() if process else ""

    def release(self, worker: int) -> None:
        if process := self._workers.pop(worker, None):
            self._drop_channel(process.channel)
            process.heartbeat.close()

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

    def _reap_the_rest(self) -> None:
        """Wait a moment for processes that came to us when a loader was killed in the middle of a fork.

        What the application has left behind may run on: it goes to the next subreaper, or to init.
        """
        until = self.now() + LAST_REAP
        while self.now() < until and has_children():
            self.wait(until)
        self.children.reap_left_to_hooks()

    def _close_everything(self) -> None:
        self._selector.close()
        for channel in self._channels():
            channel.close()
        for worker in self._workers.values():
            worker.heartbeat.close()

    def _channels(self) -> Iterable[Channel]:
        yield from (loader.channel for loader in self._loaders.values())
        yield from (worker.channel for worker in self._workers.values())
        others = (self._successor, self._predecessor, self._rehearsal)
        yield from (other.channel for other in others if other is not None)

    def _watch(self, channel: Channel) -> None:
        """Wait for what the channel waits for: nothing after its end of file, which would be reported for ever."""
        fd = channel.fileno()
        key = self._selector.get_map().get(fd)
        if key is None:
            return
        wanted = (0 if channel.at_eof else selectors.EVENT_READ) | (selectors.EVENT_WRITE if channel.wants_write else 0)
        if not wanted:
            self._selector.unregister(fd)
        elif wanted != key.events:
            self._selector.modify(fd, wanted, key.data)

    def _drop_channel(self, channel: Channel) -> None:
        if channel.fileno() >= 0 and channel.fileno() in self._selector.get_map():
            self._selector.unregister(channel.fileno())
        channel.close()


def _kill(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return  # it has ended, and will be reaped


def _failure(message: Message) -> Failure:
    code = message.integer("exit_code")
    return Failure(message.text("summary"), message.payload_text, code if code in (3, 4) else 3)
