logconfig_dict = {}
accesslog = None
errorlog = "-"
disable_redirect_access_to_syslog = True
syslog_addr = "udp://localhost:1514"
syslog_prefix = "shop"
syslog_facility = "local1"
