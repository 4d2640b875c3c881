"""The module of FastAPI's tutorial, ``main:app``."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles


def seen() -> bool:
    """Whether the client has said that it got the first event."""
    return os.path.exists("seen")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"started": True}


app = FastAPI(lifespan=lifespan)
app.mount("/static", StaticFiles(directory="static"))


@app.get("/")
async def index(request: Request) -> dict[str, Any]:
    client = request.client.host if request.client else ""
    return {
        "framework": "fastapi",
        "pid": os.getpid(),
        "client": client,
        "scheme": request.url.scheme,
        "lifespan": request.state.started,
    }


@app.post("/json")
def echo(item: dict[str, Any]) -> dict[str, Any]:
    return item


@app.post("/form")
async def form(request: Request) -> dict[str, Any]:
    return dict((await request.form()).items())


@app.post("/upload")
async def upload(request: Request) -> dict[str, int]:
    async with request.form() as fields:
        file: Any = fields["file"]
        return {"size": len(await file.read())}


@app.get("/events")
async def events() -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"
            while number == 0 and not seen():
                await asyncio.sleep(0.01)

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.get("/error")
def error() -> None:
    raise RuntimeError("meant to fail")


@app.websocket("/ws")
async def ws(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass
