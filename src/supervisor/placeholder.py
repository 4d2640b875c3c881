"""What is served under ``reload`` while the application cannot be started: why, as plain text. For development only."""

from __future__ import annotations

from typing import Any

from supervisor.core.events import Failure

FOOT = "This page stands here because of the setting reload. It goes when the next change of a file mends it."


class Placeholder:
    """An ASGI application that answers every request with 500 and the reason."""

    def __init__(self, failure: Failure) -> None:
        parts = ("The application could not be started.", failure.summary, failure.detail, FOOT)
        self._body = ("\n\n".join(filter(None, parts)) + "\n").encode("utf-8", "backslashreplace")

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(self._body)).encode()),
                (b"cache-control", b"no-store"),
                # Tracebacks quote what came from anywhere: no browser is to take it for a page.
                (b"x-content-type-options", b"nosniff"),
            ]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": self._body})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1011})
        else:
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
