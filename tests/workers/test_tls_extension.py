"""What applications are told of a TLS connection: the ASGI TLS extension."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from supervisor.workers.tls import distinguished_name
from tests.workers.apps import reply
from tests.workers.authority import Authority
from tests.workers.client import Reader, request
from tests.workers.conftest import RunningWorker, StartWorker
from tests.workers.test_tls import CLASSES

UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


async def show(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the scope says of TLS, a WebSocket in the field that its handshake is answered with.

    There in hexadecimal, since older releases of uvicorn turn the values of such fields into lower case.
    """
    extensions = scope.get("extensions") or {}
    said = json.dumps(extensions.get("tls")).encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept", "headers": [(b"x-tls", said.hex().encode())]})
        await send({"type": "websocket.close"})
    else:
        # Nobody else may see what one request's application does to it.
        extensions.get("tls", {}).clear()
        await reply(send, said)


def ask(worker: RunningWorker, context: ssl.SSLContext) -> tuple[Any, Any, Any]:
    """What a request, a second one, and a WebSocket on the same connection are told."""
    with context.wrap_socket(worker.connect(), server_hostname="test") as client:
        reader = Reader(client)
        said: list[str | bytes] = []
        for _ in range(2):
            client.sendall(request())
            said.append(reader.answer().body)
        client.sendall(request(headers=UPGRADE))
        answer = reader.head()
        assert answer.status == 101
        first, second, third = (json.loads(text) for text in (*said, bytes.fromhex(answer.headers["x-tls"])))
        return first, second, third


