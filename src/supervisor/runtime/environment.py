"""``raw_env`` and ``chdir`` in the arbiter's own process, where hooks need them; undone and redone at a reload."""

from __future__ import annotations

import os

from supervisor.config.settings import Settings
from supervisor.errors import ConfigError


class Environment:
    """The environment variables that the settings add, and what was there before."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}

    def apply(self, settings: Settings) -> None:
        """Set ``raw_env`` and go to ``chdir``; what earlier settings had set goes back to what it was.

        Raises `ConfigError` if the directory is not there any more.
        """
        try:
            os.chdir(settings.chdir)
        except OSError as error:
            raise ConfigError(f"chdir = {settings.chdir!r}: {error.strerror}") from error
        self.restore()
        for name, value in settings.env.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = value

    def restore(self) -> None:
        """Put back what was there before."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()
