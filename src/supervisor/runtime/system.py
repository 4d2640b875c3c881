"""The seam between deciding and doing: all that the arbiter does to the world, and all that it learns of it.

`supervisor.runtime.posix.PosixSystem` does it with processes, `supervisor.testing.FakeSystem` without any.
One contract (``tests/contracts/test_system.py``) holds for both.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from supervisor.core.events import Event, Failure, Limits

if TYPE_CHECKING:
    from supervisor.config.settings import Settings
    from supervisor.runtime.sockets import Listener
    from supervisor.runtime.watched import Watch


@dataclass(frozen=True, slots=True)
class SignalArrived:
    """A signal to the arbiter itself."""

    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class HazardFound:
    """The import of the application left something behind that does not survive a fork."""

    generation: int
    description: str


@dataclass(frozen=True, slots=True)
class SourcesChanged:
    """A generation was loaded again, but so many files of it have changed since it was the first time, or are new."""

    generation: int
    first: str
    count: int


@dataclass(frozen=True, slots=True)
class LoaderWords:
    """What the crash handler of a loader left, which has ended: where its threads were. Comes before `LoaderExited`."""

    generation: int
    text: str


@dataclass(frozen=True, slots=True)
class StrangerReaped:
    """A process that is nobody's worker, adopted from the application, was reaped."""

    pid: int


@dataclass(frozen=True, slots=True)
class SuccessorReady:
    """The new arbiter serves with all its workers.

    ``kept`` are the addresses that it has taken over, as they are configured; None for all of them.
    """

    pid: int
    kept: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SuccessorExited:
    """The new arbiter is gone. ``status`` as of `supervisor.core.events.Exited`."""

    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class PredecessorGone:
    """The arbiter that this one is to replace is gone."""


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The rehearsal with this number is over. ``failure`` is None if it went well; then ``answer`` came of it."""

    number: int
    failure: Failure | None
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class FilesImported:
    """A loader or a worker has imported these files of the project. Said under ``reload`` only."""

    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FilesChanged:
    """``count`` files that are watched have changed, the last of them ``age`` seconds ago; some are named."""

    files: tuple[str, ...]
    count: int
    age: float


@dataclass(frozen=True, slots=True)
class WatcherSaid:
    """The watcher has a line for the log, of a level of `logging`."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class WatcherExited:
    """The watcher is gone, without having been told to. ``status`` as of `supervisor.core.events.Exited`."""

    status: int


Occurrence = (
    Event
    | SignalArrived
    | HazardFound
    | SourcesChanged
    | LoaderWords
    | StrangerReaped
    | SuccessorReady
    | SuccessorExited
    | PredecessorGone
    | Rehearsed
    | FilesImported
    | FilesChanged
    | WatcherSaid
    | WatcherExited
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a generation runs with. ``placeholder`` is served instead of the application, by the default worker."""

    settings: Settings
    listeners: Sequence[Listener] = ()
    placeholder: Callable[..., Any] | None = None


def limits_of(settings: Settings) -> Limits:
    """What the core is to know of the settings."""
    return Limits(
        workers=settings.workers,
        timeout=settings.timeout,
        graceful_timeout=settings.graceful_timeout,
        boot_timeout=settings.boot_timeout,
        surge=settings.surge,
        drain_delay=settings.drain_delay,
        patient=bool(settings.reload),
    )


@dataclass(frozen=True, slots=True)
class Birth:
    """What a worker is given on its way: its place, and, pickled, what hooks attached to it and to the server."""

    worker: int
    slot: int
    generation: int
    attachments: bytes = b""


@dataclass(frozen=True, slots=True)
class Succession:
    """How to start a new arbiter. ``before_exec`` runs in its process, before the program is replaced."""

    command: Sequence[str]
    environ: Mapping[str, str]
    directory: str
    listeners: Sequence[Listener]
    before_exec: Callable[[], None]


class Watchers(Protocol):
    """The watcher, of which there is one at most."""

    def start(self, watch: Watch, *, proc_name: str, since: float) -> None:
        """Start one, in place of another. `FilesChanged` and `WatcherSaid` may follow, and `WatcherExited`.

        ``since``: what has changed after this time of the wall clock has changed; 0 for nothing.

        Raises `OSError` if it cannot be forked.
        """

    def stop(self) -> None:
        """Kill it, if there is one. Nothing more is heard of it."""

    def tell_imported(self, files: Iterable[str]) -> None:
        """These files matter, wherever they are."""

    def tell_health(self, *, healthy: bool) -> None:
        """Whether what is imported is known: if not, any code of the project matters."""


class System(Protocol):
    """Nothing here blocks but `wait`, and nothing raises because a process is already gone."""

    @property
    def watchers(self) -> Watchers:
        """What tells of changed files."""

    def now(self) -> float:
        """Seconds of the monotonic clock."""

    def wait(self, until: float | None) -> list[Occurrence]:
        """Return what has happened; wait for something, but not beyond ``until``. May return nothing."""

    def start_loader(self, generation: int, plan: Plan) -> None:
        """Start the loader of a generation. Ends in `LoaderReady`, or in `LoaderExited`."""

    def stop_loader(self, generation: int) -> None:
        """Kill the loader of a generation. Ends in `LoaderExited`."""

    def abort_loader(self, generation: int) -> None:
        """Have the loader of a generation leave word of where it is stuck, and die. Ends in `LoaderExited`."""

    def spawn(self, birth: Birth) -> None:
        """Have a worker forked. Ends in `Forked` or `ForkFailed`; unless the loader dies of it: `LoaderExited`."""

    def signal_worker(self, worker: int, signum: signal.Signals) -> None:
        """Send a signal to a worker that was forked."""

    def heartbeats(self) -> dict[int, float]:
        """The last heartbeat of each worker, 0 where its event loop does not run."""

    def rehearse(self, act: Callable[[], bytes]) -> int:
        """Do ``act`` in a process that is thrown away; `Rehearsed` with the number that is returned follows.

        One that is under way is given up, but its `Rehearsed` may be on its way.

        Raises `OSError` if the process cannot be forked.
        """

    def stop_rehearsal(self) -> None:
        """Kill the rehearsal, if one is under way. Nothing more is heard of it."""

    def start_successor(self, succession: Succession) -> int:
        """Start a new arbiter and return its pid. `SuccessorReady` may follow, `SuccessorExited` will.

        Raises `OSError` if it cannot be forked.
        """

    def signal_successor(self, signum: signal.Signals) -> None:
        """Send a signal to the new arbiter, if there is one."""

    def meet_predecessor(self, line: int) -> None:
        """Hold the line to the arbiter that started this one. `PredecessorGone` follows when it ends."""

    def tell_predecessor(self, kept: Iterable[str]) -> None:
        """Say that this arbiter is ready to take over, and which addresses it has kept."""

    def reopen_logs(self) -> None:
        """Tell the loaders, whose forks inherit the log files, to open them anew."""

    def last_words(self, worker: int) -> str:
        """What the worker's crash handler left: the Python stacks at a fatal signal, or at an abort; mostly empty."""

    def release(self, worker: int) -> None:
        """Let go of what is held for a worker that was reaped or never born."""

    def around_hooks(self) -> AbstractContextManager[None]:
        """The context that hooks of the arbiter run in: subprocesses that they start are left to them."""

    def close(self) -> None:
        """Let go of everything."""
