"""The TLS context of a worker, made anew in each, so that renewed certificates are used from the next reload on."""

from __future__ import annotations

import os
import ssl
from typing import Any

from supervisor.errors import BootError


def build_context(settings: Any) -> ssl.SSLContext | None:
    """Return the TLS context that ``settings`` describe; None without TLS.

    From ``certfile``, ``keyfile``, ``ca_certs``, ``cert_reqs`` and ``ciphers``; the hook
    ``ssl_context(config, default_ssl_context_factory)`` has the last word. Raises `BootError`, in one line, if a file
    cannot be read or does not fit.
    """
    if not (settings.certfile or settings.keyfile):
        return None

    def default_factory() -> ssl.SSLContext:
        return _default_context(settings)

    hook = getattr(settings, "ssl_context", None)
    if hook is None:
        return default_factory()
    try:
        context = hook(settings, default_factory)
    except BootError:
        raise
    except Exception as error:
        raise BootError(f"the hook ssl_context raised {type(error).__name__}: {error}") from error
    if not isinstance(context, ssl.SSLContext):
        raise BootError(f"the hook ssl_context returned {type(context).__name__}, not an ssl.SSLContext")
    return context


def _default_context(settings: Any) -> ssl.SSLContext:
    if not settings.certfile:
        raise BootError("keyfile is set without certfile; TLS needs the certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certfile, settings.keyfile or None)
    except (OSError, ssl.SSLError) as error:
        names = f"certfile {os.fspath(settings.certfile)!r}"
        if settings.keyfile:
            names += f" with keyfile {os.fspath(settings.keyfile)!r}"
        raise BootError(f"{names} cannot be used: {error}") from error
    if settings.ca_certs:
        try:
            context.load_verify_locations(settings.ca_certs)
        except (OSError, ssl.SSLError) as error:
            raise BootError(f"ca_certs {settings.ca_certs!r} cannot be used: {error}") from error
    context.verify_mode = ssl.VerifyMode(int(settings.cert_reqs or 0))
    if settings.ciphers:
        try:
            context.set_ciphers(settings.ciphers)
        except ssl.SSLError as error:
            raise BootError(f"ciphers {settings.ciphers!r} cannot be used: {error}") from error
    return context
