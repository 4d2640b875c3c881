import gunicorn
from gunicorn import version_info

old = version_info < (20, 0)
workers = 2 if old else 5
proc_name = f"site-{gunicorn.__version__.split('.')[0]}"
