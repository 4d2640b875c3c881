from __future__ import annotations

import enum
from typing import Final


class Level(str, enum.Enum):
    QUIET = "warning"
    LOUD = "debug"


bind: Final[str] = "127.0.0.1:8123"
workers: int = 2
loglevel: str = Level.QUIET.value
threads: int | None = 4
