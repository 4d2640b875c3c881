"""On ``PYTHONPATH`` it hides gunicorn and uvicorn-worker from an interpreter, as if they were not installed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

HIDDEN = {"gunicorn", "uvicorn_worker"}


class Without(PathFinder):
    """The finder of installed modules, blind to some."""

    @classmethod
    def find_spec(cls, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return None if fullname.partition(".")[0] in HIDDEN else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Without
