# As files for gevent begin; the package is a stub here.
from gevent_stub import monkey

monkey.patch_all()

bind = "0.0.0.0:8000"
workers = 2
worker_connections = 2000
keepalive = 75
