"""``daemon``: the arbiter in the background, while the command that started it waits until it is ready, or has failed.

As daemon(7) asks of the original process: whoever calls it may rely on the service being there when it returns.
Warnings and errors of the start are shown on its standard error; its exit code is the arbiter's where that gives up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, NoReturn, Protocol

from supervisor.config.load import Inputs
from supervisor.config.settings import Settings
from supervisor.errors import SupervisorError
from supervisor.logs.handlers import ERROR
from supervisor.logs.setup import UVICORN
from supervisor.runtime import handover
from supervisor.runtime.service_manager import for_successor

UMASK: Final = 0o022
"""Of a daemon, as in gunicorn."""

_OUTCOME: Final = b"\0"  # before the exit code, which is the last thing on the line; what comes before it is shown


class _Arbiter(Protocol):
    def __init__(self, settings: Settings, inputs: Inputs, *, ready: Callable[[], None]) -> None: ...

    def run(self) -> int: ...


def run(arbiter: type[_Arbiter], settings: Settings, inputs: Inputs) -> int:
    """Run an arbiter here, or in the background if ``daemon`` says so; then the process that called never returns.

    One that detaches leaves PID 1 of a container, or the main process of a service, to end: these stay, and say so. The
    next arbiter of an upgrade (USR2) is in the background already.
    """
    if not settings.daemon or handover.VARIABLE in os.environ:
        return arbiter(settings, inputs, ready=_nobody_waits).run()
    if reason := _in_charge():
        settings.warnings.append(f"daemon ({settings.source('daemon')}) is ignored: {reason}.")
        return arbiter(settings, inputs, ready=_nobody_waits).run()
    starter, pid = _detach(settings), os.getpid()
    environ = for_successor(inputs.environ, arbiter=starter.pid, successor=pid)
    os.environ.pop("LISTEN_PIDFDID", None)
    for name, value in for_successor(os.environ, arbiter=starter.pid, successor=pid).items():
        if os.environ[name] != value:  # a variable that is set moves in memory, and setproctitle looks for it there
            os.environ[name] = value
    code = SupervisorError.exit_code
    try:
        with starter.listening():
            inputs = dataclasses.replace(inputs, environ=environ)
            code = arbiter(settings, inputs, ready=starter.release).run()
    except SupervisorError as error:
        code = error.exit_code
        starter.tell("\n".join(filter(None, (f"Error: {error}", error.detail.rstrip()))))
        raise
    finally:
        if os.getpid() == pid:
            starter.release(code)
    return code


def _nobody_waits() -> None:
    """The command that was started is the arbiter itself."""


def _in_charge() -> str:
    """Why this process must stay where it is, or nothing."""
    if os.getpid() == 1:
        return "this is PID 1, and the container would end with it"
    if os.environ.get("NOTIFY_SOCKET"):
        return "a service manager started this (NOTIFY_SOCKET), and watches this process"
    return ""


class Starter:
    """The daemon's line to the process that started it. ``pid`` is that one's."""

    def __init__(self, pid: int, line: int) -> None:
        self.pid = pid
        self._line = line
        self._handler = _Relay(self)
        # What is forked must not hold the line: its end tells that the arbiter was killed.
        os.register_at_fork(after_in_child=self._hang_up)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Pass on what is logged."""
        logger = logging.getLogger(ERROR)
        logger.addHandler(self._handler)
        try:
            yield
        finally:
            logger.removeHandler(self._handler)

    def tell(self, text: str) -> None:
        """Have it show this, if it still waits. What it does not take at once is lost: the arbiter must not wait."""
        with contextlib.suppress(OSError):
            os.write(self._line, f"{text}\n".replace("\0", "").encode(errors="replace"))

    def release(self, code: int = 0) -> None:
        """Let it end with this exit code."""
        with contextlib.suppress(OSError):
            os.write(self._line, b"%s%d" % (_OUTCOME, code))
        self._hang_up()

    def _hang_up(self) -> None:
        for name in (ERROR, UVICORN):
            logging.getLogger(name).removeHandler(self._handler)
        if self._line >= 0:
            os.close(self._line)
            self._line = -1


class _Relay(logging.Handler):
    """Passes warnings and errors on to the starter."""

    def __init__(self, starter: Starter) -> None:
        super().__init__(logging.WARNING)
        self._starter = starter
        self.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._starter.tell(self.format(record))


def _detach(settings: Settings) -> Starter:
    """Go on in a grandchild, in a session of its own, which it does not lead: no terminal can become its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    starter = os.getpid()
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        _wait(reader, child)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.umask(UMASK)
    _let_go_of_streams(keep=bool(settings.enable_stdio_inheritance))
    os.set_blocking(writer, False)
    return Starter(starter, writer)


def _wait(line: int, child: int) -> NoReturn:
    """Show what the daemon says until it is ready or gone, and end as it says. A signal ends the waiting only."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.waitpid(child, 0)
    heard = b""
    while data := os.read(line, 65536):
        with contextlib.suppress(OSError):
            os.write(2, b"" if _OUTCOME in heard else data.partition(_OUTCOME)[0])
        heard += data
    said, _, outcome = heard.partition(_OUTCOME)
    code = int(outcome) if outcome.isdigit() else SupervisorError.exit_code
    with contextlib.suppress(OSError):
        if not outcome:
            os.write(2, b"Error: the daemon was killed before it was ready.\n")
        elif code and not said:
            os.write(2, b"Error: the daemon ended before it was ready; its error log says why.\n")
    os._exit(code)


def _let_go_of_streams(*, keep: bool) -> None:
    """Standard input is empty from now on; output goes nowhere, or where it went unless that is a terminal."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        if not (keep and stream and _leads_somewhere(stream)):
            os.dup2(null, stream)
    if null > 2:
        os.close(null)


def _leads_somewhere(stream: int) -> bool:
    try:
        os.fstat(stream)
    except OSError:
        return False
    return not os.isatty(stream)
