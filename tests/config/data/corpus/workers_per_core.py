# environ: WORKERS_PER_CORE=0.5 MAX_WORKERS=3 HOST=0.0.0.0 PORT=8088 LOG_LEVEL=INFO
# As images for FastAPI compute it; the result is printed as JSON at import.
import json
import multiprocessing
import os

per_core = float(os.getenv("WORKERS_PER_CORE", "1"))
most = int(os.getenv("MAX_WORKERS") or 0)
use_loglevel = os.getenv("LOG_LEVEL", "info").lower()
web_concurrency = max(int(per_core * multiprocessing.cpu_count()), 2)
if most:
    web_concurrency = min(web_concurrency, most)

loglevel = use_loglevel
workers = web_concurrency
bind = os.getenv("BIND") or f"{os.getenv('HOST')}:{os.getenv('PORT')}"
errorlog = os.getenv("ERROR_LOG", "-") or None
accesslog = os.getenv("ACCESS_LOG", "-") or None
worker_tmp_dir = "/dev/shm"
graceful_timeout = int(os.getenv("GRACEFUL_TIMEOUT", "120"))
keepalive = int(os.getenv("KEEP_ALIVE", "5"))
worker_class = "uvicorn.workers.UvicornWorker"

print(json.dumps({"workers": workers, "bind": bind, "per_core": per_core}))
