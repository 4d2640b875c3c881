"""`Statsd`: the logger with ``statsd_host``, which counts and measures too. Lines and names are gunicorn's.

A metric is a datagram ``NAME:VALUE|TYPE`` (github.com/statsd/statsd, docs/metric_types.md), with ``|#TAGS`` behind it
for DogStatsD. Nothing waits for the network, and what cannot be sent is lost.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from datetime import timedelta
from typing import Any

from supervisor.logs.logger import Logger
from supervisor.logs.lookup import resolve


class Statsd(Logger):
    """A logger that sends metrics: one for each request, its time and its status, and for each error and warning.

    A message with ``extra={"metric": NAME, "value": VALUE, "mtype": TYPE}`` is a metric as well, whatever the log level
    is; an empty one is nothing else. Types are "gauge", "counter", "histogram" and "timer".
    """

    def __init__(self, cfg: Any) -> None:
        stripped = (cfg.statsd_prefix or "").rstrip(".")
        self.prefix: str = f"{stripped}." if len(stripped) > 1 else cfg.statsd_prefix or ""
        self.dogstatsd_tags: str = cfg.dogstatsd_tags or ""
        self.sock: socket.socket | None = None
        self._target: Any = None
        super().__init__(cfg)
        try:
            self._open(cfg.statsd_host)
        except OSError as error:
            host = cfg.statsd_host if isinstance(cfg.statsd_host, str) else ":".join(map(str, cfg.statsd_host))
            self.warning("statsd_host %s cannot be found (%s): no metrics are sent", host, error.strerror)

    def _open(self, host: Any) -> None:
        if host is None:
            return
        if isinstance(host, str):
            family, self._target = int(socket.AF_UNIX), host
        else:
            family, self._target = resolve(*host)
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        if family != socket.AF_UNIX:
            # The kernel looks for the way once. A Unix socket would stay connected to a listener that has gone.
            with contextlib.suppress(OSError):
                self.sock.connect(self._target)
                self._target = None

    # -- what is logged

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().critical(msg, *args, **kwargs)
        self.increment("gunicorn.log.critical", 1)

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().error(msg, *args, **kwargs)
        self.increment("gunicorn.log.error", 1)

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().warning(msg, *args, **kwargs)
        self.increment("gunicorn.log.warning", 1)

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        super().exception(msg, *args, **kwargs)
        self.increment("gunicorn.log.exception", 1)

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: Any, *args: Any, **kwargs: Any) -> None:
        extra = kwargs.get("extra") or {}
        metric, value = extra.get("metric"), extra.get("value")
        if metric and value is not None:
            match extra.get("mtype"):
                case "gauge":
                    self.gauge(metric, value)
                case "counter":
                    self.increment(metric, value)
                case "histogram":
                    self.histogram(metric, value)
                case "timer":
                    self.timer(metric, value)
        if msg:
            super().log(lvl, msg, *args, **kwargs)

    # -- requests

    def access(self, resp: Any, req: Any, environ: dict[str, Any], request_time: timedelta) -> None:
        super().access(resp, req, environ, request_time)
        status = resp.status
        if isinstance(status, bytes):
            status = status.decode("latin-1")
        self.measure(request_time.total_seconds(), int(str(status).split(None, 1)[0]))

    def measure(self, duration: float, status: int) -> None:
        """Send the metrics of a request that took so many seconds."""
        self.timer("gunicorn.request.duration", round(duration * 1_000_000) / 1000)
        self.increment("gunicorn.requests", 1)
        self.increment(f"gunicorn.request.status.{status}", 1)

    # -- metrics

    def gauge(self, name: str, value: Any) -> None:
        self._sock_send(f"{self.prefix}{name}:{value}|g")

    def increment(self, name: str, value: Any, sampling_rate: float = 1.0) -> None:
        self._sock_send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    def decrement(self, name: str, value: Any, sampling_rate: float = 1.0) -> None:
        self._sock_send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    def timer(self, name: str, value: Any) -> None:
        """``value`` is in milliseconds."""
        self._sock_send(f"{self.prefix}{name}:{value}|ms")

    def histogram(self, name: str, value: Any) -> None:
        self._sock_send(f"{self.prefix}{name}:{value}|h")

    def _sock_send(self, msg: str | bytes) -> None:
        if self.sock is None:
            return
        data = msg if isinstance(msg, bytes) else msg.encode()
        if self.dogstatsd_tags:
            data += b"|#" + self.dogstatsd_tags.encode()
        # Nobody listens, or its queue is full.
        with contextlib.suppress(OSError):
            if self._target is None:
                self.sock.send(data)
            else:
                self.sock.sendto(data, self._target)
