"""What FastAPI applications of the benchmark have in common."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from tests.process.probe import note


@contextlib.asynccontextmanager
async def noted(_: FastAPI) -> AsyncIterator[None]:
    """A lifespan that tells when its worker is ready."""
    note("started", version="1")
    yield


async def collect() -> PlainTextResponse:
    """One full collection of the garbage collector; the answer is the pid."""
    gc.collect()
    return PlainTextResponse(str(os.getpid()))