@pytest.mark.parametrize("options", CLASSES)
def test_without_client_certificate(start_worker: StartWorker, authority: Authority, options: dict[str, Any]) -> None:
    worker = start_worker(show, asgi_lifespan="off", **authority.options, **options)
    said, again, websocket = ask(worker, authority.context())
    assert said == again == websocket
    certificate = Path(authority.options["certfile"]).read_text()
    assert said.pop("server_cert").strip() == certificate.partition("-----END")[0].strip() + (
        "\n-----END CERTIFICATE-----"
    )
    assert said.pop("cipher_suite") in range(0x1301, 0x1304)
    assert said == {
        "client_cert_chain": [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": 0x0304,
    }


def test_an_older_version_and_its_suite(start_worker: StartWorker, authority: Authority) -> None:
    worker = start_worker(
        show,
        asgi_lifespan="off",
        ciphers="ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256",
        **authority.options,
    )
    context = authority.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for said in ask(worker, context):
        assert said["tls_version"] == 0x0303
        assert said["cipher_suite"] in (0xC02B, 0xC02F)


@pytest.mark.parametrize("cert_reqs", [1, 2])
@pytest.mark.parametrize("options", CLASSES)
def test_of_a_client_with_a_certificate(
    start_worker: StartWorker, authority: Authority, tmp_path: Path, options: dict[str, Any], cert_reqs: int
) -> None:
    signer = trustme.CA()
    intermediate = signer.create_child_ca()
    signer.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    certificate = intermediate.issue_cert("client@example.org", organization_name="Ship, Co", common_name="Ann")
    worker = start_worker(
        show,
        asgi_lifespan="off",
        ca_certs=str(tmp_path / "clients.pem"),
        cert_reqs=cert_reqs,
        **authority.options,
        **options,
    )
    context = authority.context()
    certificate.configure_cert(context)
    sent = [blob.bytes().decode() for blob in certificate.cert_chain_pems]
    for said in ask(worker, context):
        assert said["client_cert_chain"] == sent
        assert said["client_cert_name"] == x509.load_pem_x509_certificate(sent[0].encode()).subject.rfc4514_string()
        assert said["client_cert_error"] is None
    if cert_reqs == 1:
        assert [said["client_cert_name"] for said in ask(worker, authority.context())] == [None] * 3


@pytest.mark.parametrize("options", CLASSES)
@pytest.mark.parametrize("certificate", [None, "of a stranger"])
def test_who_has_no_good_certificate_is_not_served(
    start_worker: StartWorker, authority: Authority, options: dict[str, Any], certificate: str | None
) -> None:
    worker = start_worker(
        show, asgi_lifespan="off", ca_certs=authority.options["certfile"], cert_reqs=2, **authority.options, **options
    )
    context = authority.context()
    if certificate:
        trustme.CA().issue_cert("client").configure_cert(context)

    def try_it() -> None:
        with context.wrap_socket(worker.connect(), server_hostname="test") as client:
            client.sendall(request())
            Reader(client).answer()

    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        try_it()
    assert worker.row.in_flight == 0
    assert worker.log_text() == ""


def test_without_tls_there_is_no_extension(start_worker: StartWorker) -> None:
    worker = start_worker(show, asgi_lifespan="off")
    with worker.connect() as client:
        client.sendall(request())
        assert Reader(client).answer().body == b"null"


def test_of_a_context_that_is_not_ours_the_certificate_is_not_known(
    start_worker: StartWorker, authority: Authority
) -> None:
    def ssl_context(config: Any, default_factory: Any) -> Any:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(config.certfile, config.keyfile)
        return context

    worker = start_worker(show, asgi_lifespan="off", ssl_context=ssl_context, **authority.options)
    assert ask(worker, authority.context())[0]["server_cert"] is None


@pytest.mark.parametrize(
    "attributes",
    [
        [[(NameOID.COMMON_NAME, "a")]],
        [[(NameOID.COUNTRY_NAME, "DE")], [(NameOID.ORGANIZATION_NAME, "Ship, Co")], [(NameOID.COMMON_NAME, 'a "b" c')]],
        [[(NameOID.DOMAIN_COMPONENT, "org")], [(NameOID.USER_ID, "#1"), (NameOID.COMMON_NAME, " a ")]],
        [
            [(NameOID.LOCALITY_NAME, "Ü+ö=ß;<>\\")],
            [(NameOID.STREET_ADDRESS, "x")],
            [(NameOID.STATE_OR_PROVINCE_NAME, "y")],
        ],
        [],
    ],
)
def test_names_are_those_of_rfc_4514(attributes: list[list[tuple[ObjectIdentifier, str]]]) -> None:
    """As another implementation writes them."""
    long_names = {
        NameOID.COMMON_NAME: "commonName",
        NameOID.COUNTRY_NAME: "countryName",
        NameOID.ORGANIZATION_NAME: "organizationName",
        NameOID.DOMAIN_COMPONENT: "domainComponent",
        NameOID.USER_ID: "userId",
        NameOID.LOCALITY_NAME: "localityName",
        NameOID.STREET_ADDRESS: "streetAddress",
        NameOID.STATE_OR_PROVINCE_NAME: "stateOrProvinceName",
    }
    theirs = x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(oid, text) for oid, text in each]) for each in attributes]
    )
    ours = tuple(tuple((long_names[each.oid], str(each.value)) for each in relative) for relative in theirs.rdns)
    assert distinguished_name(ours) == theirs.rfc4514_string()


def test_a_name_without_a_short_form_is_a_number_with_its_encoding() -> None:
    subject = ((("jurisdictionCountryName", "DE"),), (("1.2.3.4", "é"),), (("serialNumber", "7"),))
    assert distinguished_name(subject) == "serialNumber=7,1.2.3.4=#0c02c3a9,1.3.6.1.4.1.311.60.2.1.3=#0c024445"


def test_an_encrypted_key_is_refused_in_one_line(
    start_worker: StartWorker, authority: Authority, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization as keys

    path = Path(authority.options["keyfile"])
    key = keys.load_pem_private_key(path.read_bytes(), password=None)
    path.write_bytes(
        key.private_bytes(keys.Encoding.PEM, keys.PrivateFormat.PKCS8, keys.BestAvailableEncryption(b"secret"))
    )
    worker = start_worker(show, ready=False, asgi_lifespan="off", **authority.options)
    _, summary, _, code = worker.wait_for_word("boot_failed")
    assert f"keyfile {str(path)!r} is encrypted" in summary
    assert worker.wait_exit() == code == 3
