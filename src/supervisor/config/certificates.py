"""Whether the files of TLS hold what they should, and belong together. Imports ssl, so this is for TLS only."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_CERTIFICATES = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEY = b"PRIVATE KEY-----"


class _Encrypted(Exception):
    """The key asks for a password, and only who runs the server could give it."""


def problems(certfile: str, keyfile: str | None, ca_certs: str | None) -> Iterator[tuple[str, str]]:
    """The setting, and what is wrong with its file, as a clause; nothing for files that cannot be read.

    The names are absolute paths. PEM is what OpenSSL reads (SSL_CTX_use_certificate_chain_file(3)).
    """
    files = {"certfile": certfile, "keyfile": keyfile or certfile, "ca_certs": ca_certs or certfile}
    try:
        certificate, key, authorities = map(_content, files.values())
    except OSError:
        return
    if not any(begin in certificate for begin in _CERTIFICATES):
        hint = ", but a private key; name it as keyfile" if _KEY in certificate else ""
        yield "certfile", f"holds no certificate in PEM format{hint}: {certfile!r}"
    elif _KEY not in key:
        holds = f"holds no private key in PEM format: {keyfile!r}"
        yield "keyfile", holds if keyfile else f"is not set, and certfile holds no private key: {certfile!r}"
    else:
        yield from _pair(certfile, keyfile)
    if ca_certs and not any(begin in authorities for begin in _CERTIFICATES):
        yield "ca_certs", f"holds no certificate in PEM format: {ca_certs!r}"


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _pair(certfile: str, keyfile: str | None) -> Iterator[tuple[str, str]]:
    def ask() -> str:
        raise _Encrypted

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=ask)
    except _Encrypted:
        return
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield "keyfile", f"does not belong to certfile: {keyfile!r} and {certfile!r}"
        else:
            yield "certfile", f"cannot be used: {certfile!r}{f' with {keyfile!r}' if keyfile else ''}: {error}"
