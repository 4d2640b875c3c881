"""Protocols that are asked for and cannot be spoken. Nothing is imported to find out."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator

from supervisor.config.settings import Settings


def problems(settings: Settings) -> Iterator[tuple[str, str]]:
    """What clients would speak in vain is refused; where there is another way, `warnings` tells."""
    if settings.protocol == "uwsgi":
        yield "protocol", "cannot be uwsgi, which is not spoken; let the proxy speak HTTP (nginx: proxy_pass)"
    if settings.http_protocols == ["h2"] and (missing := _without_http2(settings)):
        yield "http_protocols", f"names h2 alone, but HTTP/2 {missing}"


def warnings(settings: Settings) -> Iterator[str]:
    """What is to be said once at the start, a sentence each."""
    if (missing := _without_http2(settings)) and settings.http_protocols != ["h2"]:
        yield f"http_protocols ({settings.source('http_protocols')}): HTTP/2 {missing}; HTTP/1.1 is served."


def _without_http2(settings: Settings) -> str:
    """Why HTTP/2 cannot be served, though it is asked for; empty if it can."""
    if "h2" not in settings.http_protocols:
        return ""
    if not settings.certfile:
        return "is agreed upon in the TLS handshake, and certfile is not set"
    if importlib.util.find_spec("zttp") is None:
        return "needs the package zttp (pip install zttp)"
    from importlib import metadata  # only who asks for HTTP/2 pays for its import

    found = metadata.version("uvicorn")
    if [int(part) for part in re.findall(r"\d+", found)[:2]] < [0, 54]:
        return f"needs uvicorn 0.54 or later, and {found} is installed"
    return ""
