"""A certificate authority for the length of a test, and the certificate of a server on this machine."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """Signs one certificate for ``localhost``; its files stand in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._ca = trustme.CA()
        self.certfile = directory / "certificate.pem"
        self.keyfile = directory / "key.pem"
        self.renew()

    def renew(self) -> None:
        """Put another certificate, with another key, into the files."""
        issued = self._ca.issue_cert("localhost", "127.0.0.1")
        self.keyfile.write_bytes(issued.private_key_pem.bytes())
        self.certfile.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    @property
    def certificate(self) -> str:
        """What the server shows, in PEM format."""
        return self.certfile.read_text()

    @property
    def options(self) -> tuple[str, ...]:
        """What the command line says to use it."""
        return ("--certfile", str(self.certfile), "--keyfile", str(self.keyfile))

    def client(self) -> ssl.SSLContext:
        """What a client uses that trusts this authority."""
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context

    def server(self) -> ssl.SSLContext:
        """What a server in this process uses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certfile, self.keyfile)
        return context
