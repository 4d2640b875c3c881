"""The workers that the arbiter knows: one process each, from the decision to fork it until it is reaped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from supervisor.core.events import Failure, Limits
from supervisor.core.lifecycle import LIVE, Cause, State, step


@dataclass(frozen=True, slots=True)
class Parting:
    """That a worker which has no process yet is to go once it has one: gracefully, or by being killed."""

    reason: str
    kill: bool = False


@dataclass(slots=True)
class Worker:
    """One process. ``pid`` is 0 before it is forked, which was decided at ``begun_at``.

    ``deadline`` is when its state has lasted too long, ``look_at`` when its heartbeat is to be looked at.
    ``heard`` is what it said before its loader told of its fork: the two speak over different lines.
    """

    number: int
    slot: int
    generation: int
    limits: Limits
    state: State = State.SPAWNING
    begun_at: float = 0.0
    pid: int = 0
    deadline: float | None = None
    look_at: float | None = None
    beat: float = 0.0
    excused_beat: float | None = None
    ready_at: float | None = None
    heard: list[Cause] = field(default_factory=list)
    parting: Parting | None = None
    retirement: str | None = None
    quit_sent: bool = False
    failure: Failure | None = None

    def move(self, cause: Cause) -> None:
        self.state = step(self.state, cause)

    def served_for(self, now: float) -> float | None:
        """For how many seconds it has been ready, or None if it never was."""
        return None if self.ready_at is None else now - self.ready_at

    @property
    def booted_in(self) -> float | None:
        """How many seconds it took to get ready, or None if it never did."""
        return None if self.ready_at is None else self.ready_at - self.begun_at

    @property
    def live(self) -> bool:
        """It serves or is about to, and nobody has decided otherwise."""
        return self.state in LIVE and self.parting is None

    @property
    def serving(self) -> bool:
        return self.state is State.SERVING

    @property
    def has_process(self) -> bool:
        return self.state not in (State.SPAWNING, State.GONE)


class WorkerTable:
    """All workers that are not gone, by number, which is the order of their birth."""

    def __init__(self) -> None:
        self._workers: dict[int, Worker] = {}
        self._last_number = 0

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def __getitem__(self, number: int) -> Worker:
        return self._workers[number]

    def get(self, number: int) -> Worker | None:
        """The worker, or None once it is gone: its last words may arrive after it."""
        return self._workers.get(number)

    def add(self, *, slot: int, generation: int, limits: Limits, deadline: float, now: float) -> Worker:
        self._last_number += 1
        worker = Worker(self._last_number, slot, generation, limits, begun_at=now, deadline=deadline)
        self._workers[worker.number] = worker
        return worker

    def remove(self, worker: Worker) -> None:
        del self._workers[worker.number]

    def of_generation(self, generation: int) -> list[Worker]:
        return [worker for worker in self if worker.generation == generation]
