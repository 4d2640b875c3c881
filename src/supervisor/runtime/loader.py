"""The loader: one process per generation. It imports the application (with preload), then forks workers when told.

It is forked from the arbiter, so the settings and what the configuration file made (locks, shared values, functions)
are simply there. It is single-threaded as far as we are concerned, may block, and dies with its generation: the arbiter
kills it, and the kernel does when the arbiter dies.

A worker is forked through a short-lived middle process: when that one exits, the kernel hands the worker to the nearest
subreaper above, the arbiter (prctl(2), PR_SET_CHILD_SUBREAPER). The worker holds still at a gate, a pipe, until the
arbiter has been told of it; if the loader dies before, the gate closes and the worker leaves without having begun.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from supervisor.application import explain, load_application
from supervisor.config.table.server import DEFAULT_WORKER
from supervisor.imported import Imported
from supervisor.logs.setup import Logs
from supervisor.runtime import janitor, nesting, pidfile, privileges, sources, titles
from supervisor.runtime.channel import JSON, Channel, Message, as_payload, paths_as_payloads
from supervisor.runtime.child import Inheritance, become_worker
from supervisor.runtime.environment import Environment
from supervisor.runtime.hazards import Snapshot, compare
from supervisor.runtime.heartbeat import HeartbeatFile
from supervisor.runtime.linux import clear_parent_death_signal, set_parent_death_signal
from supervisor.runtime.offspring import Offspring
from supervisor.runtime.scoreboard import Scoreboard
from supervisor.runtime.service_manager import forget
from supervisor.runtime.signals import HANDLED, take_no_notice
from supervisor.runtime.system import Plan

IGNORED_SIGNALS = tuple(number for number in HANDLED if number != signal.SIGCHLD)
"""A terminal or a service manager sends these to every process; what they mean is the arbiter's to decide."""

ORPHAN_MARGIN = 5.0
"""Seconds after ``graceful_timeout`` in which a worker without an arbiter must be gone."""


