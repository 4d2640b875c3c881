"""The errors that a user can cause, each with the exit code that it ends the process with.

Exit codes follow gunicorn: 0 fine, 1 configuration, 2 usage, 3 boot failed, 4 application not found.
"""

from __future__ import annotations

import errno
import os


class SupervisorError(Exception):
    """Anything that the user can mend: what is wrong, where it came from and what to do, in one line.

    ``detail`` holds what follows the line (a traceback, the list of all problems), or is empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class ConfigError(SupervisorError):
    """A setting, a configuration file, a pidfile or an address cannot be used."""

    exit_code = 1


class UsageError(SupervisorError):
    """The command line makes no sense."""

    exit_code = 2


class BootError(SupervisorError):
    """The application or a worker raised while it was starting."""

    exit_code = 3


class AppNotFound(SupervisorError):
    """The module of the application, or the attribute in it, does not exist, or is no application."""

    exit_code = 4


def reason(error: OSError, path: str) -> str:
    """Why a file cannot be made, as a clause: the kernel says of a missing directory only that something is missing."""
    folder = os.path.dirname(path)
    if error.errno == errno.ENOENT and folder and not os.path.isdir(folder):
        return f"the directory {folder} does not exist"
    return error.strerror or str(error)
