"""What happens to the arbiter. Events carry facts only; `supervisor.core.arbiter` decides what follows.

Workers are named by their number (the ``age`` of gunicorn: 1, 2, 3 … in order of birth, never used twice),
generations by theirs. Process ids belong to the shell; the core learns them with `Forked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that the core decides by.

    Times are seconds. ``timeout`` may be 0, which switches it off; ``boot_timeout`` and ``surge`` may not. Raises
    `TypeError` for what is no number: a hook can write anything into the settings.

    ``patient``: where nothing serves and nothing gets ready, wait for the next reload instead of giving up.
    """

    workers: int = 1
    timeout: float = 30.0
    graceful_timeout: float = 30.0
    boot_timeout: float = 300.0
    surge: int = 1
    drain_delay: float = 0.0
    patient: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            if not isinstance(value := getattr(self, each.name), int | float):
                raise TypeError(f"{each.name} must be a number, not {value!r}")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not start: one line, the traceback behind it, and the exit code it stands for."""

    summary: str
    detail: str = ""
    exit_code: int = 3


@dataclass(frozen=True, slots=True)
class Started:
    """The shell is up: its listeners are bound. Sent once, first."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class LoaderReady:
    """The loader of a generation has prepared (with preload: imported) what its workers need, and can fork."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoaderFailed:
    """The loader of a generation could not load. Its process is on its way out; `LoaderExited` follows."""

    generation: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class LoaderExited:
    """The loader process of a generation was reaped, told to stop or not. It forks no more.

    What it had said comes before. Workers that were asked of it and that it told nothing of will not be: the core
    forgets them with this event, and so does the shell.
    """

    generation: int
    status: int


@dataclass(frozen=True, slots=True)
class Forked:
    """A worker that was asked for exists, as a child of the arbiter. Comes before its `Exited`.

    What the worker itself says may come earlier: it speaks over a line of its own.
    """

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class ForkFailed:
    """A worker that was asked for will not exist."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has finished its lifespan startup and accepts."""

    worker: int


@dataclass(frozen=True, slots=True)
class BootFailed:
    """A worker says why it cannot boot. Its `Exited` follows."""

    worker: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class RetirementWanted:
    """A worker would like to be replaced (max_requests, memory). It serves on until it is told to drain."""

    worker: int
    reason: str


@dataclass(frozen=True, slots=True)
class Draining:
    """A worker drains: it was told to, or somebody else sent it a TERM."""

    worker: int


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker was reaped. ``status`` as in `subprocess`: the exit code, or minus the signal."""

    worker: int
    status: int


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline has come. ``beats`` holds each worker's last heartbeat (0: its loop does not run).

    Sent after all else that has happened, as soon as `Arbiter.next_deadline` has passed: a tick that comes much later
    says that the arbiter was held up.
    """

    beats: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StopRequested:
    """TERM (graceful), or INT and QUIT (quick).

    ``at_once``: without ``drain_delay``. Another arbiter serves on the same sockets, so nobody has to look elsewhere.
    """

    graceful: bool
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """HUP: the configuration was read again and holds; a new generation shall take over.

    ``placeholder``: or nothing could be started, and one shall serve that says why. It never counts as being ready.
    """

    limits: Limits
    placeholder: bool = False


@dataclass(frozen=True, slots=True)
class ScaleRequested:
    """TTIN (+1) and TTOU (−1), which leaves at least one worker; where there is none, it changes nothing."""

    delta: int


@dataclass(frozen=True, slots=True)
class StandDownRequested:
    """WINCH: no workers, gracefully, while the arbiter keeps the listeners. HUP brings them back."""


Event = (
    Started
    | LoaderReady
    | LoaderFailed
    | LoaderExited
    | Forked
    | ForkFailed
    | Ready
    | BootFailed
    | RetirementWanted
    | Draining
    | Exited
    | Tick
    | StopRequested
    | ReloadRequested
    | ScaleRequested
    | StandDownRequested
)
