# What people write and gunicorn does not know.
preload = True
debug = True
log_level = "debug"
access_logfile = "-"
logfile = "/tmp/x"
worker = 4
thread = 2
after_fork = None
uid = 0

workers = 2
