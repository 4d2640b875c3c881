"""From the workers there are to those there should be: who is surplus, which slots are vacant, who is due.

A slot's *base* are the live workers that count for its capacity. Workers of an unproven candidate do not: they are *on
trial* and come on top, within ``surge``, until the first of them is ready. Workers that were told to go count nowhere.
Built anew for each event, in one pass over the workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice

from supervisor.core.generations import Generations
from supervisor.core.lifecycle import State
from supervisor.core.slots import SlotTable
from supervisor.core.workers import Worker


@dataclass(frozen=True, slots=True)
class Departure:
    """A worker that is to drain, and why."""

    worker: Worker
    reason: str


class Capacity:
    """One look at the workers, slot by slot."""

    def __init__(self, workers: Iterable[Worker], slots: SlotTable, generations: Generations) -> None:
        self._slots = slots
        self._serving = generations.serving
        self._candidate = generations.candidate if generations.serving is not None else None
        self._base: dict[int, list[Worker]] = {slot: [] for slot in slots}
        self._unwanted: list[Worker] = []
        self._trial: list[Worker] = []
        self._doomed = 0
        self._outdated = 0
        for worker in workers:
            self._outdated += self._is_outdated(worker)
            if not worker.live:
                self._doomed += worker.state is State.SPAWNING
            elif self._candidate is not None and worker.generation == self._candidate.number:
                self._trial.append(worker)
            elif worker.slot in self._base:
                self._base[worker.slot].append(worker)
            else:
                self._unwanted.append(worker)

    def departures(self) -> Iterator[Departure]:
        """Workers of slots that are no longer wanted, and those that a slot has no use for any more."""
        for worker in self._unwanted:
            yield Departure(worker, "fewer workers are wanted")
        for base in self._base.values():
            servers = [worker for worker in base if worker.serving]
            keeper = max(servers, key=self._preference, default=None)
            for worker in base:
                if worker is not keeper and (reason := self._reason_to_go(worker, keeper)):
                    yield Departure(worker, reason)

    def _reason_to_go(self, worker: Worker, keeper: Worker | None) -> str | None:
        outdated = "its generation was replaced" if self._is_outdated(worker) else None
        if outdated and not worker.serving:
            return outdated  # it would be drained as soon as it is ready
        if keeper is None:
            return None
        if worker.serving or not self._is_stale(keeper):
            return worker.retirement or outdated or "its slot has another worker"
        # A replacement that is not ready yet: it may go on, unless a newer candidate needs the room.
        return "superseded by a newer reload" if self._candidate is not None else None

    def vacancies(self, now: float) -> list[int]:
        """Slots without a worker that do not back off. Filling them adds nothing to what is wanted."""
        return [slot for slot, base in self._base.items() if not base and self._slots[slot].not_before <= now]

    def replacements(self, now: float, surge: int) -> list[int]:
        """Slots whose worker is to be replaced, the oldest first, as many as ``surge`` has room for."""
        used = len(self._trial) + self._doomed + sum(max(0, len(base) - 1) for base in self._base.values())
        room = max(0, surge - used)
        if self._candidate is not None:
            tried = {worker.slot for worker in self._trial}
            free = (slot for slot in count() if slot not in self._base)
            untried = (slot for slot in chain(sorted(self._base, key=self._age), free) if slot not in tried)
            return list(islice(untried, min(room, max(0, self._candidate.wanted - len(tried)))))
        due = [
            slot
            for slot, base in self._base.items()
            if base and all(map(self._is_stale, base)) and self._slots[slot].not_before <= now
        ]
        return sorted(due, key=self._age)[:room]

    def waking_times(self, now: float) -> list[float]:
        """When slots that back off, and have nobody fresh, may have a worker again."""
        return [
            self._slots[slot].not_before
            for slot, base in self._base.items()
            if self._slots[slot].not_before > now and all(map(self._is_stale, base))
        ]

    def is_filled(self) -> bool:
        """Each wanted slot is served by one worker of the generation that serves, and nobody is on top."""
        return not (self._trial or self._unwanted) and all(
            len(base) == 1 and base[0].serving and not self._is_outdated(base[0]) for base in self._base.values()
        )

    def is_deserted(self) -> bool:
        """No wanted slot has a worker, not even one that boots."""
        return not any(self._base.values())

    def is_pure(self) -> bool:
        """No worker of an older generation is left, not even one that drains: no client can meet the older code."""
        return not self._outdated

    def slots_by_worth(self) -> list[int]:
        """The slots that there are or should be, those first that would be missed most."""
        fresh = {worker.slot for worker in self._unwanted if not self._is_stale(worker)}

        def worth(slot: int) -> tuple[int, int, int]:
            workers = [*self._base.get(slot, ()), *(worker for worker in self._unwanted if worker.slot == slot)]
            # Of equals the oldest goes, as with gunicorn: it has the most of what piles up in a process.
            return (
                min(map(self._rank, workers), default=3),
                -min((worker.number for worker in workers), default=0),
                slot,
            )

        return sorted({*self._base, *fresh}, key=worth)

    def _rank(self, worker: Worker) -> int:
        if not worker.serving:
            return 2
        return int(self._is_stale(worker))

    def _preference(self, worker: Worker) -> tuple[bool, int, int]:
        return (not self._is_stale(worker), worker.generation, worker.number)

    def _is_outdated(self, worker: Worker) -> bool:
        return self._serving is not None and worker.generation < self._serving.number

    def _is_stale(self, worker: Worker) -> bool:
        return worker.retirement is not None or self._is_outdated(worker)

    def _age(self, slot: int) -> tuple[bool, int]:
        base = self._base[slot]
        return (not base, min((worker.number for worker in base), default=slot))
