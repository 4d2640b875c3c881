# gunicorn's own logging configuration, with one handler more.
import copy

from gunicorn.glogging import CONFIG_DEFAULTS

base = copy.deepcopy(CONFIG_DEFAULTS)
known = sorted(base["loggers"])
loglevel = "debug" if "gunicorn.error" in known and "gunicorn.access" in known else "error"
workers = len(known)
