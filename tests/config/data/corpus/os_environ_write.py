# The file changes the environment itself, and imports through sys.path.
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
os.environ["LANG"] = "C.UTF-8"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "packages"))

from shop_constants import WORKERS  # noqa: E402

workers = WORKERS
proc_name = "shop"
