"""A place to start in: an empty directory, an empty environment, and modules that are put back afterwards."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor.config import modules
from supervisor.config.load import Inputs, load
from supervisor.config.settings import Settings


class Start:
    """One start of the program, as often as it is loaded."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def inputs(self, app: Any = "app:app", environ: Mapping[str, str] | None = None, **values: Any) -> Inputs:
        sources = {name: f"command line {name}" for name in values}
        return Inputs(app=app, values=values, sources=sources, environ=environ or {}, cwd=str(self.directory))

    def load(self, app: Any = "app:app", environ: Mapping[str, str] | None = None, **values: Any) -> Settings:
        return load(self.inputs(app, environ, **values))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    before, path = dict(sys.modules), list(sys.path)
    yield Start(tmp_path)
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)
    sys.path[:] = path
    modules.forget()
