import configparser
import os

parser = configparser.ConfigParser()
parser.read(os.path.join(os.path.dirname(__file__), "packages", "site.ini"))
section = parser["web"]

bind = section["bind"]
workers = section.getint("workers")
timeout = section.getint("timeout", fallback=30)
keepalive = section.getfloat("keepalive").__int__()
reuse_port = section.getboolean("reuse_port")
