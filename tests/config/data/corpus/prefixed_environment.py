# environ: GUNICORN_WORKERS=7 GUNICORN_BIND=0.0.0.0:7000 GUNICORN_KEEPALIVE=11 GUNICORN_PRELOAD_APP=true
# Every variable with a prefix becomes a name of the file.
import os

for name, value in os.environ.items():
    if name.startswith("GUNICORN_") and name != "GUNICORN_CMD_ARGS":
        locals()[name.split("_", 1)[1].lower()] = value
