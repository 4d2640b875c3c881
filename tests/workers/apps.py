"""ASGI applications for the tests of workers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs


async def reply(send: Any, body: bytes, status: int = 200, headers: Any = ()) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client went away")
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """What the path says: echo, slow, block, stream, background, raise, silent, headers, ws."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket":
        return await websocket(receive, send)
    query = {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
    seconds = float(query.get("seconds", 0.2))
    match scope["path"]:
        case "/echo":
            await reply(send, await read_body(receive))
        case "/slow":
            await asyncio.sleep(seconds)
            await reply(send, b"slow")
        case "/block":
            time.sleep(seconds)  # noqa: ASYNC251 - the point of the path
            await reply(send, b"blocked")
        case "/background":
            await reply(send, b"done")
            await asyncio.sleep(seconds)
            Path(query["file"]).write_text("done")  # noqa: ASYNC240 - a few bytes
        case "/early":
            await reply(send, b"too large", status=413)
        case "/raise":
            raise RuntimeError("on purpose")
        case "/stream":
            await stream(receive, send)
        case path:
            await reply(send, path.encode())
    return None


async def stream(receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def until_told() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    told = asyncio.ensure_future(until_told())
    while not told.done():
        await send({"type": "http.response.body", "body": b"data: tick\n\n", "more_body": True})
        await asyncio.wait((told,), timeout=0.05)


async def websocket(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.disconnect":
            return
        else:
            await send({"type": "websocket.send", "text": message["text"]})
