"""From the fork to the worker's own code, and from there to the end of the process."""

from __future__ import annotations

import faulthandler
import os
import pickle
import random
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from supervisor.application import explain
from supervisor.config.settings import Settings
from supervisor.errors import BootError
from supervisor.hooks import run_hook, run_worker_exit
from supervisor.logs.setup import Logs
from supervisor.protocols import WorkerContext, WorkerLike
from supervisor.runtime import titles
from supervisor.runtime.channel import Channel, Message, as_payload, paths_as_payloads
from supervisor.runtime.heartbeat import HeartbeatFile
from supervisor.runtime.linux import set_parent_death_signal
from supervisor.runtime.scoreboard import Scoreboard
from supervisor.runtime.server import ServerView, Travelled
from supervisor.runtime.signals import take_no_notice

DUMP_SIGNAL: int = signal.SIGRTMAX - 1
"""Has the Python stacks written by a C handler, for a worker that is stuck where Python code cannot run."""

GO, QUIT = "go", "quit"
ORDERS: Mapping[int, str] = {signal.SIGTERM: GO, signal.SIGQUIT: QUIT}
"""What an arbiter says to a worker beside its signal. A TERM that comes from elsewhere is heeded a moment later, and an
application may keep signals from being heard: see `supervisor.workers.server`."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a worker has from its loader by way of the fork."""

    generation: int
    settings: Settings
    worker_class: Callable[[WorkerContext], WorkerLike]
    load_app: Callable[[], Any]
    logs: Logs
    scoreboard: Scoreboard
    arbiter_pid: int
    credentials: Any = None


class Link:
    """A worker's line to its arbiter (`supervisor.protocols.ArbiterLink`)."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._orders: set[str] = set()

    def fileno(self) -> int:
        return self._channel.fileno()

    def arbiter_is_gone(self) -> bool:
        self._receive()
        return self._channel.at_eof

    def ordered_to_go(self) -> bool:
        self._receive()
        return bool(self._orders)

    def ordered_to_quit(self) -> bool:
        self._receive()
        return QUIT in self._orders

    def _receive(self) -> None:
        self._orders |= {message.kind for message in self._channel.receive()} & set(ORDERS.values())

    def say_ready(self) -> None:
        self._channel.send("ready")

    def say_boot_failed(self, summary: str, detail: str, exit_code: int) -> None:
        self._channel.send(
            "boot_failed", {"summary": summary[:1000], "exit_code": exit_code}, payload=as_payload(detail)
        )

    def say_retirement_wanted(self, reason: str) -> None:
        self._channel.send("retirement_wanted", {"reason": reason})

    def say_draining(self) -> None:
        self._channel.send("draining")

    def say_imported(self, files: Iterable[str]) -> None:
        for piece in paths_as_payloads(files):
            self._channel.send("imported", payload=piece)


def become_worker(inherited: Inheritance, message: Message, *, gate: int) -> NoReturn:
    """Be the worker that the message describes, from here to the end of the process."""
    code = BootError.exit_code
    try:
        if not os.read(gate, 1):
            os._exit(0)  # the loader died before the arbiter heard of us: nobody would look after this process
        os.close(gate)
        code = _live(inherited, message)
    except BaseException as error:  # noqa: BLE001 - whatever it was, this process ends here, with a word in the log
        inherited.logs.error.critical("worker process %d failed: %s", os.getpid(), error, exc_info=error)
    finally:
        inherited.logs.flush()
        os._exit(code)


def _live(inherited: Inheritance, message: Message) -> int:
    settings = inherited.settings
    channel_fd, heartbeat_fd, *listener_fds = message.fds
    link = Link(Channel(socket.socket(fileno=channel_fd)))
    _reset_signals()
    # The line to the arbiter tells of its death as soon as the event loop runs; the kernel does before that.
    set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != inherited.arbiter_pid:
        return 0
    row = HeartbeatFile.from_fd(heartbeat_fd)
    dump_fd = row.dump_fd()
    faulthandler.enable(file=dump_fd)
    faulthandler.register(DUMP_SIGNAL, file=dump_fd, all_threads=True)
    random.seed()
    number = message.integer("worker")
    titles.set_title("worker", settings.proc_name, str(number))
    travelled = _unpack(message.payload, inherited)
    listeners = [socket.socket(fileno=fd) for fd in listener_fds]
    logs = inherited.logs
    server = ServerView(
        settings,
        travelled,
        listeners=listeners,
        log=logs.logger,
        pid=inherited.arbiter_pid,
        load_app=inherited.load_app,
    )
    context = WorkerContext(
        age=number,
        slot=message.integer("slot"),
        generation=inherited.generation,
        arbiter_pid=inherited.arbiter_pid,
        settings=settings,
        listeners=listeners,
        load_app=inherited.load_app,
        link=link,
        row=row,
        siblings=inherited.scoreboard.seat(message.integer("seat")),
        log=logs.error,
        access_log=logs.access,
        logger=logs.logger,
        server=server,
        attributes=travelled.worker,
        credentials=inherited.credentials,
    )
    try:
        worker = inherited.worker_class(context)
        for name, value in travelled.worker.items():
            setattr(worker, name, value)
    except BaseException as error:  # noqa: BLE001 - a worker class is user code
        summary, detail, _ = explain(error)
        link.say_boot_failed(f"the worker class could not be set up: {summary}", detail, BootError.exit_code)
        return BootError.exit_code
    run_hook(inherited.logs.error, settings, "post_fork", server, worker)
    try:
        return _run(worker, link)
    finally:
        run_worker_exit(inherited.logs.error, settings, server, worker)


def _run(worker: WorkerLike, link: Link) -> int:
    """The worker's own life. One that raises before it was ready has failed to boot."""
    try:
        # A class in gunicorn's shape has another ``run``: the loop in which it serves.
        return int(getattr(worker, "live", worker.run)() or 0)
    except BaseException as error:
        if worker.booted:
            raise
        summary, detail, exit_code = explain(error)
        link.say_boot_failed(summary, detail, exit_code)
        return exit_code
    finally:
        # It is over: a signal that comes now has nothing to stop, and its handler nothing to work on.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1))


def _reset_signals() -> None:
    """Default dispositions, so that a worker that has not started its event loop ends at once when told to."""
    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH, signal.SIGUSR1, signal.SIGUSR2):
        # Meant for the arbiter; sent to the whole process group by a terminal, they must not end a worker.
        signal.signal(number, take_no_notice)
    for number in (signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGQUIT):
        # The default of QUIT is a core dump, that of INT in Python an exception in the middle of an import.
        signal.signal(number, _leave_at_once)
    # The loader has held signals back since before the fork: what has come since is acted on now.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave_at_once(_signum: int, _frame: object) -> None:
    os._exit(0)


def _unpack(payload: bytes, inherited: Inheritance) -> Travelled:
    try:
        travelled = pickle.loads(payload)  # noqa: S301 - written by the arbiter, into a socketpair that only it holds
        assert isinstance(travelled, Travelled)
        return travelled
    except Exception as error:  # noqa: BLE001 - an object that hooks attached may fail in any way when it is unpacked
        inherited.logs.error.warning("what pre_fork attached could not be unpacked, going on without: %s", error)
        return Travelled()
