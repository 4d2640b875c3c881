"""What a loader does about its workers when the arbiter was killed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from supervisor.runtime.offspring import Offspring


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> object:
    before = os.listdir("/proc/self/fd")
    yield
    assert os.listdir("/proc/self/fd") == before


def test_it_waits_for_all() -> None:
    offspring = Offspring()
    with sleeper() as first, sleeper() as second:
        offspring.add(first.pid)
        offspring.add(second.pid)
        first.kill()
        second.kill()
        offspring.outlive(3600)


def test_it_kills_who_does_not_end() -> None:
    offspring = Offspring()
    with sleeper() as process:
        offspring.add(process.pid)
        offspring.outlive(0.05)
        assert process.wait(60) == -9


def test_the_dead_cost_nothing() -> None:
    offspring = Offspring()
    for _ in range(5):
        with sleeper() as process:
            offspring.add(process.pid)
            process.kill()
    with sleeper() as process:
        offspring.add(process.pid)
        assert len(offspring._descriptors) == 1
        process.kill()
    offspring.add(process.pid)  # nobody any more
    offspring.forget()
