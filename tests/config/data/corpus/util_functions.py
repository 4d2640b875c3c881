from gunicorn import util

bind = "127.0.0.1:%d" % 8006 if not util.is_ipv6("127.0.0.1") else "[::1]:8006"
workers = 1 + len(util.to_bytestring("ab"))
