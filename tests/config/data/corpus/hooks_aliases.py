from hook_functions import announce, release

import hook_functions

on_starting = announce
worker_exit = release
post_worker_init = hook_functions.prepare
