# Annotations, defaults, extras by keyword only.
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.http.message import Request
    from gunicorn.workers.base import Worker


def when_ready(server: Arbiter) -> None:
    server.log.info("ready")


def post_fork(server: Arbiter, worker: Worker, *, quiet: bool = True) -> None:
    if not quiet:
        worker.log.info("forked")


def pre_request(worker: Worker, req: Request) -> None:
    worker.log.debug("%s", req.uri)


def post_request(worker: Worker, req: Request, environ: dict[str, Any]) -> None:
    worker.log.debug("%s", environ.get("PATH_INFO"))
