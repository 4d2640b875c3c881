"""Looking at processes from outside: whose they are, what they are for, what they left behind."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Roles:
    """The processes below an arbiter, by what their titles say they are."""

    arbiter: int
    loaders: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)


def roles(arbiter: int) -> Roles:
    """Who is who below ``arbiter`` at this moment. Zombies belong to nobody; see `zombies`."""
    found = Roles(arbiter)
    for process in _descendants(arbiter):
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            title = " ".join(process.cmdline()).lower()
        except psutil.NoSuchProcess:
            continue
        role = re.search(r"\b(loader|worker)\b", title)
        known = {"loader": found.loaders, "worker": found.workers}
        (known[role.group(1)] if role else found.others).append(process.pid)
    return found


def zombies(arbiter: int) -> list[int]:
    """Dead processes below ``arbiter`` that nobody has waited for yet."""
    return [process.pid for process in _descendants(arbiter) if _is_zombie(process)]


def belonging_to(marker: str, session: int, directory: Path) -> list[psutil.Process]:
    """Every process of one service, zombies included: found by environment, by session, and by working directory.

    Three ways, since a process may have cleared its environment, left its session or changed its directory.
    """
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid()
        and (_session(process.pid) == session or _has_marker(process.pid, marker) or _works_in(process.pid, directory))
    ]


def describe(process: psutil.Process) -> str:
    """One line about a process that may be gone by now."""
    try:
        with process.oneshot():
            title = "" if _is_zombie(process) else " ".join(process.cmdline())
            return f"{process.pid} (parent {process.ppid()}, {process.status()}): {title}"
    except psutil.NoSuchProcess:
        return f"{process.pid} (gone meanwhile)"


def reap_adopted(found: list[psutil.Process]) -> None:
    """Wait for those among ``found`` that died as orphans and came to this process, the tests' subreaper."""
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
            if process.ppid() == os.getpid() and _is_zombie(process):
                os.waitpid(process.pid, os.WNOHANG)


def descriptors(pid: int) -> int:
    """How many file descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """User and system time that the process itself has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def shared_memory_files() -> set[str]:
    """What stands in /dev/shm, multiprocessing's semaphores of the tests themselves excepted."""
    if not SHARED_MEMORY.is_dir():
        return set()
    return {name for name in os.listdir(SHARED_MEMORY) if not name.startswith("sem.")}


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _has_marker(pid: int, marker: str) -> bool:
    try:
        return marker.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def _works_in(pid: int, directory: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(directory)
    except OSError:
        return False


def first_child(pid: int) -> int:
    """The oldest child, 0 where there is none."""
    try:
        children = psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return 0
    return children[0].pid if children else 0
