"""How many CPUs this process may use: what ``workers = "auto"`` stands for.

The count of the machine is wrong in a container. What counts is the affinity mask (`sched_getaffinity(2)`) and
the CPU bandwidth of the control groups that the process is in (kernel documentation: ``admin-guide/cgroup-v2``,
``cpu.max``; ``scheduler/sched-bwc`` for version 1). A group is bound by its ancestors too, so the smallest wins.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def available_cpus(root: Path = Path("/"), affinity: int | None = None) -> int:
    """The CPUs that this process may use, at least 1.

    A quota of 2.5 CPUs counts as 2: a worker more than the quota can run makes the kernel stop them all for part
    of each period. ``root`` is the directory that holds ``proc`` and ``sys``; ``affinity`` stands in for the mask.
    """
    allowed = _affinity() if affinity is None else affinity
    quota = cpu_quota(root)
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPU time per second that the control groups of this process grant, or None where they set no bound."""
    quotas = [quota for folder, top in _folders(root) for quota in _quotas(folder, top)]
    return min(quotas, default=None)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(root: Path) -> list[tuple[Path, Path]]:
    """The folder of each hierarchy that limits CPU time, with the mount point where the climb ends."""
    groups = _groups(root)
    found = []
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, filesystem = line.partition(" - ")
        before, after = mount.split(), filesystem.split()
        if len(before) < 5 or len(after) < 3:
            continue
        controller = _controller(after[0], after[2])
        if controller is None or controller not in groups:
            continue
        top = root / _unescaped(before[4]).lstrip("/")
        found.append((top / _below(groups[controller], _unescaped(before[3])), top))
    return found


def _groups(root: Path) -> dict[str, str]:
    """The group of this process by controller; the empty name is the hierarchy of version 2."""
    groups: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _controller(filesystem: str, options: str) -> str | None:
    if filesystem == "cgroup2":
        return ""
    if filesystem == "cgroup" and "cpu" in options.split(","):
        return "cpu"
    return None


def _below(group: str, mounted: str) -> str:
    """The group's path below the mount point, which may show only a part of the hierarchy (a container's own)."""
    path = PurePosixPath(group)
    if path.is_relative_to(mounted):
        return str(path.relative_to(mounted))
    return "." if ".." in path.parts or mounted != "/" else str(path).lstrip("/")


def _quotas(folder: Path, top: Path) -> list[float]:
    """The bounds of a group and of the groups above it, as far up as they can be seen."""
    found = []
    for group in (folder, *folder.parents):
        quota = _quota(group)
        if quota is not None:
            found.append(quota)
        if group == top:
            break
    return found


def _quota(group: Path) -> float | None:
    unified = " ".join(_lines(group / "cpu.max")).split()
    if len(unified) == 2:
        return _ratio(unified[0], unified[1])
    quota = " ".join(_lines(group / "cpu.cfs_quota_us"))
    period = " ".join(_lines(group / "cpu.cfs_period_us"))
    return _ratio(quota, period)


def _ratio(quota: str, period: str) -> float | None:
    if not (quota.isdigit() and period.isdigit()) or int(period) == 0:  # "max", "-1", or no such file
        return None
    return int(quota) / int(period)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _unescaped(path: str) -> str:
    """The path of a field of mountinfo, where the kernel writes white space and backslashes in octal (proc(5))."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, character)
    return path
