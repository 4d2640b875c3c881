"""When a worker has been used enough: ``max_memory`` and ``max_lifetime``. (``max_requests`` counts in `state`.)

Memory means what is private to the process, its pages in swap included: that much comes back when the worker is
replaced. The proportional share (PSS) would fall with every sibling that shares a preloaded application, and rise when
one leaves, so a limit on it would mean something else at each moment.

Only the page tables tell what is private, and the kernel walks them while the event loop waits. So the walk is left
out as long as a cheaper look rules the limit out, and is paid for with a longer pause where it is slow.
"""

from __future__ import annotations

import logging
import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from supervisor.config.settings import Settings

COST: Final = 0.001
"""The part of a worker's time that may go into looking at its memory."""

_PROC: Final = Path("/proc/self")
_FIELD: Final = re.compile(rb"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in bytes, and what it is: private, anonymous, or resident, which is never less than the other two."""

    size: int
    kind: str


def own_memory(limit: int, proc: Path = _PROC) -> Usage:
    """The memory that this process has for itself, as exactly as it takes to compare it with ``limit``, in bytes.

    Below the limit, what is resident or in swap (``status``, microseconds) is told instead: what is private is part
    of it. Else ``smaps_rollup`` (milliseconds for each GiB) tells what is private. Where there is none, or it may not
    be read, it is what belongs to no file: this counts what is still shared with the loader since the fork.
    See proc_pid_status(5), proc_pid_smaps(5). Raises `OSError` or `KeyError` where not even ``status`` tells.
    """
    status = _fields(proc / "status")
    swapped = status.get(b"VmSwap", 0)
    resident = status[b"VmRSS"]
    if resident + swapped <= limit:
        return Usage(resident + swapped, "resident")
    try:
        pages = _fields(proc / "smaps_rollup")
        private = pages[b"Private_Clean"] + pages[b"Private_Dirty"] + pages.get(b"SwapPss", 0)
    except (OSError, KeyError):
        return Usage(status.get(b"RssAnon", resident) + swapped, "anonymous")
    return Usage(private, "private")


def _fields(path: Path) -> dict[bytes, int]:
    return {name: int(kibibytes) * 1024 for name, kibibytes in _FIELD.findall(path.read_bytes())}


class Recycling:
    """Asked once a second while the worker serves, tells when it should be replaced. Times are the event loop's.

    ``measure`` returns the worker's memory, given the limit. ``clock`` counts the processor time that this takes: what
    other processes took meanwhile is no reason to look less often.
    """

    def __init__(
        self,
        settings: Settings,
        log: logging.Logger,
        *,
        measure: Callable[[int], Usage] = own_memory,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        jitter = random.uniform(0, settings.max_lifetime_jitter)  # noqa: S311 - spreads load, hides nothing
        self._max_lifetime = settings.max_lifetime + jitter if settings.max_lifetime else math.inf
        self._min_lifetime = settings.min_lifetime
        self._limit = settings.max_memory
        self._interval = settings.max_memory_interval
        self._log = log
        self._measure = measure
        self._clock = clock
        self._started = 0.0
        self._next_look = 0.0 if self._limit else math.inf
        self._warned = False

    def started(self, now: float) -> None:
        """The worker serves from now on."""
        self._started = now

    def reason(self, now: float) -> str | None:
        """Why the worker should be replaced, or None."""
        age = now - self._started
        if age >= self._max_lifetime:
            return f"max_lifetime: served for {age:.0f} s"
        if now >= self._next_look:
            return self._look(now, age)
        return None

    def _look(self, now: float, age: float) -> str | None:
        begun = self._clock()
        try:
            usage = self._measure(self._limit)
        except (OSError, KeyError) as error:
            self._next_look = math.inf
            self._log.warning("max_memory has no effect: the memory of this process cannot be read: %r", error)
            return None
        self._next_look = now + max(self._interval, (self._clock() - begun) / COST)
        if usage.size <= self._limit:
            return None
        # Rounded up, so that what is above the limit looks like it.
        found = f"{math.ceil(usage.size / 2**20)} MiB {usage.kind}, limit {self._limit / 2**20:g} MiB"
        if age >= self._min_lifetime:
            return f"max_memory: {found}"
        if not self._warned:
            self._warned = True
            self._log.warning(
                "max_memory: %s only %.0f s after the start: this worker is replaced when min_lifetime (%d s) is over, "
                "and so on; if the application needs that much, raise max_memory",
                found,
                age,
                self._min_lifetime,
            )
        return None
