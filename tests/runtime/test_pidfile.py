"""One pidfile, one owner."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.errors import ConfigError
from supervisor.runtime.pidfile import Pidfile

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "service.pid"


@pytest.fixture
def dead() -> int:
    """The pid of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def acquired(path: Path, pid: int | None = None) -> Pidfile:
    pidfile = Pidfile(str(path))
    pidfile.acquire(os.getpid() if pid is None else pid)
    return pidfile


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        acquired(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def locked(path: Path) -> bool:
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def command_line(pid: int) -> str:
    """What the process runs; waits until it does, since a fork comes first."""
    while not (command := Path(f"/proc/{pid}/cmdline").read_text()):
        pass
    return command


def fork(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def test_it_holds_the_pid_and_a_line_break(path: Path) -> None:
    before = os.umask(0o077)
    pidfile = acquired(path, 4711)
    os.umask(before)
    assert path.read_bytes() == b"4711\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_nlink == 1
    assert locked(path)
    pidfile.release()
    pidfile.release()
    assert not path.exists()


def test_a_relative_path(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    pidfile = acquired(Path(path.name))
    assert path.exists()
    pidfile.release()
    assert not path.exists()


@pytest.mark.parametrize("content", ["{dead}\n", "{dead}", " {dead} \n", "", "\n", "99999999999\n", "{alive}\n"])
def test_a_stale_one_is_replaced(path: Path, dead: int, content: str) -> None:
    """Also one whose pid was given to another program since: nobody holds the lock."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        path.write_text(content.format(dead=dead, alive=alive.pid))
        pidfile = acquired(path)
        assert path.read_text() == f"{os.getpid()}\n"
        assert locked(path)
        pidfile.release()
        alive.communicate(b"\n")


def test_an_owner_who_lives_is_named(path: Path) -> None:
    pidfile = acquired(path)
    command = " ".join(command_line(os.getpid()).replace("\0", " ").split())
    assert f"belongs to process {os.getpid()} ({command[:200]})" in refusal(path)
    assert path.read_text() == f"{os.getpid()}\n"
    pidfile.release()


def test_a_locked_file_without_a_live_pid_is_respected(path: Path, dead: int) -> None:
    pidfile = acquired(path, dead)
    assert "just starting or ending" in refusal(path)
    pidfile.release()


def test_a_stale_file_that_another_has_just_replaced(path: Path, dead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of the old file is free again, and means nothing."""
    path.write_text(f"{dead}\n")
    winners: list[Pidfile] = []
    real_flock = fcntl.flock

    def too_late(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_NB and not winners:
            monkeypatch.setattr(fcntl, "flock", real_flock)
            winners.append(acquired(path))
        real_flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)
    assert f"belongs to process {os.getpid()}" in refusal(path)
    winners[0].release()
    assert not path.exists()


@pytest.mark.parametrize("title", ["gunicorn", "/usr/bin/gunicorn", "gunicorn: master [shop]"])
def test_a_gunicorn_that_runs_is_respected(path: Path, title: str) -> None:
    """It does not lock its pidfile, and `kill $(cat service.pid)` has to go on meaning it."""
    command = [title, "-c", "input()"]
    with subprocess.Popen(command, executable=sys.executable, stdin=subprocess.PIPE) as gunicorn:
        command_line(gunicorn.pid)
        path.write_text(f"{gunicorn.pid}\n")
        assert f"belongs to process {gunicorn.pid} ({title}" in refusal(path)
        assert path.read_text() == f"{gunicorn.pid}\n"
        gunicorn.communicate(b"\n")


@pytest.mark.parametrize("start", ["no file", "a stale file"])
def test_of_many_starters_one_wins(path: Path, dead: int, start: str) -> None:
    for _ in range(15):
        if start == "a stale file":
            path.write_text(f"{dead}\n")
        race(path, starters=8)
        assert not path.exists()


def race(path: Path, starters: int) -> None:
    """All try at the same moment; the winner keeps the file until all have tried."""
    (gate, start), (results, report), (end, stop) = os.pipe(), os.pipe(), os.pipe()

    def starter() -> None:
        os.close(start)
        os.close(stop)
        os.read(gate, 1)
        try:
            pidfile = acquired(path)
        except ConfigError:
            os.write(report, b"refused\n")
            return
        os.write(report, b"%d\n" % os.getpid())
        os.read(end, 1)
        pidfile.release()

    pids = [fork(starter) for _ in range(starters)]
    for fd in (start, report, gate, end):
        os.close(fd)
    outcomes = b""
    while outcomes.count(b"\n") < starters and (some := os.read(results, 1000)):
        outcomes += some
    assert sorted(outcomes.split())[1:] == [b"refused"] * (starters - 1)
    assert path.read_bytes() == min(outcomes.split()) + b"\n"
    os.close(stop)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * starters
    os.close(results)


def test_what_is_no_pidfile_is_kept(path: Path) -> None:
    path.write_text("import os\n")
    assert "is no pidfile, it begins with 'import os'" in refusal(path)
    assert path.read_text() == "import os\n"


def test_special_files_are_refused_without_waiting(path: Path) -> None:
    os.mkfifo(path)
    assert "not a regular file" in refusal(path)
    assert "not a regular file" in refusal(path.parent)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_link_to_nowhere_is_refused(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")
    assert "symbolic link to nowhere" in refusal(path)


def test_a_directory_that_cannot_be_used_is_named(path: Path) -> None:
    assert "missing does not exist" in refusal(path.parent / "missing" / "service.pid")
    path.touch()
    assert "Not a directory" in refusal(path / "service.pid")


def test_file_systems_without_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str) -> None:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    pidfile = acquired(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert locked(path)
    assert "belongs to process" in refusal(path)
    pidfile.release()


def test_release_leaves_the_file_of_another(path: Path) -> None:
    pidfile = acquired(path)
    os.unlink(path)
    path.write_text("1\n")
    pidfile.release()
    assert path.read_text() == "1\n"


def test_release_bears_a_directory_that_is_gone(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    pidfile = acquired(directory / "service.pid")
    (directory / "service.pid").unlink()
    directory.rmdir()
    pidfile.release()


@pytest.mark.parametrize("closes", [True, False])
def test_a_child_must_close_its_copy(path: Path, closes: bool) -> None:
    """One that does not keeps the lock after the death of the arbiter."""
    pidfile = acquired(path)
    ready, say_ready = os.pipe()
    end, ender = os.pipe()

    def child() -> None:
        os.close(ender)
        if closes:
            pidfile.close_in_child()
            assert locked(path)
        os.write(say_ready, b".")
        os.read(end, 1)

    pid = fork(child)
    assert os.read(ready, 1) == b"."
    pidfile.close_in_child()  # as the kernel does for a killed arbiter
    assert locked(path) is not closes
    os.close(ender)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for fd in (ready, say_ready, end):
        os.close(fd)


def test_the_descriptor_closes_on_exec(path: Path) -> None:
    pidfile = acquired(path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as program:
        command_line(program.pid)
        pidfile.close_in_child()
        assert not locked(path)
        program.communicate(b"\n")


def test_renamed_it_is_still_ours(path: Path, dead: int) -> None:
    pidfile = acquired(path)
    target = path.with_suffix(".pid.2")
    target.write_text(f"{dead}\n")
    pidfile.rename(str(target))
    assert not path.exists()
    assert target.read_text() == f"{os.getpid()}\n"
    assert pidfile.path == str(target)
    assert "belongs to" in refusal(target)
    pidfile.rename(str(path))
    pidfile.release()
    assert not path.exists()
    assert not target.exists()


def test_it_is_not_renamed_over_a_live_one(path: Path) -> None:
    target = path.with_suffix(".pid.2")
    pidfile, other = acquired(path), acquired(target)
    with pytest.raises(ConfigError, match="belongs to process"):
        pidfile.rename(str(target))
    assert path.exists()
    other.release()
    with pytest.raises(ConfigError, match="No such file"):
        pidfile.rename(str(path.parent / "missing" / "x"))
    assert pidfile.path == str(path)
    pidfile.release()
    with pytest.raises(ConfigError, match="no longer ours"):
        pidfile.rename(str(target))
