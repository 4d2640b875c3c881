# It names a handler that only gunicorn's defaults have.
logconfig_dict = {
    "loggers": {
        "gunicorn.access": {"level": "WARNING", "handlers": ["console"], "propagate": False, "qualname": "gunicorn.access"}
    }
}
