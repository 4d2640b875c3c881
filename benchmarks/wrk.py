"""wrk, the load generator: run it, and read what it prints."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.process.connection import Target

SCRIPTS = Path(__file__).with_name("lua")
PATIENCE = 60.0
"""Seconds that wrk may take longer than it was told."""


@dataclass(frozen=True)
class Result:
    """What one run came to. ``answers`` counts by body, where the script ``answers.lua`` ran."""

    requests: int
    rate: float
    errors: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)


def parse(output: str) -> Result:
    """Read what wrk 4 prints. Raises `ValueError` where there is no result in it."""
    requests = re.search(r"^\s*(\d+) requests in ", output, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s*([\d.]+)", output, re.MULTILINE)
    if requests is None or rate is None:
        raise ValueError(f"wrk printed no result: {output.strip()!r}")
    errors: Counter[str] = Counter()
    if sockets := re.search(r"^\s*Socket errors: (.+)$", output, re.MULTILINE):
        for kind, count in re.findall(r"(\w+) (\d+)", sockets[1]):
            errors[kind] += int(count)
    if status := re.search(r"^\s*Non-2xx or 3xx responses: (\d+)", output, re.MULTILINE):
        errors["status"] = int(status[1])
    answers: Counter[str] = Counter()
    for body, count in re.findall(r"^answers (\S+) (\d+)$", output, re.MULTILINE):
        answers[body] += int(count)
    return Result(int(requests[1]), float(rate[1]), +errors, answers)


def run(
    target: Target,
    path: str,
    *,
    connections: int,
    seconds: float,
    script: str = "",
    arguments: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
) -> Result:
    """Send as many requests as are answered, for so many seconds, rounded up to whole ones.

    Raises `RuntimeError` when wrk fails, and `subprocess.TimeoutExpired` when it does not come to its end.
    """
    assert not isinstance(target.address, str)
    host, port = target.address
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{-(-seconds // 1):.0f}s"]
    for header in headers:
        command += ["--header", header]
    if script:
        command += ["--script", str(SCRIPTS / script)]
    command += [f"http://{host}:{port}{path}"]
    command += ["--", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + PATIENCE)
    if done.returncode:
        raise RuntimeError(f"wrk exited with {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return parse(done.stdout)


def version() -> str:
    """The version of the wrk that is installed, empty where there is none."""
    if shutil.which("wrk") is None:
        return ""
    printed = subprocess.run(["wrk", "--version"], check=False, capture_output=True, text=True).stdout
    found = re.search(r"[\d.]+[\d]", printed)
    return found[0] if found else "unknown"


def install() -> None:
    """Take it from the system's packages where it is missing. Raises `FileNotFoundError` where that does not work."""
    if shutil.which("wrk"):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["update"], ["install", "-y", "--no-install-recommends", "wrk"]):
            subprocess.run(["apt-get", "-qq", *command], stdout=subprocess.DEVNULL, check=False)
    if shutil.which("wrk") is None:
        raise FileNotFoundError("wrk, the load generator, is not installed: apt-get install wrk")
