"""What is said about the files of TLS before anything listens."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization as keys

from supervisor.config.certificates import validity
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start


@pytest.fixture(scope="module")
def pems() -> dict[str, str]:
    """The content of files: two certificates with their keys, their authority, and the first key with a password."""
    authority = trustme.CA()
    first, second = authority.issue_cert("first.test"), authority.issue_cert("second.test")
    secret = keys.load_pem_private_key(first.private_key_pem.bytes(), password=None).private_bytes(
        keys.Encoding.PEM, keys.PrivateFormat.PKCS8, keys.BestAvailableEncryption(b"secret")
    )
    return {
        "cert.pem": first.cert_chain_pems[0].bytes().decode(),
        "key.pem": first.private_key_pem.bytes().decode(),
        "other-key.pem": second.private_key_pem.bytes().decode(),
        "both.pem": first.private_key_and_cert_chain_pem.bytes().decode(),
        "ca.pem": authority.cert_pem.bytes().decode(),
        "secret-key.pem": secret.decode(),
        "cut.pem": first.cert_chain_pems[0].bytes().decode()[:200],
        "empty.pem": "",
    }


@pytest.fixture
def site(start: Start, pems: dict[str, str]) -> Start:
    for name, text in pems.items():
        Path(start.directory, name).write_text(text)
    return start


@pytest.mark.parametrize(
    "values",
    [
        {"certfile": "cert.pem", "keyfile": "key.pem"},
        {"certfile": "cert.pem", "keyfile": "key.pem", "ca_certs": "ca.pem"},
        {"certfile": "both.pem"},
        {"certfile": "cert.pem", "keyfile": "secret-key.pem"},
        {"certfile": "empty.pem", "keyfile": "empty.pem", "ssl_context": lambda config, default: None},
    ],
)
def test_what_fits(site: Start, values: dict[str, Any]) -> None:
    assert site.load(**values).is_ssl


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"certfile": "empty.pem"},
            "certfile holds no certificate in PEM format: '{}empty.pem' (command line certfile)",
        ),
        (
            {"certfile": "key.pem", "keyfile": "cert.pem"},
            "certfile holds no certificate in PEM format, but a private key; name it as keyfile: '{}key.pem' (comm",
        ),
        ({"certfile": "cert.pem"}, "keyfile is not set, and certfile holds no private key: '{}cert.pem' (default)"),
        (
            {"certfile": "cert.pem", "keyfile": "ca.pem"},
            "keyfile holds no private key in PEM format: '{}ca.pem' (command line keyfile)",
        ),
        (
            {"certfile": "cert.pem", "keyfile": "other-key.pem"},
            "keyfile does not belong to certfile: '{}other-key.pem' and '{}cert.pem' (command line keyfile)",
        ),
        ({"certfile": "cut.pem", "keyfile": "key.pem"}, "certfile cannot be used: '{}cut.pem' with '{}key.pem': "),
        (
            {"certfile": "both.pem", "ca_certs": "empty.pem"},
            "ca_certs holds no certificate in PEM format: '{}empty.pem' (command line ca_certs)",
        ),
    ],
)
def test_what_does_not(site: Start, values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site.load(**values)
    assert says.replace("{}", f"{site.directory}/") in str(caught.value)


def test_a_hook_may_set_one_after_the_other(site: Start) -> None:
    settings = site.load()
    settings.set("certfile", "cert.pem")
    settings.set("keyfile", "key.pem")
    with pytest.raises(ConfigError, match="keyfile does not belong to certfile"):
        settings.set("keyfile", "other-key.pem")
    assert settings.keyfile == "key.pem"


@pytest.mark.parametrize(
    ("begins", "ends", "says"),
    [
        (-365, 365, ""),
        (-365, 5, "names a certificate that expires on "),
        (-365, -1, "names a certificate that has expired: "),
        (30, 365, "names a certificate that is not valid yet: "),
    ],
)
def test_its_time(tmp_path: Path, begins: int, ends: int, says: str) -> None:
    now = dt.datetime.now(dt.UTC)
    issued = trustme.CA().issue_cert(
        "first.test",
        not_before=now + dt.timedelta(days=begins),
        not_after=now + dt.timedelta(days=ends),
    )
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    found = list(validity(str(tmp_path / "both.pem"), None, now=now.timestamp()))
    if not says:
        assert found == []
        return
    ((name, text),) = found
    assert name == "certfile"
    assert text.startswith(says)
    assert "both.pem" in text


def test_what_cannot_be_used_has_no_time(site: Start) -> None:
    for certfile, keyfile in (("empty.pem", None), ("cert.pem", "other-key.pem"), ("cert.pem", "secret-key.pem")):
        names = [str(site.directory / name) if name else None for name in (certfile, keyfile)]
        assert list(validity(str(names[0]), names[1], now=0)) == []
