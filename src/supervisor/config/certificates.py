"""Whether the files of TLS hold what they should, and belong together. Imports ssl, so this is for TLS only."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

_CERTIFICATES = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN TRUSTED CERTIFICATE-----")
_KEY = b"PRIVATE KEY-----"
_OUT_OF_TIME = {9: "names a certificate that is not valid yet", 10: "names a certificate that has expired"}
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED (X509_STORE_CTX_get_error(3)).
_SOON = 14 * 86400.0


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


def validity(certfile: str, keyfile: str | None, *, now: float) -> Iterator[tuple[str, str]]:
    """The setting, and a clause, where the certificate is not valid now, or not for much longer.

    Two ends shake hands in memory, and one trusts just this certificate (X509_V_FLAG_PARTIAL_CHAIN), so that nothing
    but its time can be wrong with it. ``now`` is in seconds, as of time.time. Says nothing of what `problems` finds.
    """
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(certfile, keyfile, password=_ask)
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        client.load_verify_locations(certfile)
        certificate = _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in _OUT_OF_TIME:
            yield "certfile", f"{_OUT_OF_TIME[error.verify_code]}: {certfile!r}"
        return
    except (_Encrypted, OSError):
        return
    end = certificate.get("notAfter")
    if isinstance(end, str) and ssl.cert_time_to_seconds(end) - now < _SOON:
        yield "certfile", f"names a certificate that expires on {end}: {certfile!r}"


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, Any]:
    """The certificate as the client sees it. Raises `ssl.SSLError` where they do not come to terms."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(8):  # flights; the longest handshake has six
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return dict(ends[0].getpeercert() or {})


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _ask() -> str:
    raise _Encrypted


def _pair(certfile: str, keyfile: str | None) -> Iterator[tuple[str, str]]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=_ask)
    except _Encrypted:
        return
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            yield "keyfile", f"does not belong to certfile: {keyfile!r} and {certfile!r}"
        else:
            yield "certfile", f"cannot be used: {certfile!r}{f' with {keyfile!r}' if keyfile else ''}: {error}"
