bind = ["unix:/tmp/shop-web.sock", "127.0.0.1:8010"]
workers = 3
timeout = 30
forwarded_allow_ips = "*"
control_socket_disable = True
reuse_port = False
sendfile = False
