"""Lines in the error log that strangers can cause, as many as they like: of a flood, only the number is said."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Final

MOST: Final = 50
"""So many lines are written within `SPAN`."""
SPAN: Final = 10.0
"""Seconds."""


class Complaints:
    """Warnings about clients, with a bound. Its counts may be off by a few if several threads warn at once."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._until = 0.0
        self._said = 0
        self._kept_back = 0

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning, unless there were too many just now."""
        now = monotonic()
        if now >= self._until:
            self._sum_up()
            self._until, self._said = now + SPAN, 0
        self._said += 1
        if self._said <= MOST:
            self._log.warning(message, *arguments)
        else:
            self._kept_back += 1

    def review(self) -> None:
        """Say how many were kept back, if it is time. To be called now and then."""
        if self._kept_back and monotonic() >= self._until:
            self._sum_up()

    def _sum_up(self) -> None:
        kept_back, self._kept_back = self._kept_back, 0
        if kept_back:
            self._log.warning("%d more warnings about clients within %g s were kept back", kept_back, SPAN)
