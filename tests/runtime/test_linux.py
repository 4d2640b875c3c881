"""prctl(2): orphans are adopted, and children die with their parent."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from supervisor.errors import SupervisorError
from supervisor.runtime.linux import have_subreaper, set_child_subreaper, set_parent_death_signal

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def test_a_subreaper_adopts_orphans() -> None:
    """In a process of its own: parent, middle and orphan; the middle exits and the orphan tells its new parent."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        set_child_subreaper()
        middle = os.fork()
        if middle == 0:
            middle_pid = os.getpid()
            if os.fork() == 0:
                while os.getppid() == middle_pid:
                    pass
                os.write(writer, b"%d" % os.getppid())
            os._exit(0)
        os.waitpid(middle, 0)
        os.wait()
        os._exit(0 if have_subreaper() else 1)
    os.close(writer)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 0
    with os.fdopen(reader) as report:
        assert report.read() == str(parent)
    assert not have_subreaper()


def test_a_child_dies_with_its_parent() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            set_parent_death_signal(signal.SIGKILL)
            os.write(writer, b".")
            while True:
                signal.pause()
        signal.pause()
        os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(reader, 1) == b""  # nobody holds the writing end any more
    os.close(reader)


def test_a_refusal_is_an_os_error() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        set_parent_death_signal(12345)  # type: ignore[arg-type]  # no signal has this number, which is the point


def test_other_systems_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SupervisorError, match="needs Linux"):
        set_child_subreaper()
    assert not have_subreaper()
