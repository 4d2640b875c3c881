"""Plain WSGI that does as little as an answer needs: what is measured is the server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tests.process.probe import note

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def make(version: str) -> Application:
    """An application that answers with 13 bytes, or with the length of what it was sent. It notes that it is there."""
    note("started", version=version)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = b"Hello, world!"
        if environ["REQUEST_METHOD"] == "POST":
            body = b"%d" % len(environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]

    return app
