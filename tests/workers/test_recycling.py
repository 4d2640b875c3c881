"""``max_memory`` and ``max_lifetime``: what is measured, when it is looked at, and that a worker asks once."""

from __future__ import annotations

import json
import logging
import mmap
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from supervisor.workers.recycling import COST, Recycling, Usage, own_memory
from tests.workers.client import Reader, request
from tests.workers.conftest import RunningWorker, StartWorker, make_settings

MIB = 1 << 20
LOG = logging.getLogger("test.recycling")


def ballast(size: int) -> mmap.mmap:
    """Memory of this process's own, each page written to."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(0, size, mmap.PAGESIZE):
        memory[page] = 1
    return memory


# -- what is measured


def proc(directory: Path, *, status: str, rollup: str | None = None) -> Path:
    (directory / "status").write_text(f"Name:\tpython\nThreads:\t3\n{status}")
    if rollup is not None:
        (directory / "smaps_rollup").write_text(f"55-7f ---p 00000000 00:00 0   [rollup]\n{rollup}")
    return directory


STATUS = "VmRSS:\t  900 kB\nRssAnon:\t  700 kB\nRssFile:\t  200 kB\nVmSwap:\t   100 kB\n"
ROLLUP = "Rss:  900 kB\nPss:  500 kB\nPrivate_Clean:  50 kB\nPrivate_Dirty:  300 kB\nSwapPss:  40 kB\n"


def test_private_pages_and_swap(tmp_path: Path) -> None:
    assert own_memory(0, proc(tmp_path, status=STATUS, rollup=ROLLUP)) == Usage(390 * 1024, "private")


@pytest.mark.parametrize(("limit", "kind"), [(1000 * 1024, "resident"), (1000 * 1024 - 1, "private")])
def test_the_page_tables_are_walked_only_if_the_limit_may_be_exceeded(tmp_path: Path, limit: int, kind: str) -> None:
    assert own_memory(limit, proc(tmp_path, status=STATUS, rollup=ROLLUP)).kind == kind


@pytest.mark.parametrize("rollup", [None, "Rss: 900 kB\n"], ids=["missing", "without the fields"])
def test_without_smaps_rollup(tmp_path: Path, rollup: str | None) -> None:
    assert own_memory(0, proc(tmp_path, status=STATUS, rollup=rollup)) == Usage(800 * 1024, "anonymous")


def test_with_nothing_but_the_resident_size(tmp_path: Path) -> None:
    assert own_memory(0, proc(tmp_path, status="VmRSS:\t  900 kB\n")) == Usage(900 * 1024, "anonymous")


def test_where_nothing_tells(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        own_memory(0, tmp_path)
    with pytest.raises(KeyError):
        own_memory(0, proc(tmp_path, status=""))


def test_of_this_process() -> None:
    """The kernel's figures, against those of psutil, and against what is known to have been added."""
    before = own_memory(0)
    held = ballast(64 * MIB)
    after = own_memory(0)
    assert before.kind == after.kind == "private"
    assert 60 * MIB < after.size - before.size < 80 * MIB
    assert abs(after.size - psutil.Process().memory_full_info().uss) < 10 * MIB
    held.close()


