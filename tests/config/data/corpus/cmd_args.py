# environ: GUNICORN_CMD_ARGS='--workers 7 --timeout=70 --access-logfile - -e A=1 --keep-alive 9'
workers = 2
timeout = 10
keepalive = 3
