"""The module of Quart's quickstart; its page on deployment serves it as ``hello:app``."""

import asyncio
import os
from collections.abc import AsyncIterator

from quart import Quart, Response, jsonify, request, websocket


def seen() -> bool:
    """Whether the client has said that it got the first event."""
    return os.path.exists("seen")


app = Quart(__name__)


@app.before_serving
async def startup() -> None:
    app.config["STARTED"] = True


@app.get("/")
async def index() -> Response:
    return jsonify(
        framework="quart",
        pid=os.getpid(),
        client=request.remote_addr,
        scheme=request.scheme,
        lifespan=app.config.get("STARTED", False),
    )


@app.post("/form")
async def form() -> Response:
    return jsonify((await request.form).to_dict())


@app.post("/json")
async def echo() -> Response:
    return jsonify(await request.get_json())


@app.post("/upload")
async def upload() -> Response:
    return jsonify(size=len((await request.files)["file"].read()))


@app.get("/events")
async def events() -> Response:
    async def stream() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"data: {number}\n\n".encode()
            while number == 0 and not seen():
                await asyncio.sleep(0.01)

    return Response(stream(), mimetype="text/event-stream")


@app.get("/error")
async def error() -> Response:
    raise RuntimeError("meant to fail")


@app.websocket("/ws")
async def ws() -> None:
    while True:
        await websocket.send(await websocket.receive())


app.config["MAX_CONTENT_LENGTH"] = 16 << 20
