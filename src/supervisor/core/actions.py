"""What the arbiter decided. The shell performs each action at once, in order, and none of them blocks."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.events import Failure


@dataclass(frozen=True, slots=True)
class StartLoader:
    """Fork the loader of a generation. Answered by `LoaderReady`, `LoaderFailed` or `LoaderExited`."""

    generation: int


@dataclass(frozen=True, slots=True)
class StopLoader:
    """Kill the loader of a generation. Answered by `LoaderExited`."""

    generation: int


@dataclass(frozen=True, slots=True)
class AbortLoader:
    """ABRT to the loader of a generation: leave word of where you are stuck, and die. Answered by `LoaderExited`."""

    generation: int


@dataclass(frozen=True, slots=True)
class Spawn:
    """Have the loader of ``generation`` fork a worker. Answered by `Forked` or `ForkFailed`."""

    worker: int
    generation: int
    slot: int


@dataclass(frozen=True, slots=True)
class Drain:
    """TERM: finish what is in flight, then exit. Sent once per worker."""

    worker: int
    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class Quit:
    """QUIT: drop what is in flight, shut the lifespan down, exit."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class Abort:
    """ABRT: write where you are stuck to the log, and die."""

    worker: int
    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """KILL."""

    worker: int
    pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reap:
    """The worker is gone: release what the shell holds for it. ``expected``: it was told to go."""

    worker: int
    pid: int
    status: int
    expected: bool


@dataclass(frozen=True, slots=True)
class WorkersChanged:
    """The wanted number of workers is another one. ``old`` is None for the first."""

    new: int
    old: int | None


@dataclass(frozen=True, slots=True)
class AnnounceReady:
    """All wanted workers of the first generation serve."""

    workers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class GenerationTakesOver:
    """The first worker of a new generation is ready: from now on it is the one that serves."""

    generation: int
    previous: int


@dataclass(frozen=True, slots=True)
class ReloadFinished:
    """All wanted workers of the new generation serve, and of older ones not even one that drains is left."""

    generation: int
    workers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ReloadStalled:
    """The new generation has taken over, but has only ``serving`` of ``workers``: the others do not get ready.

    Said once. They are tried again, and older ones serve on in their slots; `ReloadFinished` may still follow.
    """

    generation: int
    serving: int
    workers: int
    seconds: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class GenerationDropped:
    """A new generation did not get ready, or an operator's next order ``superseded`` it; the serving one stays.

    ``serving`` is 0 while none serves yet: the first generations can then be superseded by a reload, and such as are
    patient (`supervisor.core.events.Limits`) wait for the next one.
    """

    generation: int
    serving: int
    failure: Failure
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class BackOff:
    """A slot waits before its next worker, because the last ones failed."""

    slot: int
    seconds: float
    failures: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class LoaderLost:
    """The loader of the generation that serves, or of the first one, is gone. Its workers live on.

    It is started again after ``seconds``.
    """

    generation: int
    seconds: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class BootAbandoned:
    """Nothing of the first generation gets ready: the arbiter gives up, and exits with the failure's code."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class AnnounceStop:
    """A graceful stop begins in so many seconds: until then all serve on, while load balancers look elsewhere."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Seal:
    """A graceful stop begins: let no new connection in. What waits in the accept queues can still be taken."""


@dataclass(frozen=True, slots=True)
class Exit:
    """Nothing is left to wait for: end the process with ``code``."""

    code: int


Action = (
    StartLoader
    | StopLoader
    | AbortLoader
    | Spawn
    | Drain
    | Quit
    | Abort
    | Kill
    | Reap
    | WorkersChanged
    | AnnounceReady
    | GenerationTakesOver
    | ReloadFinished
    | ReloadStalled
    | GenerationDropped
    | BackOff
    | LoaderLost
    | BootAbandoned
    | AnnounceStop
    | Seal
    | Exit
)
