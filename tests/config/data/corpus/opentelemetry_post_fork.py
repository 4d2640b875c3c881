# Batches are sent by a thread, and threads do not survive a fork: the tracer is made in each worker.
from opentelemetry_stub import trace
from opentelemetry_stub.export import BatchProcessor, Exporter
from opentelemetry_stub.resources import Resource

bind = "127.0.0.1:5000"
workers = 4
worker_class = "uvicorn.workers.UvicornWorker"
timeout = 120
accesslog = "-"


def post_fork(server, worker):
    server.log.info("worker spawned (pid: %s)", worker.pid)
    resource = Resource.create(attributes={"service.name": "shop", "worker": worker.pid})
    provider = trace.TracerProvider(resource=resource)
    provider.add_span_processor(BatchProcessor(Exporter(endpoint="http://localhost:4317")))
    trace.set_tracer_provider(provider)
