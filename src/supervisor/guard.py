"""Where users' code runs in the arbiter's or a loader's process: a child that it forks must not come back from it."""

from __future__ import annotations

import os
import sys
from types import TracebackType


class OnlyHere:
    """Ends a forked child that leaves the ``with`` block in which it was forked, in whatever way.

    Its parent's listeners, wake-up pipe and epoll set are the child's as well (fork(2), epoll(7)): going on, it would
    take events that are the parent's, and in the end shut its sockets down. ``if os.fork() == 0: ...; sys.exit()`` is
    how scripts put themselves into the background. The exit code is heeded, and an exception printed, as at the end of
    a script.
    """

    def __enter__(self) -> None:
        self._pid = os.getpid()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.getpid() == self._pid:
            return
        code = 0 if error is None else 1
        try:
            if isinstance(error, SystemExit):
                code = error.code if isinstance(error.code, int) else int(error.code is not None)
                if code and not isinstance(error.code, int):
                    sys.stderr.write(f"{error.code}\n")
            elif kind is not None and error is not None:
                sys.excepthook(kind, error, trace)
            sys.stdout.flush()
        finally:  # whatever an excepthook of the application's raises
            os._exit(code & 0xFF)
