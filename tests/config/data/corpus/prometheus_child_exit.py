# environ: PROMETHEUS_MULTIPROC_DIR=/tmp
import os

from prometheus_stub import multiprocess

bind = "0.0.0.0:9100"
workers = 2
worker_class = "uvicorn.workers.UvicornWorker"
metrics_folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]


def when_ready(server):
    for entry in os.listdir(metrics_folder):
        if entry.endswith(".db"):
            os.remove(os.path.join(metrics_folder, entry))


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
