"""WINCH, which sends all workers away, and what follows when the arbiter for whose sake they went is gone."""

from __future__ import annotations

from collections.abc import Callable
from logging import Logger

from supervisor.config.settings import Settings
from supervisor.core.arbiter import Arbiter as Core
from supervisor.core.events import Event, ScaleRequested, StandDownRequested
from supervisor.runtime.linux import has_terminal
from supervisor.runtime.renewal import Renewal


class Standing:
    """``core`` and ``renewal`` are only read. ``feed`` takes events to the core, ``settings`` tells those in force."""

    def __init__(
        self, core: Core, renewal: Renewal, *, feed: Callable[[Event], None], settings: Callable[[], Settings]
    ) -> None:
        self._core = core
        self._renewal = renewal
        self._feed = feed
        self._settings = settings
        self._deserted = False

    def down(self, log: Logger) -> None:
        """WINCH."""
        if has_terminal():
            log.info("SIGWINCH ignored: with a terminal it says that the window was resized")
        else:
            self._feed(StandDownRequested())

    def successor_gone(self) -> None:
        """The new arbiter is gone."""
        self._deserted = not self._core.wanted

    def up_again(self, log: Logger) -> None:
        """The new arbiter is gone, for whose sake WINCH had sent the workers of this one away: nobody would serve.

        A reload that is under way may bring them back; if it fails, they are needed all the same.
        """
        if not self._deserted or self._core.reloading or self._renewal.under_way:
            return
        self._deserted = False
        workers = self._settings().workers
        if not self._core.wanted and workers and not self._core.stopping:
            log.warning("This arbiter has no workers any more: starting %d again", workers)
            self._feed(ScaleRequested(workers))
