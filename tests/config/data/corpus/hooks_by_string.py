# Import strings.
when_ready = "hook_functions.announce"
worker_exit = "hook_functions.release"
