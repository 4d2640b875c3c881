"""The count of usable CPUs, from made-up trees of proc and sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cpus import available_cpus, cpu_quota

UNIFIED = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
VERSION_1 = "35 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
DOCKER_1 = "35 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu"


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "quota"),
    [
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ("0::/\n", UNIFIED, {}, None),
        ("0::/a/b\n", UNIFIED, {"sys/fs/cgroup/a/cpu.max": "150000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 1"}, 1.5),
        ("0::/a/b\n", UNIFIED, {"sys/fs/cgroup/a/cpu.max": "9 1", "sys/fs/cgroup/a/b/cpu.max": "3 1"}, 3.0),
        ("0::/../other\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0),
        (
            "4:cpu,cpuacct:/web\n0::/\n",
            VERSION_1,
            {
                "sys/fs/cgroup/cpu,cpuacct/web/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/web/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        (
            "4:cpu:/docker/abc\n",
            DOCKER_1,
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("4:memory:/\n", "35 31 0:29 / /m rw - cgroup cgroup rw,memory", {"m/cpu.max": "1 1"}, None),
        ("0::/\n", UNIFIED.replace("/sys/fs", "/a\\040b"), {"a b/cgroup/cpu.max": "4 1"}, 4.0),
        ("nonsense\n", "nonsense\n", {}, None),
        ("0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": "1 0"}, None),
    ],
)
def test_quota(tmp_path: Path, groups: str, mounts: str, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(tree(tmp_path, groups, mounts, files)) == quota


@pytest.mark.parametrize(
    ("maximum", "affinity", "expected"),
    [("max 1", 8, 8), ("250000 100000", 8, 2), ("50000 100000", 8, 1), ("800000 100000", 4, 4), ("max 1", 0, 1)],
)
def test_available(tmp_path: Path, maximum: str, affinity: int, expected: int) -> None:
    root = tree(tmp_path, "0::/\n", UNIFIED, {"sys/fs/cgroup/cpu.max": maximum})
    assert available_cpus(root, affinity) == expected


def test_without_proc_the_affinity_mask_decides(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    assert available_cpus(tmp_path, 3) == 3


def test_this_machine() -> None:
    assert available_cpus() >= 1
