(workers, threads), timeout = (2, 3), 40
bind = host, port = ["127.0.0.1:8008", "127.0.0.1:8009"]
keepalive = graceful = 5
graceful_timeout = graceful * 2
max_requests: int
with open(__file__) as source:
    backlog = 1024 + (0 if source else 1)
for limit_request_fields in (50, 60):
    pass
