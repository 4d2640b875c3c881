"""How a worker is told to stop: by handlers that interrupt each other, and by several threads."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from supervisor.workers.base import Stop, Worker
from tests.workers.conftest import make_settings


@pytest.fixture
def worker() -> Worker:
    log = logging.getLogger("tests.stop")
    context: Any = SimpleNamespace(
        settings=make_settings(),
        age=1,
        slot=0,
        generation=1,
        arbiter_pid=os.getppid(),
        listeners=[],
        log=log,
        logger=log,
        server=None,
        row=None,
    )
    return Worker(context)


class Interrupted(int):
    """GRACEFUL, for a thread that is interrupted by QUIT when it has compared it."""

    worker: Worker

    def __le__(self, other: int) -> bool:
        compared = int(self) <= other
        self.worker.request_stop(Stop.QUICK)
        return compared


def test_an_order_to_drain_does_not_take_a_quick_stop_back(worker: Worker) -> None:
    level: Any = Interrupted(Stop.GRACEFUL)
    level.worker = worker
    worker.request_stop(level)
    assert worker.stop is Stop.QUICK


@pytest.mark.parametrize(
    ("told", "stop"),
    [
        ([], Stop.NO),
        ([Stop.GRACEFUL], Stop.GRACEFUL),
        ([Stop.QUICK], Stop.QUICK),
        ([Stop.GRACEFUL, Stop.QUICK], Stop.QUICK),
        ([Stop.QUICK, Stop.GRACEFUL], Stop.QUICK),
    ],
)
def test_the_most_urgent_order_counts(worker: Worker, told: list[Stop], stop: Stop) -> None:
    for level in told:
        worker.request_stop(level)
    assert worker.stop is stop
    assert worker.alive is (stop is Stop.NO)


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The alarms that are set, in a process whose parent has gone and whose application has a handler for them."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    seen: list[int] = []
    monkeypatch.setattr(signal, "alarm", seen.append)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    yield seen
    signal.signal(signal.SIGALRM, before)


def test_an_orphans_alarm_ends_it_whichever_thread_has_set_it(worker: Worker, alarms: list[int]) -> None:
    worker.context.arbiter_pid = 2
    thread = threading.Thread(target=worker.request_stop, args=(Stop.GRACEFUL,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL, "only the main thread can do that"
    worker.request_stop(Stop.GRACEFUL)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert alarms == [worker.orphan_patience()]
