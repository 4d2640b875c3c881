# environ: WEB_BIND=127.0.0.1:9001 WEB_WORKERS=6 WEB_RELOAD=no WEB_TIMEOUT=
# Helpers that turn variables into values, with a default for what is set to nothing.
import os


def text(name, default=None):
    return os.environ.get(name) or default


def number(name, default):
    raw = text(name)
    return int(raw) if raw is not None else default


def flag(name, default=False):
    return (text(name) or str(default)).lower() in {"1", "true", "yes", "on"}


bind = text("WEB_BIND", "127.0.0.1:8000")
workers = number("WEB_WORKERS", 2)
timeout = number("WEB_TIMEOUT", 45)
preload_app = flag("WEB_RELOAD")
loglevel = text("WEB_LOG_LEVEL", "warning")
