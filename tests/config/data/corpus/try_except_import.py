# What is not installed is done without.
try:
    import a_package_that_is_not_there

    worker_class = a_package_that_is_not_there.Worker
except ImportError:
    worker_class = "uvicorn.workers.UvicornWorker"

try:
    import resource

    worker_connections = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except Exception:
    worker_connections = 100
