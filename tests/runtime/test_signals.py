"""Signals as bytes: none is lost, none comes twice, and a forked child has none of it."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from supervisor.runtime.signals import HANDLED, SignalWakeup

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    descriptors = set(os.listdir("/proc/self/fd"))
    handlers = {number: signal.getsignal(number) for number in (*HANDLED, signal.SIGPIPE)}
    yield
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert set(os.listdir("/proc/self/fd")) == descriptors


@pytest.fixture
def wakeup() -> Iterator[SignalWakeup]:
    made = SignalWakeup()
    yield made
    made.restore()


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def fork(work: Callable[[], int]) -> int:
    """The pid of a process that ends with what ``work`` returns."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work()
        finally:
            os._exit(code)
    return pid


def test_all_signals_arrive_in_order(wakeup: SignalWakeup) -> None:
    assert wakeup.drain() == []
    send(*HANDLED)
    assert select.select([wakeup], [], [], 30)[0] == [wakeup]
    assert wakeup.drain() == list(HANDLED)
    assert wakeup.drain() == []
    assert select.select([wakeup], [], [], 0)[0] == []


def test_repetitions_count_except_those_of_chld(wakeup: SignalWakeup) -> None:
    send(signal.SIGTTIN, signal.SIGCHLD, signal.SIGTTIN, signal.SIGCHLD, signal.SIGTERM)
    assert wakeup.drain() == [signal.SIGTTIN, signal.SIGCHLD, signal.SIGTTIN, signal.SIGTERM]


def test_a_full_descriptor_loses_no_kind_of_signal(wakeup: SignalWakeup) -> None:
    for _ in range(70_000):
        os.kill(os.getpid(), signal.SIGCHLD)
    send(signal.SIGTERM, signal.SIGHUP)
    assert wakeup.drain() == [signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM]
    assert wakeup.drain() == []
    send(signal.SIGTERM)
    assert wakeup.drain() == [signal.SIGTERM]


def test_a_signal_between_the_two_looks_comes_once() -> None:
    class Interrupted(SignalWakeup):
        def _read(self) -> bytes:
            if before_read:
                send(before_read.pop())
            return super()._read()

    before_read = [signal.SIGTTIN]
    wakeup = Interrupted()
    assert wakeup.drain() == [signal.SIGTTIN]
    assert wakeup.drain() == []
    wakeup.restore()


def test_signals_that_come_while_draining_come_once(wakeup: SignalWakeup) -> None:
    """Another process sends, each of its signals only after the one before was taken."""
    asked, ask = os.pipe()
    parent = os.getpid()

    def sender() -> int:
        for _ in range(500):
            os.read(asked, 1)
            os.kill(parent, signal.SIGTTIN)
        os.read(asked, 1)
        os.kill(parent, signal.SIGTERM)
        return 0

    pid = fork(sender)
    arrived: list[signal.Signals] = []
    os.write(ask, b".")
    while signal.SIGTERM not in arrived:
        new = [number for number in wakeup.drain() if number != signal.SIGCHLD]
        arrived += new
        if new and signal.SIGTERM not in new:
            os.write(ask, b"." * len(new))
    os.waitpid(pid, 0)
    assert arrived == [signal.SIGTTIN] * 500 + [signal.SIGTERM]
    assert set(wakeup.drain()) <= {signal.SIGCHLD}
    os.close(asked)
    os.close(ask)


def test_writing_to_nobody_is_an_error_and_no_death(wakeup: SignalWakeup) -> None:
    left, right = socket.socketpair()
    right.close()
    with left, pytest.raises(BrokenPipeError):
        left.send(b"x")


def test_restore_puts_back_handlers_and_descriptor() -> None:
    def handler(_number: int, _frame: object) -> None:
        """Stands for the handler of a launcher."""

    reader, writer = os.pipe2(os.O_NONBLOCK)
    previous = signal.signal(signal.SIGHUP, handler)
    signal.set_wakeup_fd(writer)
    wakeup = SignalWakeup()
    wakeup.restore()
    assert signal.getsignal(signal.SIGHUP) is handler
    assert signal.set_wakeup_fd(-1) == writer
    signal.signal(signal.SIGHUP, previous)
    os.close(reader)
    os.close(writer)


def test_only_the_main_thread_can_have_it() -> None:
    raised: list[Exception] = []

    def elsewhere() -> None:
        try:
            SignalWakeup()
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join(30)
    assert len(raised) == 1


def test_a_child_has_default_dispositions_and_nothing_of_the_parent(wakeup: SignalWakeup) -> None:
    def child() -> int:
        wakeup.reset_in_child()
        good = (
            all(signal.getsignal(number) == signal.SIG_DFL for number in HANDLED)
            and signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
            and signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
            and signal.set_wakeup_fd(-1) == -1
            and wakeup.fileno() == -1
        )
        return 0 if good else 1

    with wakeup.held():
        pid = fork(child)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_a_signal_that_meets_the_child_early_is_its_own(wakeup: SignalWakeup) -> None:
    """TERM comes between the fork and the reset: it ends the child, and the parent does not take it for its own."""
    gate, opener = os.pipe()

    def child() -> int:
        os.read(gate, 1)
        wakeup.reset_in_child()
        return 0

    with wakeup.held():
        pid = fork(child)
    os.kill(pid, signal.SIGTERM)
    os.write(opener, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    assert set(wakeup.drain()) <= {signal.SIGCHLD}
    os.close(gate)
    os.close(opener)


def test_held_signals_arrive_afterwards(wakeup: SignalWakeup) -> None:
    with wakeup.held():
        signal.raise_signal(signal.SIGHUP)  # to this thread: a mask is a thread's, and test runners may have others
        assert wakeup.drain() == []
    assert wakeup.drain() == [signal.SIGHUP]
