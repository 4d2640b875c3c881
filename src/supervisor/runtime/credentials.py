"""Giving up root without losing what only root can read: the certificate and the key."""

from __future__ import annotations

from supervisor.config.settings import Settings
from supervisor.runtime import privileges
from supervisor.workers import tls


def drop(settings: Settings) -> tls.Credentials | None:
    """`supervisor.runtime.privileges.drop`; return the credentials that cannot be read any more afterwards, or None.

    Nothing of the user's runs for it: the hook ``ssl_context`` is called by the workers.
    """
    held = tls.credentials(settings) if settings.certfile and privileges.change(settings) else None
    privileges.drop(settings)
    return None if held is None or tls.can_read(settings) else held