def test_what_is_shared_since_the_fork_does_not_count() -> None:
    """A preloaded application belongs to all workers alike, until one writes to its pages."""
    held = ballast(64 * MIB)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        shared = own_memory(0).size
        for page in range(0, 64 * MIB, mmap.PAGESIZE):
            held[page] = 2
        os.write(write, json.dumps([shared, own_memory(0).size]).encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        shared, written = json.load(pipe)
    os.waitpid(pid, 0)
    held.close()
    assert shared < 40 * MIB
    assert written - shared > 60 * MIB


# -- when it is looked at


class Gauge:
    """A process whose memory, and the cost of looking at it, are what the test says."""

    def __init__(self, size: int = 0, cost: float = 0.0) -> None:
        self.size = size
        self.cost = cost
        self.looks = 0
        self.spent = 0.0

    def measure(self, limit: int) -> Usage:
        self.looks += 1
        self.spent += self.cost
        return Usage(self.size, "private")

    def recycling(self, **values: Any) -> Recycling:
        settings = make_settings(max_memory="100M", **values)
        return Recycling(settings, LOG, measure=self.measure, clock=lambda: self.spent)


def watch(recycling: Recycling, seconds: range) -> dict[int, str]:
    """What is said at each of these seconds."""
    said = {second: recycling.reason(float(second)) for second in seconds}
    return {second: reason for second, reason in said.items() if reason}


def test_it_looks_once_in_an_interval_and_says_what_it_saw() -> None:
    gauge = Gauge(100 * MIB)
    recycling = gauge.recycling(max_memory_interval=10, min_lifetime=5)
    recycling.started(1000.0)
    assert watch(recycling, range(1000, 1041)) == {}
    assert gauge.looks == 5
    gauge.size += 1
    assert watch(recycling, range(1041, 1051)) == {1050: "max_memory: 101 MiB private, limit 100 MiB"}


def test_a_slow_look_is_taken_less_often() -> None:
    gauge = Gauge(50 * MIB, cost=59.5 * COST)
    recycling = gauge.recycling(max_memory_interval=10)
    recycling.started(0.0)
    watch(recycling, range(3600))
    assert gauge.looks == 60


def test_a_young_worker_is_left_alone_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    recycling = Gauge(300 * MIB).recycling(max_memory_interval=1, min_lifetime=30)
    recycling.started(1000.0)
    with caplog.at_level(logging.WARNING, LOG.name):
        said = watch(recycling, range(1001, 1031))
    assert said == {1030: "max_memory: 300 MiB private, limit 100 MiB"}
    (message,) = caplog.messages
    assert message.startswith("max_memory: 300 MiB private, limit 100 MiB only 1 s after the start: ")
    assert "min_lifetime (30 s)" in message


def test_memory_that_cannot_be_read_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def measure(limit: int) -> Usage:
        raise FileNotFoundError("/proc/self/status")

    recycling = Recycling(make_settings(max_memory="100M"), LOG, measure=measure)
    recycling.started(0.0)
    assert watch(recycling, range(1000)) == {}
    assert len(caplog.messages) == 1
    assert "max_memory has no effect" in caplog.messages[0]


def test_nothing_is_looked_at_unasked() -> None:
    def measure(limit: int) -> Usage:
        raise AssertionError("nobody asked")

    recycling = Recycling(make_settings(), LOG, measure=measure)
    recycling.started(0.0)
    assert watch(recycling, range(0, 10**7, 1000)) == {}


def test_a_lifetime_is_over_after_max_lifetime_and_a_jitter_of_its_own() -> None:
    ends = set()
    for _ in range(50):
        recycling = Recycling(make_settings(max_lifetime=100, max_lifetime_jitter=1000), LOG)
        recycling.started(5000.0)
        assert recycling.reason(5099.0) is None
        (end, reason), *_ = watch(recycling, range(5100, 6101)).items()
        assert reason == f"max_lifetime: served for {end - 5000} s"
        ends.add(end)
    assert len(ends) > 10


# -- in a worker


class Leak:
    """Keeps so many bytes for each request."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[mmap.mmap] = []

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        if scope["type"] == "lifespan":
            raise RuntimeError("no lifespan")
        if self.size:
            self.kept.append(ballast(self.size))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


def get(worker: RunningWorker) -> int:
    with worker.connect() as client:
        client.sendall(request("/"))
        return Reader(client).answer().status


def wishes(worker: RunningWorker) -> list[Any]:
    """What the worker, told to leave, has wished for before."""
    worker.signal(signal.SIGTERM)
    worker.wait_for_word("draining")
    assert worker.wait_exit() == 0
    return [said[1] for said in worker.said if said[0] == "retirement_wanted"]


def test_a_worker_that_leaks_asks_once_and_serves_on(start_worker: StartWorker) -> None:
    worker = start_worker(Leak(128 * MIB), max_memory="100M", max_memory_interval=1, min_lifetime=1, max_requests=2)
    assert get(worker) == 200
    reason = worker.wait_for_word("retirement_wanted")[1]
    assert reason.startswith("max_memory: 1")
    assert reason.endswith(" MiB private, limit 100 MiB")
    assert get(worker) == get(worker) == 200, "it serves on, and max_requests has nothing to add"
    assert wishes(worker) == [reason]


def test_a_worker_that_does_not_leak_asks_for_nothing(start_worker: StartWorker) -> None:
    """The process it was forked from, and shares most of its memory with, is larger than the limit."""
    held = ballast(200 * MIB)
    worker = start_worker(Leak(0), max_memory="100M", max_memory_interval=1, min_lifetime=1, max_lifetime=3)
    reason = worker.wait_for_word("retirement_wanted")[1]
    held.close()
    assert reason.startswith("max_lifetime: served for ")
    assert wishes(worker) == [reason]


def test_a_worker_that_is_too_large_from_the_start_says_so(start_worker: StartWorker) -> None:
    worker = start_worker(Leak(128 * MIB), max_memory="100M", max_memory_interval=1, min_lifetime=3600)
    assert get(worker) == 200
    worker.wait_for(lambda: "raise max_memory" in worker.log_text())
    assert wishes(worker) == []
