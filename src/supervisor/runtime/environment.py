"""``chdir``, ``raw_env`` and ``pythonpath`` in a process of ours; in the arbiter, undone and redone at a reload."""

from __future__ import annotations

import contextlib
import os
import sys

from supervisor.compat.version import PRODUCT
from supervisor.config.settings import Settings
from supervisor.errors import ConfigError


class Environment:
    """What the settings change in the process, and what was there before."""

    def __init__(self) -> None:
        self._before: dict[str, str | None] = {}
        self._path: list[str] | None = None

    def apply(self, settings: Settings) -> None:
        """Go to ``chdir``, set ``raw_env``, put ``pythonpath`` in front; what earlier settings did is undone first.

        Raises `ConfigError` if the directory is not there any more.
        """
        try:
            os.chdir(settings.chdir)
        except OSError as error:
            raise ConfigError(f"chdir = {settings.chdir!r}: {error.strerror}") from error
        self._replace(settings)

    def go_back(self, settings: Settings) -> None:
        """To settings that were applied before. If their directory is not there any more, the process stays put."""
        with contextlib.suppress(OSError):
            os.chdir(settings.chdir)
        self._replace(settings)

    def _replace(self, settings: Settings) -> None:
        self.restore()
        # gunicorn sets this one, by which applications tell where they run.
        for name, value in {"SERVER_SOFTWARE": settings.server_software or PRODUCT, **settings.env}.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = value
        self._path = list(sys.path)
        sys.path[:] = list(dict.fromkeys([*settings.import_paths, *sys.path]))

    def restore(self) -> None:
        """Put back what was there before. The working directory stays: it may be gone."""
        if self._path is not None:
            sys.path[:] = self._path
            self._path = None
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()
