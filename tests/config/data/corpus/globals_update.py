# The settings stand in a dictionary, and are made names all at once.
SETTINGS = {
    "bind": ["127.0.0.1:8001", "[::1]:8001"],
    "workers": 3,
    "graceful_timeout": 12,
    "max_requests": 500,
    "max_requests_jitter": 60,
}
globals().update(SETTINGS)
