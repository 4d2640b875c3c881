"""What is served while nothing can be started."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.core.events import Failure
from supervisor.placeholder import Placeholder


async def talk(scope: dict[str, Any], *received: str) -> list[dict[str, Any]]:
    messages = iter(received)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(messages)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await Placeholder(Failure("it fails: <b>\udc80</b>", "Traceback …"))(scope, receive, send)
    return sent


async def test_a_request_is_answered_with_the_reason_as_plain_text() -> None:
    start, body = await talk({"type": "http"})
    headers = dict(start["headers"])
    assert start["status"] == 500
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert "it fails: <b>\\udc80</b>\n\nTraceback …\n" in body["body"].decode()


@pytest.mark.parametrize("lifespan", [("startup", "shutdown"), ("shutdown",)])
async def test_the_lifespan_is_kept(lifespan: tuple[str, ...]) -> None:
    sent = await talk({"type": "lifespan"}, *(f"lifespan.{word}" for word in lifespan))
    assert [message["type"] for message in sent] == [f"lifespan.{word}.complete" for word in lifespan]


async def test_a_websocket_is_refused() -> None:
    assert await talk({"type": "websocket"}, "websocket.connect") == [{"type": "websocket.close", "code": 1011}]
