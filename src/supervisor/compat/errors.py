"""gunicorn's exceptions, for files that raise or catch them."""

from __future__ import annotations


class HaltServer(BaseException):
    """Raised by code that wants the server to end with ``exit_status``."""

    def __init__(self, reason: str, exit_status: int = 1) -> None:
        super().__init__(reason, exit_status)
        self.reason = reason
        self.exit_status = exit_status

    def __str__(self) -> str:
        return f"<HaltServer {self.reason!r} {self.exit_status}>"


class ConfigError(Exception):
    """A configuration cannot be used."""


class AppImportError(Exception):
    """An application cannot be imported."""
