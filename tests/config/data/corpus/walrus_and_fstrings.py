# environ: SIZE=large
import os

workers = 4 if (size := os.environ.get("SIZE", "small")) == "large" else 1
proc_name = f"{size!r:>8}".strip()
threads = {"small": 1, "large": 4}[size]
