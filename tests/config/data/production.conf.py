# A production configuration as people write it: values from the environment, hooks for the life of the server.
import logging
import multiprocessing
import os


def number(name, default):
    return int(os.environ.get(name, default))


bind = os.environ.get("BIND", "0.0.0.0:8000")

# Twice the processors and one more.
workers = number("WEB_CONCURRENCY", 2 * multiprocessing.cpu_count() + 1)
worker_class = "uvicorn.workers.UvicornWorker"
worker_connections = number("WORKER_CONNECTIONS", "1000")

max_requests = number("MAX_REQUESTS", "1000")
max_requests_jitter = number("MAX_REQUESTS_JITTER", "50")

timeout = number("TIMEOUT", "30")
graceful_timeout = number("GRACEFUL_TIMEOUT", "30")
keepalive = number("KEEPALIVE", "2")

accesslog = "-"
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info")
access_log_format = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(D)s %(p)s'

proc_name = "fastapi_app"
daemon = False
pidfile = "/tmp/gunicorn.pid"

forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTOCOL": "ssl", "X-FORWARDED-PROTO": "https", "X-FORWARDED-SSL": "on"}

preload_app = True
worker_tmp_dir = "/dev/shm"


def on_starting(server):
    logging.info("starting")


def on_reload(server):
    logging.info("reading the configuration again")


def when_ready(server):
    logging.info("ready with %s workers", server.num_workers)


def worker_int(worker):
    logging.warning("worker %s was interrupted", worker.pid)


def on_exit(server):
    logging.info("leaving")


def on_arbiter_start():
    """No hook of gunicorn: nothing calls it."""


def post_worker_init(worker):
    """Resources of the worker would be opened here."""


def worker_abort(worker):
    logging.error("worker %s was aborted", worker.pid)
