"""The seams: what a worker gets from the process that forks it, and what plugins have to look like.

Workers import this module and never the arbiter, so that a worker class can be used, and tested, without one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from supervisor.config.settings import Settings


REQUESTS: Final = 0
IN_FLIGHT: Final = 1
CONNECTIONS: Final = 2


class Row(Protocol):
    """A worker's row of shared memory: shared memory, read by the arbiter, written by the worker's event loop."""

    def beat(self) -> None:
        """Store the monotonic clock: the loop runs."""

    def rest(self) -> None:
        """Store zero: the loop does not run (before it starts, after it ended), so silence is no wedge."""

    @property
    def last_beat(self) -> float:
        """Seconds of the monotonic clock at the last `beat`, 0 while the loop does not run."""

    @property
    def counters(self) -> memoryview[int]:
        """`REQUESTS` answered so far, requests `IN_FLIGHT`, open `CONNECTIONS`, idle ones included; 64-bit integers.

        They are written for every request, hence no methods: storing an item of a memoryview calls no Python code.
        """

    @property
    def requests(self) -> int:
        """Requests answered so far."""

    @property
    def in_flight(self) -> int:
        """Requests being worked on now."""

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""


class Siblings(Protocol):
    """The workers that share this one's listeners, as far as accepting in turn goes: see `supervisor.workers.fairness`.

    All of it is memory: nothing blocks, nothing is sent.
    """

    def tell(self, connections: int) -> None:
        """So many connections has this worker, and accepts more."""

    def accepted(self) -> None:
        """This worker has accepted another one."""

    def leave(self) -> None:
        """This worker accepts none, from now until it tells a number again."""

    def least(self) -> int:
        """The fewest connections that any worker has which accepts, this one included; very many if there is none."""

    def accepted_by_others(self) -> int:
        """A number that changes whenever another worker accepts a connection."""


class ArbiterLink(Protocol):
    """A worker's line to its arbiter. Saying something to an arbiter that is gone is not an error."""

    def fileno(self) -> int:
        """Becomes readable when the arbiter has said something, and at its end of file, when it is gone."""

    def arbiter_is_gone(self) -> bool:
        """Whether the end of file has come. Does not block. Call it when `fileno` is readable."""

    def ordered_to_go(self) -> bool:
        """Whether the arbiter itself has told this worker to stop. Its signal comes after that. Does not block."""

    def ordered_to_quit(self) -> bool:
        """Whether it has told the worker to stop without waiting for requests."""

    def say_ready(self) -> None:
        """The application has started and the worker accepts connections."""

    def say_boot_failed(self, summary: str, detail: str, exit_code: int) -> None:
        """The worker cannot start: one line, the traceback, and 3 (boot failed) or 4 (application not found)."""

    def say_retirement_wanted(self, reason: str) -> None:
        """The worker would like to be replaced, and serves on until it is told to drain."""

    def say_draining(self) -> None:
        """The worker takes no new connections from now on."""

    def say_imported(self, files: Iterable[str]) -> None:
        """The worker has imported these files of the project: changes of them matter. Under ``reload`` only."""


@dataclass(slots=True)
class WorkerContext:
    """All that a worker is given. Everything in it belongs to the worker's own process.

    ``load_app`` returns the application: at once with preload, after importing it without. It raises
    `supervisor.errors.AppNotFound`, `supervisor.errors.BootError`, or what the import raised.
    ``listeners`` are listening, non-blocking, and shared with the other workers.
    ``logger`` is what hooks know as ``worker.log``, an instance of ``logger_class``. ``log`` and ``access_log`` are
    what the worker itself writes to. ``server`` is what gunicorn's hooks know as ``server``. ``credentials`` is a
    `supervisor.workers.tls.Credentials`, where the process may not read certificate and key itself.
    """

    age: int
    slot: int
    generation: int
    arbiter_pid: int
    settings: Settings
    listeners: Sequence[socket.socket]
    load_app: Callable[[], Any]
    link: ArbiterLink
    row: Row
    siblings: Siblings
    log: logging.Logger
    access_log: logging.Logger
    logger: Any
    server: Any
    attributes: Mapping[str, Any] = field(default_factory=dict)
    credentials: Any = None


@runtime_checkable
class WorkerLike(Protocol):
    """What a worker class has to offer. `supervisor.workers.base.Worker` is the one to subclass."""

    pid: int
    age: int
    booted: bool

    def __init__(self, context: WorkerContext) -> None: ...

    def run(self) -> int:
        """Serve until told to stop; return the exit code. Runs in the main thread of the worker's process."""


class WorkerFactory(Protocol):
    """A worker class, found by name, by path or as an entry point of the group ``supervisor.workers``.

    If it has a class method ``load_ahead(settings)``, the loader calls it before it forks the first worker.
    """

    def __call__(self, context: WorkerContext) -> WorkerLike: ...
