"""The arbiter's side of the watcher: its process, and the line to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from supervisor.logs.setup import Logs
from supervisor.runtime.channel import Channel, Message
from supervisor.runtime.children import Children
from supervisor.runtime.signals import SignalWakeup
from supervisor.runtime.system import FilesChanged, Occurrence, WatcherExited, WatcherSaid
from supervisor.runtime.watched import Watch
from supervisor.runtime.wiring import Wiring

PIECE = 64 * 1024
"""Bytes of names in one message."""


@dataclass(slots=True)
class WatcherProcess:
    """One watcher."""

    pid: int
    channel: Channel


class Watching:
    """`supervisor.runtime.system.Watchers` with a process. The arguments are those of `Relatives`."""

    def __init__(
        self,
        wiring: Wiring,
        signals: SignalWakeup,
        children: Children,
        *,
        logs: Callable[[], Logs],
        let_go: Callable[[], None],
    ) -> None:
        self._wiring = wiring
        self._signals = signals
        self._children = children
        self._logs = logs
        self._let_go = let_go
        self._process: WatcherProcess | None = None

    def channels(self) -> Iterator[Channel]:
        """The line to it."""
        if self._process is not None:
            yield self._process.channel

    def start(self, watch: Watch, *, proc_name: str, since: float) -> None:
        self.stop()
        ours, theirs = Channel.pair()
        arbiter_pid = os.getpid()
        self._logs().flush()
        try:
            with self._signals.held():
                pid = os.fork()
                if pid == 0:
                    try:
                        self._signals.reset_in_child()
                        ours.close()
                        self._let_go()
                        from supervisor.runtime.watcher import Watcher

                        Watcher(watch, theirs, proc_name=proc_name, arbiter_pid=arbiter_pid, since=since).run()
                    except BaseException as error:  # noqa: BLE001 - nothing may climb up into the arbiter's frames
                        self._logs().error.error("the watcher failed: %s", error, exc_info=error)
                        self._logs().flush()
                    finally:
                        os._exit(1)
        except OSError:
            ours.close()
            theirs.close()
            raise
        theirs.close()
        self._process = WatcherProcess(pid, ours)
        self._children.expect(pid)
        self._wiring.connect(self._process)

    def stop(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)  # it exists: it was not reaped
            self._wiring.hang_up(self._process.channel)
            self._process = None

    def tell_imported(self, files: Iterable[str]) -> None:
        if self._process is not None:
            for piece in pieces(files):
                self._process.channel.send("imported", payload=piece)
            self._wiring.watch(self._process.channel)

    def tell_health(self, *, healthy: bool) -> None:
        if self._process is not None:
            self._process.channel.send("healthy", {"yes": int(healthy)})
            self._wiring.watch(self._process.channel)

    def heed(self, process: WatcherProcess) -> list[Occurrence]:
        """What it has said."""
        happened = [said for message in process.channel.receive() for said in _understood(message)]
        self._wiring.watch(process.channel)
        return happened

    def ended(self, pid: int, status: int) -> list[Occurrence]:
        """A child was reaped; perhaps it was the watcher."""
        process = self._process
        if process is None or process.pid != pid:
            return []
        happened = self.heed(process)
        self._wiring.hang_up(process.channel)
        self._process = None
        return [*happened, WatcherExited(status)]


def pieces(files: Iterable[str]) -> Iterator[bytes]:
    """The names in packets that a channel takes."""
    piece = b""
    for file in files:
        name = os.fsencode(file)[:4096]
        if piece and len(piece) + len(name) >= PIECE:
            yield piece
            piece = b""
        piece = piece + b"\0" + name if piece else name
    if piece:
        yield piece


def names(message: Message) -> tuple[str, ...]:
    """The files of a message with `pieces`."""
    return tuple(filter(os.path.isabs, os.fsdecode(message.payload).split("\0")))


def _understood(message: Message) -> Iterator[Occurrence]:
    match message.kind:
        case "changed":
            files = message.fields.get("files")
            age = message.fields.get("age")
            named = tuple(map(str, files)) if isinstance(files, list) else ()
            yield FilesChanged(named, message.integer("count", 1), age if isinstance(age, float) else 0.0)
        case "said":
            yield WatcherSaid(message.integer("level"), message.text("text"))
