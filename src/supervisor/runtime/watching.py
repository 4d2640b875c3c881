"""The arbiter's side of the watcher: its process, and the line to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from supervisor.runtime.channel import Channel, Message, paths_as_payloads
from supervisor.runtime.forking import Forks
from supervisor.runtime.system import FilesChanged, Occurrence, WatcherExited, WatcherSaid
from supervisor.runtime.watched import Watch
from supervisor.runtime.wiring import Wiring


@dataclass(slots=True)
class WatcherProcess:
    """One watcher."""

    pid: int
    channel: Channel


class Watching:
    """`supervisor.runtime.system.Watchers` with a process."""

    def __init__(self, wiring: Wiring, forks: Forks) -> None:
        self._wiring = wiring
        self._forks = forks
        self._process: WatcherProcess | None = None

    def channels(self) -> Iterator[Channel]:
        """The line to it."""
        if self._process is not None:
            yield self._process.channel

    def start(self, watch: Watch, *, proc_name: str, since: float) -> None:
        self.stop()
        arbiter_pid = os.getpid()

        def live(line: Channel) -> None:
            from supervisor.runtime.watcher import Watcher

            Watcher(watch, line, proc_name=proc_name, arbiter_pid=arbiter_pid, since=since).run()

        self._process = WatcherProcess(*self._forks.fork("watcher", live))
        self._wiring.connect(self._process)

    def stop(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)  # it exists: it was not reaped
            self._wiring.hang_up(self._process.channel)
            self._process = None

    def tell_imported(self, files: Iterable[str]) -> None:
        if self._process is not None:
            for piece in paths_as_payloads(files):
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


def _understood(message: Message) -> Iterator[Occurrence]:
    match message.kind:
        case "changed":
            files = message.fields.get("files")
            age = message.fields.get("age")
            named = tuple(map(str, files)) if isinstance(files, list) else ()
            yield FilesChanged(named, message.integer("count", 1), age if isinstance(age, float) else 0.0)
        case "said":
            yield WatcherSaid(message.integer("level"), message.text("text"))
