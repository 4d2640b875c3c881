"""``--check-config``: load the application as a start would, in a process that is thrown away."""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

from supervisor.application import explain, load_application
from supervisor.config.settings import Settings
from supervisor.core.status import describe
from supervisor.errors import ConfigError
from supervisor.runtime import nesting
from supervisor.runtime.environment import Environment
from supervisor.runtime.linux import set_parent_death_signal

POLL: Final = 0.05
SLACK: Final = 1.0
"""Seconds that the process has to write where it hangs, after ``boot_timeout``."""
KEPT: Final = 20_000
"""Characters of the output that are shown when the application does not load."""


def try_out(settings: Settings) -> None:
    """Find the worker class, load the application and the TLS context, and throw everything away.

    What the application writes is shown only where it does not load. Raises `ConfigError` if it does not, or takes
    longer than ``boot_timeout``.
    """
    report_r, report_w = os.pipe()
    output_r, output_w = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _try(settings, report=report_w, output=output_w)
    os.close(report_w)
    os.close(output_w)
    with _ended(pid) as child:
        report, output = _listen(child, report_r, output_r, started + settings.boot_timeout + SLACK)
    os.close(report_r)
    os.close(output_r)
    if report.endswith(b"\n"):
        summary, detail = json.loads(report)
        if not summary:
            return
    else:
        summary, detail = child.death(), ""
        if time.monotonic() - started >= settings.boot_timeout:
            limit = f"boot_timeout = {settings.boot_timeout} s ({settings.source('boot_timeout')})"
            summary = f"the application was not loaded within {limit}"
    said = output.decode(errors="replace")[-KEPT:].strip()
    raise ConfigError(f"It would not start: {summary}", detail="\n".join(filter(None, (detail, said))))


class _Child:
    """The process, which leads a session of its own."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._status: int | None = None

    def has_ended(self) -> bool:
        if self._status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def death(self) -> str:
        if self._status is None:
            return "the process that loads the application closed its line"
        return f"loading the application ended the process ({describe(os.waitstatus_to_exitcode(self._status))})"

    def kill(self) -> None:
        """It and what it has started. Its number is still its own: it was not waited for, or its group lives on."""
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                if kill is os.killpg or self._status is None:
                    kill(self._pid, signal.SIGKILL)
        if self._status is None:
            os.waitpid(self._pid, 0)


@contextmanager
def _ended(pid: int) -> Iterator[_Child]:
    child = _Child(pid)
    try:
        yield child
    finally:
        child.kill()


def _listen(child: _Child, report: int, output: int, until: float) -> tuple[bytes, bytes]:
    """What it reported, and what was written meanwhile. Others may hold the pipes open, so their ends mean nothing."""
    heard = {report: b"", output: b""}
    while True:
        over = child.has_ended() or time.monotonic() >= until
        ready = select.select(list(heard), [], [], 0 if over else POLL)[0]
        for fd in ready:
            heard[fd] += os.read(fd, 65536)
        if heard[report].endswith(b"\n") or (over and not any(ready)):
            return heard[report], heard[output]
