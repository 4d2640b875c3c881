import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, JsonResponse, StreamingHttpResponse
from django.urls import path, re_path
from django.views.static import serve


def seen() -> bool:
    """Whether the client has said that it got the first event."""
    return os.path.exists("seen")


def index(request: HttpRequest) -> JsonResponse:
    client = request.META.get("REMOTE_ADDR")
    return JsonResponse({"framework": "django", "pid": os.getpid(), "client": client, "scheme": request.scheme})


def echo(request: HttpRequest) -> JsonResponse:
    return JsonResponse(json.loads(request.body))


def form(request: HttpRequest) -> JsonResponse:
    return JsonResponse(dict(request.POST.items()))


def upload(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"size": len(request.FILES["file"].read())})


def events(request: HttpRequest) -> StreamingHttpResponse:
    stream: Any = later() if isinstance(request, ASGIRequest) else at_once()
    return StreamingHttpResponse(stream, content_type="text/event-stream")


def at_once() -> Iterator[str]:
    for number in range(3):
        yield f"data: {number}\n\n"
        while number == 0 and not os.path.exists("seen"):
            time.sleep(0.01)


async def later() -> AsyncIterator[str]:
    for number in range(3):
        yield f"data: {number}\n\n"
        while number == 0 and not seen():
            await asyncio.sleep(0.01)


def error(request: HttpRequest) -> JsonResponse:
    raise RuntimeError("meant to fail")


urlpatterns = [
    path("", index),
    path("json", echo),
    path("form", form),
    path("upload", upload),
    path("events", events),
    path("error", error),
    re_path("static/(.*)", serve, {"document_root": settings.BASE_DIR / "static"}),
]