class Loader:
    """The loader's side of a generation. ``page`` takes the stacks of its threads at a crash or an abort.

    ``known`` are the files that its generation was loaded from before, if it was (`supervisor.runtime.sources`).
    """

    def __init__(
        self,
        *,
        generation: int,
        plan: Plan,
        channel: Channel,
        page: HeartbeatFile,
        known: bytes,
        scoreboard: Scoreboard,
        logs: Logs,
        arbiter_pid: int,
    ) -> None:
        self._generation = generation
        self._settings = plan.settings
        self._listeners = plan.listeners
        # The application may change the working directory.
        self._pidfile = pidfile.settled(plan.settings.pidfile) if plan.settings.pidfile else ""
        self._channel = channel
        self._page = page
        self._known = known
        self._scoreboard = scoreboard
        self._sources: dict[str, bytes] = {}
        self._logs = logs
        self._arbiter_pid = arbiter_pid
        self._placeholder = plan.placeholder
        self._target = plan.settings.app if plan.placeholder is None else plan.placeholder
        self._load_app: Callable[[], Any] = lambda: load_application(self._target)
        self._worker_class: Any = None
        self._credentials: Any = None
        self._offspring = Offspring()

    def run(self) -> NoReturn:
        """Load, then fork until the arbiter is gone. Never returns."""
        # What is the arbiter's stays shared with it: a collection would copy it, and frees nothing of it here.
        gc.freeze()
        for number in IGNORED_SIGNALS:
            signal.signal(number, take_no_notice)
        self._die_with_the_arbiter()
        # In C: an import may hang where no Python code can run.
        faulthandler.enable(file=self._page.dump_fd())
        nesting.mark()
        forget(os.environ)
        titles.set_title("loader", self._settings.proc_name, f"generation {self._generation}")
        try:
            hazards = self._load()
        except BaseException as error:  # noqa: BLE001 - the application may raise anything, SystemExit included
            if self._settings.reload:
                for piece in paths_as_payloads(Imported().news(error)):
                    self._channel.send("imported", payload=piece)
            summary, detail, exit_code = explain(error)
            self._channel.send(
                "load_failed", {"summary": summary[:1000], "exit_code": exit_code}, payload=as_payload(detail)
            )
            self._leave(exit_code)
        self._say_loaded(hazards)
        # From here on the end of the line tells of the arbiter's death, and there is something to be done about it.
        clear_parent_death_signal()
        while (message := self._channel.receive_blocking()) is not None:
            if message.kind == "fork":
                self._fork(message)
            elif message.kind == "guard":
                self._offspring.adopt(message.fds)
            elif message.kind == "reopen_logs":
                self._logs.reopen()
        self._offspring.outlive(self._settings.graceful_timeout + ORPHAN_MARGIN)
        janitor.tidy_up(self._pidfile, self._listeners, self._arbiter_pid)
        self._leave(0)

    def _die_with_the_arbiter(self) -> None:
        set_parent_death_signal(signal.SIGKILL)
        if os.getppid() != self._arbiter_pid:
            os._exit(0)

    def _load(self) -> list[str]:
        from supervisor.workers.registry import resolve

        # Again, after the arbiter: ``chdir`` may be a link that points somewhere else since.
        Environment().apply(self._settings)
        if self._settings.certfile:
            from supervisor.runtime import credentials

            self._credentials = credentials.drop(self._settings)
        else:
            privileges.drop(self._settings)
        self._die_with_the_arbiter()
        if self._settings.spew:
            from supervisor.runtime.spew import spew

            spew()
        self._worker_class = resolve(self._settings.worker_class if self._placeholder is None else DEFAULT_WORKER)
        # One that is not derived from ours need not have it.
        if load_ahead := getattr(self._worker_class, "load_ahead", None):
            load_ahead(self._settings)
        if not self._settings.preload_app:
            gc.freeze()
            return []
        before, modules = Snapshot.take(), set(sys.modules)
        app = load_application(self._target)
        self._load_app = lambda: app
        self._sources = sources.digests(modules)
        # What survives this collection is what the workers will share. Frozen objects are not visited by their
        # collectors, whose marks would otherwise copy every page (gc.freeze was made for this). The collector runs
        # during the import too: garbage that waits for this one leaves holes between what stays, so that it is spread
        # over more pages, and the workers copy more of them.
        gc.collect()
        gc.freeze()
        # Had the import it ignored, nobody could be waited for.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return compare(before, Snapshot.take())

    def _say_loaded(self, hazards: list[str]) -> None:
        changed = sources.changed(self._sources, self._known)
        fields: dict[str, JSON] = {"hazards": [hazard[:500] for hazard in hazards[:20]]}
        if changed:
            fields |= {"changed": changed[0][:1000], "changes": len(changed)}
        self._channel.send("loaded", fields, payload=sources.packed(self._sources.values()))

    def _fork(self, message: Message) -> None:
        number, loader = message.integer("worker"), os.getpid()
        report_r, report_w = os.pipe()
        gate_r, gate_w = os.pipe()
        self._logs.flush()
        # Held back until the worker can act on them: the arbiter may tell it to go as soon as it knows its pid, and
        # says so only once.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            middle = os.fork()
        except OSError as error:
            self._channel.send("fork_failed", {"worker": number, "reason": error.strerror or str(error)})
            _close(report_r, report_w, gate_r, gate_w, *message.fds)
            return
        finally:
            if os.getpid() == loader:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if middle == 0:
            self._be_the_middle(message, report_r=report_r, report_w=report_w, gate_r=gate_r, gate_w=gate_w)
        _close(report_w, gate_r, *message.fds)
        report = _read_line(report_r)
        os.waitpid(middle, 0)
        # Only now is the worker the arbiter's child, and can be waited for by it.
        if report.isdigit():
            self._channel.send("forked", {"worker": number, "pid": int(report)})
            self._offspring.add(int(report))
            with contextlib.suppress(BrokenPipeError):  # the worker was killed as soon as the arbiter knew its pid
                os.write(gate_w, b".")
        else:
            reason = report.decode(errors="replace") or "the process in between died"
            self._channel.send("fork_failed", {"worker": number, "reason": reason})
        _close(report_r, gate_w)

    def _be_the_middle(self, message: Message, *, report_r: int, report_w: int, gate_r: int, gate_w: int) -> NoReturn:
        os.close(report_r)
        os.close(gate_w)
        try:
            pid = os.fork()
        except OSError as error:
            _report(report_w, f"{error.strerror}\n")
            os._exit(1)
        if pid:
            _report(report_w, f"{pid}\n")
            os._exit(0)
        os.close(report_w)
        faulthandler.disable()
        self._page.close()
        self._channel.close()
        self._offspring.forget()
        become_worker(
            Inheritance(
                generation=self._generation,
                settings=self._settings,
                worker_class=self._worker_class,
                load_app=self._load_app,
                logs=self._logs,
                scoreboard=self._scoreboard,
                arbiter_pid=self._arbiter_pid,
                credentials=self._credentials,
            ),
            message,
            gate=gate_r,
        )

    def _leave(self, code: int) -> NoReturn:
        self._channel.flush()
        self._logs.flush()
        # Not sys.exit: exit handlers of the application belong to workers, and the arbiter's are not ours to run.
        os._exit(code)


def from_the_loader_on(dump: str) -> str:
    """What `faulthandler` wrote, without the frames of the arbiter, which the fork left below the loader's."""
    lines: list[str] = []
    ours = re.compile(rf'  File "{re.escape(__file__)}", line \d+ in run$')
    below = False
    for line in dump.strip().splitlines():
        below = below and line.startswith("  File ")
        if not below:
            lines.append(line)
        below = below or ours.match(line) is not None
    return "\n".join(lines)


def _report(fd: int, line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # the loader was killed meanwhile; nobody is left to be told
        os.write(fd, line.encode())


def _read_line(fd: int) -> bytes:
    """Up to the end of the line, or of the file: the worker holds no end of this pipe for long."""
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(fd, 256)
        if not chunk:
            break
        data += chunk
    return data.strip()


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)
