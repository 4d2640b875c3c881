"""TLS of a whole service: certificates that are renewed under load, and such as cannot be used."""

from __future__ import annotations

import http.client
import ssl

import pytest

from tests.process.certificates import Authority
from tests.process.conftest import StartService
from tests.process.harness import PATIENCE, Service
from tests.process.load import Load, Target, Traffic

TRAFFIC = (Traffic(30), Traffic(15, keep_alive=False))


def shown(service: Service, authority: Authority) -> str:
    """The certificate that a new connection sees."""
    with authority.client().wrap_socket(service.connect(), server_hostname="localhost") as client:
        certificate = client.getpeercert(binary_form=True)
        assert certificate is not None
        return ssl.DER_cert_to_PEM_cert(certificate)


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["", "preload"])
def test_certificates_are_renewed_without_a_loss(service: StartService, options: tuple[str, ...]) -> None:
    running = service()
    authority = Authority(running.directory)
    first = authority.certificate
    running.start("--workers", "2", *authority.options, *options)
    running.wait_serving(2)
    assert shown(running, authority) == first
    with Load(Target(("127.0.0.1", running.port), authority.client()), *TRAFFIC) as load:
        running.wait_until(lambda: len(load.report.records) >= 30, "requests have ended")
        kept = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        kept.sock = authority.client().wrap_socket(running.connect(), server_hostname="localhost")
        kept.request("GET", "/stream/8/0.2")
        authority.renew()
        second = authority.certificate
        running.deploy("2")
        running.hup()
        running.wait_serving(2, version="2")
        assert shown(running, authority) == second != first
        assert kept.getresponse().status == 200
        kept.close()
        # A certificate that cannot be used changes nothing.
        authority.certfile.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        running.expect_error("certfile")
        before = len(running.log)
        running.deploy("3")
        running.hup()
        running.wait_log(r"\[ERROR\].*certfile", since=before)
        running.wait_serving(2, version="2")
        assert shown(running, authority) == second
        # And when it has been put right, the next HUP takes it.
        authority.renew()
        running.hup()
        running.wait_serving(2, version="3")
        assert shown(running, authority) == authority.certificate
        running.wait_until(lambda: any(answer.version == "3" for answer in load.answers()), "the last version answers")
    report = load.stop()
    assert not report.lost, report
    running.stop()


def test_a_handshake_that_stops_holds_up_neither_reload_nor_stop(service: StartService) -> None:
    running = service()
    authority = Authority(running.directory)
    running.start(*authority.options)
    running.wait_serving(1)
    silent = [running.connect() for _ in range(3)]
    silent[0].sendall(b"\x16\x03\x01\x02\x00\x01")
    assert shown(running, authority) == authority.certificate
    running.deploy("2")
    running.hup()
    running.wait_serving(1, version="2")
    silent.append(running.connect())
    assert shown(running, authority) == authority.certificate
    running.stop()
    for client in silent:
        client.close()
