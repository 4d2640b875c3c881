"""A certificate authority for the tests of workers that speak TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from tests.workers.conftest import RunningWorker


class Authority:
    """A certificate authority, and files of a certificate for ``test``."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        certificate = self.ca.issue_cert("test")
        self.options = {"certfile": str(directory / "cert.pem"), "keyfile": str(directory / "key.pem")}
        certificate.private_key_pem.write_to_path(self.options["keyfile"])
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(self.options["certfile"], append=number > 0)

    def connect(self, worker: RunningWorker) -> ssl.SSLSocket:
        return self.context().wrap_socket(worker.connect(), server_hostname="test")

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context
