import grp
import os
import pwd

daemon = True
pidfile = "/tmp/shop-web.pid"
chdir = "/tmp"
user = pwd.getpwuid(os.geteuid()).pw_name
group = grp.getgrgid(os.getegid()).gr_name
initgroups = True
umask = 0o022
worker_tmp_dir = "/tmp"
