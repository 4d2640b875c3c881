# gunicorn: refuses this file
when_ready = None
workers = 2
