"""What a run was made on and with: figures mean nothing without it. It names no host and no paths."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from benchmarks import wrk

DISTRIBUTIONS = (
    *("asgi-supervisor", "gunicorn", "uvicorn-worker", "uvicorn", "granian", "hypercorn"),
    *("uvloop", "httptools", "h11", "gunicorn_h1c", "websockets", "fastapi", "starlette", "pydantic"),
)


def cpu_model(cpuinfo: str) -> str:
    """The name of the processor in the text of /proc/cpuinfo (proc(5)); some architectures tell none."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def facts() -> dict[str, str]:
    """The machine, as far as figures depend on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = re.match(r"[\d.]*\d", platform.release())
    return {
        "processor": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {kernel[0] if kernel else ''}".strip(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
    }


def versions() -> dict[str, str]:
    """What is installed of all that is compared, and of what that is made of."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "wrk": wrk.version()}
