import os

bind = "127.0.0.1:8013"
workers = 3
timeout = 10
_hidden = os.sep
