"""An application with much code: FastAPI with hundreds of models and routes, as a grown service has them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from benchmarks.apps import MODELS
from benchmarks.apps.lifespan import collect, noted

SOURCE = '''
from typing import Any
from pydantic import BaseModel, Field

class Model{n}(BaseModel):
    """Number {n}."""
    id: int = Field({n}, ge=0, description="its number")
    name: str = Field("name {n}", max_length=80)
    price: float = 1.5
    tags: list[str] = Field(default_factory=list)
    attributes: dict[str, int] = Field(default_factory=dict)

    def total(self, count: int, discount: float = 0.0) -> float:
        """The price of so many."""
        if count < 0 or not 0 <= discount < 1:
            raise ValueError("wrong order {n}")
        return round(count * self.price * (1 - discount), 2)

async def read{n}(number: int, count: int = 1) -> Model{n}:
    """Read number {n}."""
    made = Model{n}(id=number, tags=["new", "number {n}"], attributes={{"count": count}})
    made.price = made.total(count)
    return made
'''


def make() -> FastAPI:
    """Each model and handler is compiled from source of its own, so that nothing of them is shared."""
    app = FastAPI(lifespan=noted)
    for n in range(MODELS):
        names: dict[str, Any] = {"__name__": f"{__name__}.part{n}"}
        exec(compile(SOURCE.format(n=n), f"part{n}.py", "exec"), names)
        app.get(f"/models/{n}/{{number}}", response_model=names[f"Model{n}"])(names[f"read{n}"])
    app.get("/collect")(collect)
    return app
