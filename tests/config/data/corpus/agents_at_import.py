# Monitoring agents are started while the file is read.
import atexit
import faulthandler

faulthandler.enable()
started = []


def initialize(name):
    started.append(name)
    return name


agent = initialize("apm")
atexit.register(started.clear)

workers = len(started) + 1
threads = 8
