"""The module of Starlette's front page, ``example:app``."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect


def seen() -> bool:
    """Whether the client has said that it got the first event."""
    return os.path.exists("seen")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"started": True}


async def index(request: Request) -> JSONResponse:
    client = request.client.host if request.client else ""
    return JSONResponse(
        {
            "framework": "starlette",
            "pid": os.getpid(),
            "client": client,
            "scheme": request.url.scheme,
            "lifespan": request.state.started,
        }
    )


async def echo(request: Request) -> JSONResponse:
    return JSONResponse(await request.json())


async def form(request: Request) -> JSONResponse:
    return JSONResponse(dict((await request.form()).items()))


async def upload(request: Request) -> JSONResponse:
    async with request.form() as fields:
        file: Any = fields["file"]
        return JSONResponse({"size": len(await file.read())})


async def events(request: Request) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"
            while number == 0 and not seen():
                await asyncio.sleep(0.01)

    return StreamingResponse(stream(), media_type="text/event-stream")


async def error(request: Request) -> JSONResponse:
    raise RuntimeError("meant to fail")


async def ws(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", index),
        Route("/json", echo, methods=["POST"]),
        Route("/form", form, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/events", events),
        Route("/error", error),
        WebSocketRoute("/ws", ws),
        Mount("/static", StaticFiles(directory="static")),
    ],
)
