"""Slots: room for one serving worker each, as many as are wanted. A slot outlives its workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from supervisor.core import policy


@dataclass(slots=True)
class Slot:
    """It remembers the failures in a row, and until when it waits because of them."""

    failures: int = 0
    not_before: float = 0.0


class SlotTable:
    """The wanted slots by number. Numbers stay with their workers, so that there may be gaps between them."""

    def __init__(self) -> None:
        self._slots: dict[int, Slot] = {}

    def __iter__(self) -> Iterator[int]:
        return iter(self._slots)

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, number: int) -> Slot:
        return self._slots[number]

    def get(self, number: int) -> Slot | None:
        """The slot, or None if it is no longer wanted."""
        return self._slots.get(number)

    def some_wait(self, now: float) -> bool:
        """Whether a slot backs off."""
        return any(slot.not_before > now for slot in self._slots.values())

    def resize(self, wanted: int, best_first: Iterable[int]) -> None:
        """Keep the first ``wanted`` of ``best_first``; if these are too few, add slots with the lowest free numbers."""
        kept = set(list(best_first)[:wanted])
        free = (number for number in count() if number not in kept)
        numbers = sorted(kept | {next(free) for _ in range(wanted - len(kept))})
        self._slots = {number: self._slots.get(number) or Slot() for number in numbers}

    def failed(self, number: int, *, served_for: float | None, jitter: float, now: float) -> Slot | None:
        """A worker of the slot failed, after serving for so many seconds (None: it never did). The slot waits."""
        slot = self._slots.get(number)
        if slot is not None:
            self.left(number, served_for=served_for)
            slot.failures += 1
            slot.not_before = now + policy.back_off(slot.failures, served=served_for is not None, jitter=jitter)
        return slot

    def left(self, number: int, *, served_for: float | None) -> None:
        """A worker of the slot goes: if it served long enough, the failures before it count no more."""
        if served_for is not None and served_for >= policy.STABLE_UPTIME and number in self._slots:
            self._slots[number].failures = 0

    def forgive(self) -> None:
        """Forget all failures: they were those of other code."""
        self._slots = {number: Slot() for number in self._slots}
