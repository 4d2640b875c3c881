"""A real nginx in front of a service: its own instance, with the configuration of ``docs/how-to/nginx.md``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.process.harness import Service, free_port

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "nginx.md"
PATIENCE = 20.0

_AROUND = """
daemon off;
worker_processes 2;
{user}
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{page}
}}
"""


def documented() -> str:
    """The configuration that the page shows."""
    blocks: list[str] = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (page,) = (block for block in blocks if block.startswith("upstream"))
    return page


class Nginx:
    """nginx, on ``port``, in front of ``service``. A context manager."""

    def __init__(self, service: Service, directory: Path, *, unix: bool) -> None:
        self.port = free_port()
        self.directory = directory
        directory.mkdir()
        upstream = f"unix:{service.socket_path}" if unix else service.address
        page = documented()
        for old, new in (("unix:/run/shop/web.sock", upstream), ("listen 80;", f"listen 127.0.0.1:{self.port};")):
            assert page.count(old) == 1, f"{PAGE.name} does not say {old!r} once"
            page = page.replace(old, new)
        # Started by root, its workers would not be, and have no way into the directories of the tests.
        user = "user root;" if os.geteuid() == 0 else ""
        (directory / "nginx.conf").write_text(_AROUND.format(directory=directory, user=user, page=page))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program, "nginx is not installed"
        command = [program, "-e", str(self.directory / "error.log"), "-p", str(self.directory), "-c"]
        self._process = subprocess.Popen([*command, str(self.directory / "nginx.conf")], stdin=subprocess.DEVNULL)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)

    @property
    def errors(self) -> list[str]:
        """The lines of its log that tell of failures."""
        path = self.directory / "error.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if "[error]" in line or "[crit]" in line]
