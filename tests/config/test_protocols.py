"""What is said where a protocol is asked for that cannot be spoken."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from supervisor.config.checks import warnings
from supervisor.errors import ConfigError

if TYPE_CHECKING:
    from tests.config.conftest import Start


@pytest.fixture
def tls(start: Start) -> dict[str, Any]:
    certificate = trustme.CA().issue_cert("test")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(Path(start.directory, "both.pem")))
    return {"certfile": "both.pem"}


def test_http2_with_everything_that_it_needs(start: Start, tls: dict[str, Any]) -> None:
    for value in ("h2", "h2,h1"):
        assert not any("HTTP/2" in each for each in warnings(start.load(http_protocols=value, **tls)))


def test_http2_without_its_parser(start: Start, tls: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "zttp" else found(name, *more))
    with pytest.raises(ConfigError, match=r"http_protocols names h2 alone, but HTTP/2 needs the package zttp \(pip"):
        start.load(http_protocols="h2", **tls)
    said = [each for each in warnings(start.load(http_protocols="h2,h1", **tls)) if "HTTP/2" in each]
    missing = "HTTP/2 needs the package zttp (pip install zttp)"
    assert said == [f"http_protocols (command line http_protocols): {missing}; HTTP/1.1 is served."]


def test_http2_with_an_older_uvicorn(start: Start, tls: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.53.1")
    with pytest.raises(ConfigError, match=r"HTTP/2 needs uvicorn 0\.54 or later, and 0\.53\.1 is installed"):
        start.load(http_protocols="h2", **tls)


def test_http2_without_tls(start: Start) -> None:
    with pytest.raises(ConfigError, match="HTTP/2 is agreed upon in the TLS handshake, and certfile is not set"):
        start.load(http_protocols="h2")


def test_uwsgi(start: Start) -> None:
    with pytest.raises(ConfigError, match="protocol cannot be uwsgi, which is not spoken; let the proxy speak HTTP"):
        start.load(protocol="uwsgi")
