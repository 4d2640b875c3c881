"""TLS of a worker: its context, and what the ASGI TLS extension tells the application of each connection.

The context is made anew in each worker, so that renewed certificates are used from the next reload on, while
connections of the workers before it end on the old ones. Only where the user that workers run as may not read them,
their loader has read them as root, before it gave that up (`credentials`). The extension is that of the ASGI
specification, version 0.2 of https://asgi.readthedocs.io/en/latest/specs/tls.html.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final

from supervisor.errors import BootError

VERSIONS: Final = {"SSLv3": 0x0300, "TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
"""Versions as OpenSSL names them (SSL_get_version(3)), and as they are on the wire."""

_ALPN: Final = {"h1": "http/1.1", "h2": "h2"}
_PEM: Final = re.compile(r"-----BEGIN (TRUSTED |)CERTIFICATE-----.+?-----END \1CERTIFICATE-----\n?", re.DOTALL)

# The short names of RFC 4514, section 3, by OpenSSL's long ones.
_SHORT: Final = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
# OpenSSL's long names that are registered for LDAP as they are (RFC 4519, RFC 4520).
_REGISTERED: Final = frozenset(
    {
        "businessCategory",
        "description",
        "dnQualifier",
        "emailAddress",
        "generationQualifier",
        "givenName",
        "houseIdentifier",
        "initials",
        "name",
        "postalAddress",
        "postalCode",
        "serialNumber",
        "surname",
        "telephoneNumber",
        "title",
        "uniqueIdentifier",
    }
)


class Tls:
    """The context that a worker serves with, and what is the same for all of its connections.

    ``server_cert`` is the certificate that clients see, in PEM format; None where only the hook ``ssl_context`` or a
    callback of its context knows which that is.
    """

    def __init__(self, context: ssl.SSLContext, server_cert: str | None) -> None:
        self.context = context
        self.server_cert = server_cert if context.sni_callback is None else None
        self._suites = {suite["name"]: suite["id"] & 0xFFFF for suite in context.get_ciphers()}

    def describe(self, transport: asyncio.BaseTransport) -> dict[str, Any]:
        """The value of ``scope["extensions"]["tls"]`` for a connection whose handshake is done.

        ``client_cert_error`` is always None: a client whose certificate is not accepted gets no connection.
        """
        connection: ssl.SSLObject = transport.get_extra_info("ssl_object")
        cipher = connection.cipher()
        chain = _client_chain(connection)
        subject = (connection.getpeercert() or {}).get("subject") if chain else None
        return {
            "server_cert": self.server_cert,
            "client_cert_chain": chain,
            "client_cert_name": distinguished_name(subject) if subject is not None else None,
            "client_cert_error": None,
            "tls_version": VERSIONS.get(connection.version() or ""),
            "cipher_suite": self._suites.get(cipher[0]) if cipher else None,
        }


@dataclass(frozen=True, slots=True)
class Credentials:
    """What certificate and key have become, in a process that may read them, for workers that may not."""

    context: ssl.SSLContext
    server_cert: str | None


def credentials(settings: Any) -> Credentials | None:
    """Read certificate and key, for `build_tls` in a process that is forked from this one.

    None where that fails: the worker will say why.
    """
    with contextlib.suppress(BootError):
        return Credentials(_default_context(settings), _first_certificate(settings.certfile))
    return None


def can_read(settings: Any) -> bool:
    """Whether this process can read the certificate and the key."""
    names = (settings.certfile, settings.keyfile, settings.ca_certs)
    return all(os.access(name, os.R_OK) for name in names if name)


def build_tls(settings: Any, given: ssl.SSLContext | None = None, held: Credentials | None = None) -> Tls | None:
    """Return what ``settings`` describe, or around ``given``, a context that is there already; None without TLS.

    With ``held`` no file is read.

    From ``certfile``, ``keyfile``, ``ca_certs``, ``cert_reqs``, ``ciphers`` and ``http_protocols``; the hook
    ``ssl_context(config, default_ssl_context_factory)`` has the last word. Raises `BootError`, in one line, if a file
    cannot be read or does not fit.
    """
    if not (settings.certfile or settings.keyfile):
        return Tls(given, None) if given is not None else None
    ours: list[ssl.SSLContext] = []

    def default_factory() -> ssl.SSLContext:
        ours.append(_default_context(settings) if held is None else held.context)
        return ours[-1]

    hook = getattr(settings, "ssl_context", None)
    if hook is None:
        context = default_factory()
    else:
        try:
            context = hook(settings, default_factory)
        except BootError:
            raise
        except Exception as error:
            raise BootError(f"the hook ssl_context raised {type(error).__name__}: {error}") from error
        if not isinstance(context, ssl.SSLContext):
            raise BootError(f"the hook ssl_context returned {type(context).__name__}, not an ssl.SSLContext")
    if context not in ours:
        return Tls(context, None)
    return Tls(context, _first_certificate(settings.certfile) if held is None else held.server_cert)


def _default_context(settings: Any) -> ssl.SSLContext:
    if not settings.certfile:
        raise BootError("keyfile is set without certfile; TLS needs the certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    key = f"keyfile {os.fspath(settings.keyfile or settings.certfile)!r}"

    def ask() -> str:
        # OpenSSL would ask on the terminal, if there is one, in each worker.
        raise BootError(f"{key} is encrypted, and nobody can be asked: decrypt it, or load it in the hook ssl_context")

    try:
        context.load_cert_chain(settings.certfile, settings.keyfile or None, ask)
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
    if "h2" in settings.http_protocols:
        context.set_alpn_protocols([_ALPN[name] for name in settings.http_protocols])
    return context


def _first_certificate(certfile: str | os.PathLike[str]) -> str | None:
    try:
        with open(certfile, encoding="latin-1") as file:
            found = _PEM.search(file.read())
    except OSError:
        return None
    return found[0] if found else None


def _client_chain(connection: ssl.SSLObject) -> list[str]:
    """The certificates that the client has sent, its own first; the rest only where Python can tell them."""
    own = connection.getpeercert(binary_form=True)
    if own is None:
        return []
    if hasattr(connection, "get_unverified_chain"):
        return [ssl.DER_cert_to_PEM_cert(der) for der in connection.get_unverified_chain()]
    # Public since Python 3.13; before, only the object below has it, and a resumed session has the first alone.
    chain = getattr(getattr(connection, "_sslobj", None), "get_unverified_chain", lambda: None)()
    return [certificate.public_bytes() for certificate in chain] if chain else [ssl.DER_cert_to_PEM_cert(own)]


def distinguished_name(subject: Any) -> str:
    """A subject of `ssl.SSLSocket.getpeercert` as a string of RFC 4514: the most specific part comes first."""
    return ",".join("+".join(_attribute(*pair) for pair in parts) for parts in reversed(subject))


def _attribute(name: str, value: str) -> str:
    short = _SHORT.get(name) or (name if name in _REGISTERED else None)
    if short is not None:
        return f"{short}={_escaped(value)}"
    # Section 2.4: without a registered name the value is written as what encodes it; as UTF8String, since its own
    # type is not told.
    oid = name if name[0].isdigit() else ssl._ASN1Object.fromname(name).oid
    content = value.encode()
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return f"{oid}=#{(bytes([0x0C]) + length + content).hex()}"


def _escaped(value: str) -> str:
    text = re.sub(r'([\\"+,;<>])', r"\\\1", value).replace("\0", r"\00")
    if text[:1] in (" ", "#"):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text
