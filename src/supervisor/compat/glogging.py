"""What ``gunicorn.glogging`` has beside its logger class."""

from __future__ import annotations

import logging
from typing import Final

SYSLOG_FACILITIES: Final = {
    "auth": 4,
    "authpriv": 10,
    "cron": 9,
    "daemon": 3,
    "ftp": 11,
    "kern": 0,
    "lpr": 6,
    "mail": 2,
    "news": 7,
    "security": 4,
    "syslog": 5,
    "user": 1,
    "uucp": 8,
    **{f"local{number}": 16 + number for number in range(8)},
}
"""RFC 5424, section 6.2.1."""


def loggers() -> list[logging.Logger]:
    """Every logger of the process, the root first."""
    return [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
