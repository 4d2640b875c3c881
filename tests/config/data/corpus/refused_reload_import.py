# gunicorn: refuses this file
from importlib import reload  # noqa: F401

workers = 2
