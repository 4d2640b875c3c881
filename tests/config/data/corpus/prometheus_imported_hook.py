# The hook comes from a package, under its own name.
from prometheus_stub.gunicorn import child_exit  # noqa: F401

workers = 3
statsd_host = "localhost:8125"
statsd_prefix = "shop"
dogstatsd_tags = "team:web,stage:test"
