"""A small ASGI application to try the server with: ``python -m supervisor supervisor.demo:app``.

``/`` a page that shows which worker answered · ``/json`` the same for programs · ``/slow?seconds=1`` waits without
blocking the event loop · ``/block?seconds=1`` blocks it · ``/stream`` one event a second · ``/ws`` a WebSocket echo.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from supervisor.workers.base import current

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>asgi-supervisor</title>
<style>
  :root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 15%, transparent); }}
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; }}
  h1 {{ font-size: 1.4rem; font-weight: 600; margin: 0 0 1.5rem; }}
  dl {{ display: grid; grid-template-columns: repeat(5, 1fr); gap: 1px; background: var(--line);
        border: 1px solid var(--line); border-radius: .6rem; overflow: hidden; margin: 0; }}
  dl div {{ background: Canvas; padding: .8rem 1rem; }}
  dt {{ font-size: .8rem; opacity: .65; }}
  dd {{ margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }}
  p {{ margin-top: 1.5rem; opacity: .8; }}
  @media (max-width: 40rem) {{
    dl {{ grid-template-columns: 1fr; }}
    dl div {{ display: flex; justify-content: space-between; align-items: baseline; padding: .5rem 1rem; }}
  }}
</style>
<h1>asgi-supervisor is serving</h1>
<dl>{cells}</dl>
<p>Open it in another browser to meet another worker, sooner or later. Also here: <a href="/json">/json</a>,
<a href="/slow?seconds=1">/slow</a>, <a href="/block?seconds=1">/block</a>, <a href="/stream">/stream</a>, /ws.</p>
</html>
"""


@dataclass
class _Tally:
    started: float
    answered: int = 0


_tally = _Tally(time.monotonic())


def facts() -> dict[str, Any]:
    """Which worker this is. Without one (another server runs the application) the process alone."""
    worker = current()
    return {
        "worker": worker.age if worker else None,
        "generation": worker.generation if worker else None,
        "pid": os.getpid(),
        "requests": _tally.answered,
        "uptime": round(time.monotonic() - _tally.started, 1),
    }


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application. See the module."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _echo(receive, send)
    else:
        await _http(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            _tally.started = time.monotonic()
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    _tally.answered += 1
    path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
    if path == "/":
        cells = "".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(_shown(name, value))}</dd></div>"
            for name, value in facts().items()
        )
        await _reply(send, _PAGE.format(cells=cells), "text/html; charset=utf-8")
    elif path == "/json":
        await _reply(send, json.dumps(facts()), "application/json")
    elif path == "/slow":
        await asyncio.sleep(_seconds(scope))
        await _reply(send, json.dumps(facts()), "application/json")
    elif path == "/block":
        time.sleep(_seconds(scope))  # noqa: ASYNC251 - blocking the loop is what this path is for
        await _reply(send, json.dumps(facts()), "application/json")
    elif path == "/stream":
        await _stream(receive, send)
    elif path == "/ws":
        # RFC 9110, section 15.5.22, demands the header fields.
        headers = [(b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        await _reply(send, "This is a WebSocket\n", "text/plain; charset=utf-8", status=426, headers=headers)
    else:
        await _reply(send, "Not found\n", "text/plain; charset=utf-8", status=404)


def _seconds(scope: dict[str, Any]) -> float:
    try:
        return min(3600.0, max(0.0, float(parse_qs(scope["query_string"].decode("latin-1"))["seconds"][0])))
    except (KeyError, ValueError):
        return 1.0


def _shown(name: str, value: Any) -> str:
    return f"{value} s" if name == "uptime" else "–" if value is None else str(value)


async def _reply(
    send: Any, text: str, content_type: str, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    body = text.encode("utf-8")
    described = [(b"content-type", content_type.encode("ascii")), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": described})
    await send({"type": "http.response.body", "body": body})


async def _stream(receive: Any, send: Any) -> None:
    """Events until the client leaves, or the worker is about to."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        while not gone.done():
            await send(
                {"type": "http.response.body", "body": f"data: {json.dumps(facts())}\n\n".encode(), "more_body": True}
            )
            await asyncio.wait((gone,), timeout=1.0)
    finally:
        gone.cancel()


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _echo(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.disconnect":
            return
        else:
            key = "text" if message.get("text") is not None else "bytes"
            await send({"type": "websocket.send", key: message[key]})
