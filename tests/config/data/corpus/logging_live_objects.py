import logging
import sys

logconfig_dict = {
    "handlers": {"console": {"class": "logging.StreamHandler", "stream": sys.stdout, "level": logging.DEBUG}},
    "loggers": {
        "": {"handlers": ["console"], "level": "INFO"},
        "uvicorn.error": {"handlers": ["console"], "level": "INFO", "propagate": False},
    },
}
