"""Finding the address of a host without being kept waiting: the C library's resolver may take many seconds.

A name is looked up in a process of its own, since nothing else ends a lookup early. Who may wait does so `patiently`,
and not for long: an arbiter that starts, and the process that tries a configuration before a reload, whose `knowledge`
the arbiter then takes over. Anybody else (an arbiter at work, a worker) takes what is known, or hears later.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

PATIENCE: Final = 2.0
"""Seconds that a name server may take."""
AGAIN: Final = 10.0
"""Seconds after which a name that was not found is looked up again."""

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Search:
    """A lookup that is under way. What a process before a fork has asked for is not heard by both.

    ``child`` is the process that does it, where it is this one's to be waited for, and else 0.
    """

    owner: int
    child: int
    line: int
    until: float

    def end(self) -> bytes:
        """What came of it, nothing if it has taken too long."""
        data = os.read(self.line, 4096) if select.select([self.line], [], [], 0)[0] else b""
        os.close(self.line)
        if self.child:
            os.kill(self.child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # somebody else has waited for it
                os.waitpid(self.child, 0)
        return data


_found: dict[_Key, tuple[int, tuple[Any, ...]]] = {}
_failed: dict[_Key, tuple[str, float]] = {}
_searches: dict[_Key, _Search] = {}
_patient = False


@contextlib.contextmanager
def patiently() -> Iterator[None]:
    """Inside, `resolve` looks each name up anew and waits for the answer, for `PATIENCE`."""
    global _patient  # noqa: PLW0603 - whether a process may wait concerns all of it
    before, _patient = _patient, True
    try:
        yield
    finally:
        _patient = before


def is_patient() -> bool:
    """Whether this is inside of `patiently`."""
    return _patient


def resolve(host: str, port: int) -> tuple[int, tuple[Any, ...]]:
    """The family and the address of a host, an IPv4 one if it has both. Raises `OSError` if there is none, or not yet.

    What was found before is used again when a lookup fails, as it may at a reload.
    """
    with contextlib.suppress(socket.gaierror):
        return _look_up(host, port, socket.AI_NUMERICHOST)
    if host == "localhost":
        return _look_up(host, port)
    key = host, port
    if _patient or not (key in _found or _has_failed(key)):
        _search(key)
    if key in _found:
        return _found[key]
    raise OSError(None, _failed[key][0] if key in _failed else "it is being looked up")


def knowledge() -> bytes:
    """What has come of all lookups, for `learn` in another process."""
    answers = {key: [family, list(address)] for key, (family, address) in _found.items()}
    failures = {key: why for key, (why, _) in _failed.items() if key not in _found}
    return json.dumps([[*key, answer] for key, answer in (answers | failures).items()]).encode()


def learn(knowledge: bytes) -> None:
    """Know from now on what another process has found."""
    for host, port, answer in json.loads(knowledge or b"[]"):
        _note((host, port), answer)


def _note(key: _Key, answer: Any) -> None:
    if isinstance(answer, str):
        _failed[key] = answer, time.monotonic() + AGAIN
    else:
        _failed.pop(key, None)
        _found[key] = answer[0], tuple(answer[1])


def _has_failed(key: _Key) -> bool:
    return key in _failed and time.monotonic() < _failed[key][1]


def _search(key: _Key) -> None:
    """Begin a lookup, or go on with one, and note what came of it."""
    search = _searches.pop(key, None)
    if search is not None and search.owner != os.getpid():
        os.close(search.line)
        search = None
    search = search or _begin(key)
    wait = max(0.0, search.until - time.monotonic()) if _patient else 0.0
    if not select.select([search.line], [], [], wait)[0] and time.monotonic() < search.until:
        _searches[key] = search
        return
    data = search.end()
    _note(key, json.loads(data) if data else f"no name server has answered within {PATIENCE:g} s")


def _begin(key: _Key) -> _Search:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        # Where nobody stays to wait for it, through a process in between: the arbiter reaps all orphans.
        if _patient or os.fork() == 0:
            _answer(key, writing)
        os._exit(0)
    os.close(writing)
    if not _patient:
        with contextlib.suppress(ChildProcessError):  # somebody else has waited for it
            os.waitpid(child, 0)
        child = 0
    return _Search(os.getpid(), child, reading, time.monotonic() + PATIENCE)


def _answer(key: _Key, writing: int) -> None:
    """Look up, answer, and end, in time in any case. What was inherited is let go: listeners, lines, log files."""
    try:
        signal.set_wakeup_fd(-1)  # it is the parent's
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        os.dup2(writing, 0)
        os.closerange(1, os.sysconf("SC_OPEN_MAX"))
        try:
            answer: Any = _look_up(*key)
        except OSError as error:
            answer = error.strerror or str(error)
        os.write(0, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _look_up(host: str, port: int, flags: int = 0) -> tuple[int, tuple[Any, ...]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return int(family), tuple(address)
