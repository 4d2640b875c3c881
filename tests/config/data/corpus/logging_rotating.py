# environ: LOG_FOLDER=/tmp
import os

folder = os.environ.get("LOG_FOLDER", "/var/log/shop")
logconfig_dict = {
    "version": 1,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(message)s", "datefmt": "%H:%M:%S"}},
    "handlers": {
        "file": {
            "class": "logging.handlers.RotatingFileHandler",
            "filename": os.path.join(folder, "web.log"),
            "maxBytes": 10 * 1024 * 1024,
            "backupCount": 3,
            "delay": True,
            "formatter": "plain",
        }
    },
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["file"], "propagate": False}},
}
errorlog = os.path.join(folder, "error.log")
accesslog = os.path.join(folder, "access.log")
