"""What a start would meet on this machine: addresses, pidfile and log files, looked at without touching them.

A service may be running while this looks: nothing is locked, unlinked or listened to, and nobody is connected to
where the kernel's table of sockets has the answer.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from supervisor.config.addresses import parse
from supervisor.config.schema import Invalid
from supervisor.config.settings import Settings
from supervisor.errors import ConfigError
from supervisor.runtime import pidfile
from supervisor.runtime.sockets import named, resolved, tcp_holders, unix_holders


class Weight(StrEnum):
    """What a finding means for a start."""

    PROBLEM = "it would not start"
    WARNING = "it would start, and better be looked at"
    NOTE = "as it should be"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found, in one line without a full stop."""

    weight: Weight
    text: str


def look(settings: Settings) -> Iterator[Finding]:
    """Everything that was found, in the order of a start."""
    running, findings = _pidfile(settings)
    yield from findings
    yield from _logs(settings)
    yield from _addresses(settings, running)


def _pidfile(settings: Settings) -> tuple[int | None, list[Finding]]:
    """The arbiter that runs under the pidfile of these settings, if one does, and what is to be said of the file."""
    if not settings.pidfile:
        return None, []
    path = settings.path(settings.pidfile)
    source = settings.source("pidfile")
    try:
        running = pidfile.owner(path)
    except ConfigError as error:
        return None, [Finding(Weight.PROBLEM, f"{error} ({source})")]
    if running is not None:
        return running, [Finding(Weight.NOTE, f"pidfile {settings.pidfile}: in use by the running arbiter ({running})")]
    if problem := _unwritable_folder(path):
        return None, [Finding(Weight.PROBLEM, f"pidfile {settings.pidfile!r} cannot be written: {problem} ({source})")]
    stale = " (a stale one will be replaced)" if os.path.exists(path) else ""
    return None, [Finding(Weight.NOTE, f"pidfile {settings.pidfile}: free{stale}")]


def _logs(settings: Settings) -> Iterator[Finding]:
    for name in ("errorlog", "accesslog"):
        given: str | None = settings.settings[name].value
        if not given or given == "-":
            continue
        path = settings.path(given)
        if os.path.exists(path):
            problem = "" if os.access(path, os.W_OK) and not os.path.isdir(path) else "it is not writable"
        else:
            problem = _unwritable_folder(path)
        if problem:
            yield Finding(Weight.PROBLEM, f"{name} = {given!r} cannot be opened: {problem} ({settings.source(name)})")


def _unwritable_folder(path: str) -> str:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return f"the directory {folder} does not exist"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"the directory {folder} is not writable"


def _addresses(settings: Settings, running: int | None) -> Iterator[Finding]:
    source = settings.source("bind")
    taken: dict[tuple[str, int], str] = {}
    for bind in dict.fromkeys(settings.bind):
        try:
            address = parse(bind)
            if isinstance(address, tuple):
                problem, holders = _tcp(address, reuse_port=settings.reuse_port)
                for clash in _clashes(address, bind, taken):
                    yield Finding(Weight.PROBLEM, f"bind = {bind!r}: {clash} ({source})")
            else:
                problem, holders = (
                    _descriptor(address) if isinstance(address, int) else _unix(address, settings.path(address))
                )
        except Invalid:
            continue  # has been said with the settings
        if not problem:
            yield Finding(Weight.NOTE, f"bind {bind}: free")
        elif running is not None and problem == _IN_USE and running in holders:
            yield Finding(Weight.NOTE, f"bind {bind}: in use by the running arbiter ({running})")
        elif running is not None and problem == _IN_USE and not holders:
            yield Finding(
                Weight.WARNING, f"bind {bind}: in use by a process that cannot be seen; likely the running arbiter"
            )
        else:
            who = named(holders) if problem == _IN_USE else ""
            yield Finding(Weight.PROBLEM, f"bind = {bind!r}: {problem}{who} ({source})")


_IN_USE = "the address is in use"
_Found = tuple[str, set[int]]
"""What is wrong with an address, empty if nothing is, and who holds it, as far as that may be seen."""


def _tcp(address: tuple[str, int], *, reuse_port: bool | None) -> _Found:
    """Bind for a moment, without listening: whoever listens there is not disturbed, nor who is about to."""
    try:
        family, kind, protocol, target = resolved(address)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind(target)
    except OSError as error:  # gaierror, for a host that cannot be resolved, is one too
        if error.errno == errno.EADDRINUSE:
            return _IN_USE, tcp_holders(address[1])
        return error.strerror or str(error), set()
    return "", set()


def _clashes(address: tuple[str, int], bind: str, taken: dict[tuple[str, int], str]) -> Iterator[str]:
    """Two binds of the configuration cannot have the same port, unless each names an interface of its own."""
    host, port = address
    if port == 0:
        return
    everywhere = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
    for (other_host, other_port), other in taken.items():
        if port == other_port and (host == other_host or host in everywhere or other_host in everywhere):
            yield f"it clashes with the other bind {other}; take one of the two away"
    taken[address] = bind


def _unix(path: str, absolute: str) -> _Found:
    try:
        found = os.lstat(absolute)
    except OSError:
        return _unwritable_folder(absolute), set()
    if not stat.S_ISSOCK(found.st_mode):
        return "there is a file that is not a socket; remove it or name another path", set()
    holders = unix_holders(absolute) | {pid for pid in unix_holders(path) if _works_in(pid, absolute, path)}
    if holders or absolute in _listening():
        return _IN_USE, holders
    # In the table of another network namespace, or of nobody: only a connection can tell.
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(absolute)
        except ConnectionRefusedError:
            return _unwritable_folder(absolute), set()  # a stale one, which will be replaced
        except BlockingIOError:
            pass  # its queue is full
        except OSError as error:
            return f"there is a socket that cannot be examined ({error.strerror}); remove it", set()
    return _IN_USE, set()


def _works_in(pid: int, absolute: str, relative: str) -> bool:
    """Whether a process that has bound a relative name means this path by it."""
    with contextlib.suppress(OSError):
        return os.path.normpath(os.path.join(os.readlink(f"/proc/{pid}/cwd"), relative)) == os.path.realpath(absolute)
    return False


def _listening() -> set[str]:
    """The Unix sockets that listen, by name (proc_net_unix(5): the flag 0x10000 is SO_ACCEPTCON)."""
    try:
        rows = Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return set()
    fields = (row.split(maxsplit=7) for row in rows)
    return {row[7] for row in fields if len(row) == 8 and int(row[3], 16) & 0x10000}


def _descriptor(number: int) -> _Found:
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return "", set()
            return f"descriptor {number} is a socket that does not listen", set()
    except OSError as error:
        return f"descriptor {number} is not an open socket here ({error.strerror})", set()
