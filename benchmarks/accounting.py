"""What a tree of processes uses: CPU time, memory, wake-ups; from /proc (proc(5)) and its processes' CPU clocks."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

CPUCLOCK_SCHED = 2
TICKS = os.sysconf("SC_CLK_TCK")


def clock(pid: int) -> float:
    """CPU seconds of a process, user and system, all its threads, to the nanosecond.

    The clock is the one that clock_getcpuclockid(3) gives, for which Python has no call. Raises `OSError` when the
    process is gone.
    """
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def reaped(stat: str) -> float:
    """CPU seconds of the children that a process has waited for: cutime and cstime of its /proc/<pid>/stat."""
    # The second field is a name in brackets, which may have blanks and brackets in it.
    fields = stat.rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def pss_kib(rollup: str) -> int:
    """Proportional set size in KiB, from a /proc/<pid>/smaps_rollup."""
    return int(rollup.partition("\nPss:")[2].split()[0])


def sleeps(status: str) -> int:
    """How often a thread went to sleep, which is how often it was awake, from its /proc/<pid>/task/<tid>/status."""
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds of all these processes together, and of those below them that have been reaped."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += clock(pid) + reaped(Path(f"/proc/{pid}/stat").read_text())
    return total


def pss(pids: Iterable[int]) -> float:
    """Proportional set size of all these processes together, in MiB: each shared page counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):  # gone meanwhile, or a zombie without memory
            total += pss_kib(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return total / 1024


def wakeups(pids: Iterable[int]) -> int:
    """How often any thread of these processes has been awake."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    total += sleeps((task / "status").read_text())
    return total
