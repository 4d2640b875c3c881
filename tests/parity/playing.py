"""Plays the corpus of `tests.parity.hostile` to a server, over plain sockets."""

from __future__ import annotations

import contextlib
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.parity.hostile import CORPUS, UNHEARD, Hostile
from tests.process.harness import PATIENCE

CLIENTS = 12
SILENCE = 0.5
"""Seconds after which a server that is known to wait for more is believed to."""

# It notes who has sent what: the client's port, whether the body is complete, the path, the body.
APP = """
import json


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": message["type"] + ".complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    note(scope, "begun", b"")
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close"})
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    note(scope, "complete", body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def note(scope, what, body):
    line = json.dumps([scope["client"][1], what, scope["path"], body.decode("latin-1")])
    with open("seen.jsonl", "a") as file:
        file.write(line + "\\n")
"""


@dataclass
class Outcome:
    """What came of an entry: the client's port, the statuses that were answered, and whether the connection ended."""

    port: int
    statuses: list[int]
    ended: bool

    @property
    def accepted(self) -> bool:
        """Whether the first request was answered as if it were one, or is still awaited."""
        return self.statuses[0] < 400 if self.statuses else not self.ended


def play(entry: Hostile, address: tuple[str, int], *, patience: float = PATIENCE) -> Outcome:
    """Send an entry, and read all that comes of it."""
    with socket.create_connection(address, timeout=patience) as client:
        port = client.getsockname()[1]
        data, ended = b"", True
        with contextlib.suppress(ConnectionError):
            client.sendall(entry.sent)
        try:
            while piece := client.recv(65536):
                # What has been answered as a good request may leave the connection open.
                if not data and re.match(rb"HTTP/1\.. [123]", piece):
                    client.shutdown(socket.SHUT_WR)
                data += piece
        except ConnectionError:
            pass
        except TimeoutError:
            ended = False
        return Outcome(port, [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3})", data)], ended)


def play_all(address: tuple[str, int], *, gunicorn: bool = False) -> dict[str, Outcome]:
    def one(entry: Hostile) -> Outcome:
        return play(entry, address, patience=SILENCE if gunicorn and entry.name in UNHEARD else PATIENCE)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return dict(zip((entry.name for entry in CORPUS), pool.map(one, CORPUS), strict=True))
