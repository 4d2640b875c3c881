"""What one arbiter hands to the next (USR2): its sockets, by the address that they were configured with, and a line.

It travels as descriptors through exec(3), and as a variable that says which is which.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "SUPERVISOR_HANDOVER"


@dataclass(frozen=True, slots=True)
class Handover:
    """Who hands over, the descriptor of the line to it, and those of the listening sockets."""

    pid: int
    line: int
    sockets: Mapping[str, int]

    @property
    def descriptors(self) -> list[int]:
        return [self.line, *self.sockets.values()]

    def environ(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment for the next arbiter."""
        return {**base, VARIABLE: json.dumps([self.pid, self.line, dict(self.sockets)])}


def received(environ: MutableMapping[str, str]) -> Handover | None:
    """What this process was handed, or None. The variable is taken away: it is not meant for workers.

    One that is left over from somewhere else, and fits neither the parent nor the descriptors, counts for nothing.
    """
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    with contextlib.suppress(ValueError, TypeError, AttributeError, OSError):
        pid, line, sockets = json.loads(text)
        handover = Handover(int(pid), int(line), {str(bind): int(fd) for bind, fd in sockets.items()})
        if all(stat.S_ISSOCK(os.fstat(fd).st_mode) for fd in handover.descriptors):
            for fd in handover.descriptors:
                os.set_inheritable(fd, False)
            return handover
    return None


def command() -> list[str]:
    """The command that this process was started with, to run it again.

    Not `sys.argv`, in which ``python -m supervisor`` is a path: run by that, the package's folder would be the first
    to be searched for modules.
    """
    return [sys.executable, *sys.orig_argv[1:]]


def pass_on(handover: Handover) -> None:
    """Let the descriptors live through exec(3)."""
    for fd in handover.descriptors:
        os.set_inheritable(fd, True)
