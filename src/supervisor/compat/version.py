"""The gunicorn that this package stands in for, and how the server names itself."""

from __future__ import annotations

from typing import Final

from supervisor.version import __version__

GUNICORN: Final = "27.0.1"
"""The release whose settings, hooks and objects are ours."""

VERSION_INFO: Final = (27, 0, 1)

SERVER: Final = "gunicorn"

SERVER_SOFTWARE: Final = f"{SERVER}/{GUNICORN}"

PRODUCT: Final = f"{SERVER_SOFTWARE} asgi-supervisor/{__version__}"
"""``SERVER_SOFTWARE`` of the environment: applications look whether it begins with gunicorn."""
