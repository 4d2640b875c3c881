"""An application with much data: a hundred megabytes of ordinary objects, made when it is imported."""

from __future__ import annotations

import random

from fastapi import FastAPI

from benchmarks.apps.lifespan import collect, noted

RECORDS = 150_000
"""Each takes about 690 bytes on a 64-bit CPython 3.11."""


def make() -> FastAPI:
    records = [
        {
            "id": 1_000_000 + n,
            "name": f"record number {n}",
            "price": n * 1.01,
            "tags": [f"tag {n}", f"group {n % 100}"],
            "size": (n + 1000, n + 2000),
        }
        for n in range(RECORDS)
    ]
    app = FastAPI(lifespan=noted)

    @app.get("/records")
    async def record() -> dict[str, object]:
        """One of them, at random: a request touches a part of the data only."""
        return records[random.randrange(RECORDS)]

    app.get("/collect")(collect)
    return app
