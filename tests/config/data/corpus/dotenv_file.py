# A file of variables is read by hand.
import os
import pathlib

values = {}
for line in pathlib.Path(__file__).with_name("packages").joinpath("dotenv.txt").read_text().splitlines():
    if line and not line.startswith("#"):
        name, _, value = line.partition("=")
        values[name.strip()] = value.strip().strip("'\"")

bind = f"{values['HOST']}:{values['PORT']}"
workers = int(values["WORKERS"])
proc_name = values.get("NAME")
