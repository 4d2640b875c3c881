"""A small FastAPI application: a path parameter, a query parameter, a model that is validated and answered as JSON."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.apps.lifespan import noted


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str]


def make() -> FastAPI:
    app = FastAPI(lifespan=noted)

    @app.get("/items/{number}")
    async def item(number: int, page: int = 1) -> Item:
        return Item(id=number, name=f"item {number}", price=9.5, tags=["new", f"page {page}"])

    return app
