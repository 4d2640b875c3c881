"""An application as Litestar's documentation names it, ``app:app``."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from litestar import Litestar, Request, WebSocket, get, post, websocket
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.params import Body
from litestar.response import Stream
from litestar.static_files import create_static_files_router


def seen() -> bool:
    """Whether the client has said that it got the first event."""
    return os.path.exists("seen")


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.started = True
    yield


@get("/")
async def index(request: Request[Any, Any, Any]) -> dict[str, Any]:
    client = request.client.host if request.client else ""
    return {
        "framework": "litestar",
        "pid": os.getpid(),
        "client": client,
        "scheme": request.url.scheme,
        "lifespan": request.app.state.started,
    }


@post("/json", status_code=200)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@post("/form", status_code=200)
async def form(
    data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> dict[str, str]:
    return data


@post("/upload", status_code=200, request_max_body_size=None)
async def upload(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> dict[str, int]:
    return {"size": len(await data["file"].read())}


@get("/events")
async def events() -> Stream:
    async def stream() -> AsyncIterator[str]:
        for number in range(3):
            yield f"data: {number}\n\n"
            while number == 0 and not seen():
                await asyncio.sleep(0.01)

    return Stream(stream(), media_type="text/event-stream")


@get("/error")
async def error() -> None:
    raise RuntimeError("meant to fail")


@websocket("/ws")
async def ws(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


app = Litestar(
    [index, echo, form, upload, events, error, ws, create_static_files_router(path="/static", directories=["static"])],
    lifespan=[lifespan],
)
