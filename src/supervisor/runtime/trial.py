"""The check before a start: load the application as a start would, in a process that is thrown away."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from supervisor.application import explain, load_application
from supervisor.config.settings import Settings
from supervisor.core.status import describe
from supervisor.logs.classes import logger_class
from supervisor.runtime import nesting
from supervisor.runtime.environment import Environment
from supervisor.runtime.hazards import Snapshot, compare
from supervisor.runtime.linux import set_parent_death_signal

POLL: Final = 0.05
SLACK: Final = 1.0
"""Seconds after ``boot_timeout`` in which the process says by itself where it hangs."""
KEPT: Final = 20_000
"""Bytes of the output that are shown when the application does not load: the last ones."""
TLS: Final = frozenset({"certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers"})


@dataclass(frozen=True, slots=True)
class Trial:
    """How it went: what would keep it from starting, each with its detail, and what does not go well with preload.

    ``seconds`` is how long it took, ``output`` what was written meanwhile: the end of it.
    """

    problems: Sequence[tuple[str, str]]
    hazards: Sequence[str]
    seconds: float
    output: str


def try_out(settings: Settings, known: AbstractSet[str] = frozenset()) -> Trial:
    """Find the worker class, load the application and make the TLS context, all in a process of its own.

    What depends on a setting that is ``known`` to be wrong is left out. The process is killed in the end, with those
    that it started; it has ``boot_timeout``.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    report_r, report_w = os.pipe()
    output_r, output_w = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _try(settings, known, report=report_w, output=output_w)
    os.close(report_w)
    os.close(output_w)
    try:
        heard = _listen(pid, report_r, output_r, started + settings.boot_timeout + SLACK)
    finally:
        status = _end(pid)
    seconds = time.monotonic() - started
    report, output = (data + _rest(fd) for fd, data in heard.items())
    os.close(report_r)
    os.close(output_r)
    said = output[-KEPT:].decode(errors="replace").strip()
    if report.endswith(b"\n"):
        problems, hazards = json.loads(report)
        return Trial([(summary, detail) for summary, detail in problems], hazards, seconds, said)
    summary = f"the process that loads the application ended early ({describe(status)})"
    if seconds >= settings.boot_timeout:
        limit = f"boot_timeout = {settings.boot_timeout} s ({settings.source('boot_timeout')})"
        summary = f"the application was not loaded within {limit}"
    return Trial([(summary, "")], [], seconds, said)


def _try(settings: Settings, known: AbstractSet[str], *, report: int, output: int) -> NoReturn:
    """The process that is thrown away."""
    problems: list[tuple[str, str]] = []
    hazards: list[str] = []
    try:
        os.setsid()
        set_parent_death_signal(signal.SIGKILL)
        nesting.mark()
        for fd in (1, 2):
            os.dup2(output, fd)
        faulthandler.enable(file=2)
        faulthandler.dump_traceback_later(settings.boot_timeout, exit=True, file=2)
        for step in _steps(settings, known, hazards):
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - the application may raise anything, SystemExit included
                problems.append(explain(error)[:2])
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # the application may have put anything in their place
                stream.flush()
        with open(report, "w", encoding="utf-8") as file:
            file.write(json.dumps([problems, hazards]) + "\n")
    finally:
        os._exit(0)


def _steps(settings: Settings, known: AbstractSet[str], hazards: list[str]) -> Iterator[Callable[[], object]]:
    """What a start does before it serves, in its order."""
    from supervisor.workers.registry import resolve
    from supervisor.workers.tls import build_tls

    classes: list[Any] = []
    yield lambda: Environment().apply(settings)
    if "logger_class" not in known:
        yield lambda: logger_class(settings)
    held: list[Any] = []
    yield lambda: _become_worker(settings, held)
    if os.geteuid() != settings.uid:
        return  # what follows runs code of the user's, which must not run as root
    if "worker_class" not in known:
        yield lambda: classes.append(resolve(settings.worker_class))
    if settings.app is not None and "wsgi_app" not in known:
        yield lambda: _load(settings, hazards, classes)
    if known.isdisjoint(TLS):
        yield lambda: build_tls(settings, None, *held)


def _become_worker(settings: Settings, held: list[Any]) -> None:
    from supervisor.runtime import credentials

    held.append(credentials.drop(settings))
    set_parent_death_signal(signal.SIGKILL)  # a change of user has taken it back (prctl(2))


def _load(settings: Settings, hazards: list[str], classes: list[Any]) -> None:
    before = Snapshot.take()
    app = load_application(settings.app)
    if settings.preload_app:
        hazards += compare(before, Snapshot.take())
    for worker_class in classes:
        # One that is not derived from ours need not have it.
        if examine := getattr(worker_class, "examine", None):
            examine(app)


def _listen(pid: int, report: int, output: int, until: float) -> dict[int, bytes]:
    """What was reported and written until the report was complete, the process ended, or the time was over.

    The process may have started others that hold the pipes open, so their ends are not waited for.
    """
    heard = {report: b"", output: b""}
    open_ends = [report, output]
    while not (heard[report].endswith(b"\n") or _has_ended(pid) or time.monotonic() >= until):
        for fd in select.select(open_ends, [], [], POLL)[0]:
            data = os.read(fd, 65536)
            heard[fd] += data
            if not data:
                open_ends.remove(fd)
        heard[output] = heard[output][-KEPT:]
    return heard


def _rest(fd: int) -> bytes:
    """What is still in the pipe; its writers are dead."""
    return os.read(fd, 1 << 20) if select.select([fd], [], [], 0)[0] else b""


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(pid: int) -> int:
    """Kill the process and all of its group, and return how it ended."""
    for kill in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError):  # it may not lead its group yet
            kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
