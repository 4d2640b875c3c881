"""From the workers there are to those there should be: who is surplus, which slots are vacant, who is due.

A slot's *base* are the live workers that count for its capacity. Workers of an unproven candidate do not: they come on
top, within ``surge``, until the first of them is ready. Built anew for each event, in one pass over the workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from supervisor.core.lifecycle import State
from supervisor.core.workers import Generation, Slot, Worker


@dataclass(frozen=True, slots=True)
class Departure:
    """A worker that is to drain, and why."""

    worker: Worker
    reason: str


class Capacity:
    """One look at the workers, slot by slot."""

    def __init__(
        self,
        workers: Iterable[Worker],
        slots: Mapping[int, Slot],
        *,
        wanted: int,
        serving: Generation | None,
        candidate: Generation | None,
    ) -> None:
        self._slots = slots
        self._wanted = wanted
        self._serving = serving
        self._candidate = candidate if serving is not None else None
        self._base: dict[int, list[Worker]] = {slot: [] for slot in range(wanted)}
        self._unwanted: list[Worker] = []
        self._trial: list[Worker] = []
        self._doomed = 0
        for worker in workers:
            if not worker.live:
                self._doomed += worker.state is State.SPAWNING
            elif self._candidate is not None and worker.generation == self._candidate.number:
                self._trial.append(worker)
            elif worker.slot < wanted:
                self._base[worker.slot].append(worker)
            else:
                self._unwanted.append(worker)

    def departures(self) -> list[Departure]:
        """Workers of slots that are no longer wanted, and those whose replacement serves."""
        found = [Departure(worker, "fewer workers are wanted") for worker in self._unwanted]
        for base in self._base.values():
            if any(worker.serving and not self._is_stale(worker) for worker in base):
                for worker in base:
                    if self._is_stale(worker):
                        reason = worker.retirement or "its generation was replaced"
                        found.append(Departure(worker, reason))
        return found

    def vacancies(self, now: float) -> list[int]:
        """Slots without a worker that do not back off. Filling them adds nothing to what is wanted."""
        return [slot for slot, base in self._base.items() if not base and self._slots[slot].not_before <= now]

    def replacements(self, now: float, surge: int) -> list[int]:
        """Slots whose worker is to be replaced, the oldest first, as many as ``surge`` has room for."""
        used = len(self._trial) + self._doomed + sum(max(0, len(base) - 1) for base in self._base.values())
        if self._candidate is not None:
            tried = {worker.slot for worker in self._trial}
            due = [slot for slot in range(self._candidate.limits.workers) if slot not in tried]
        else:
            due = [
                slot
                for slot, base in self._base.items()
                if base and all(map(self._is_stale, base)) and self._slots[slot].not_before <= now
            ]
        due.sort(key=self._age)
        return due[: max(0, surge - used)]

    def waking_times(self, now: float) -> list[float]:
        """When slots that back off, and have nobody fresh, may have a worker again."""
        return [
            self._slots[slot].not_before
            for slot, base in self._base.items()
            if self._slots[slot].not_before > now and all(map(self._is_stale, base))
        ]

    def is_settled(self, generation: Generation) -> bool:
        """Each wanted slot is served by this generation, and by nobody else."""
        return not (self._trial or self._unwanted) and all(
            len(base) == 1 and base[0].serving and base[0].generation == generation.number
            for base in self._base.values()
        )

    def _is_stale(self, worker: Worker) -> bool:
        outdated = self._serving is not None and worker.generation != self._serving.number
        return outdated or worker.retirement is not None

    def _age(self, slot: int) -> tuple[bool, int]:
        base = self._base.get(slot)
        return (not base, min((worker.number for worker in base or ()), default=slot))
