# A certificate if there is one.
import os.path
import ssl

folder = "/etc/letsencrypt/live/shop.example"
if os.path.exists(folder):
    certfile = f"{folder}/fullchain.pem"
    keyfile = f"{folder}/privkey.pem"
cert_reqs = ssl.CERT_NONE
ciphers = "TLSv1.2"
do_handshake_on_connect = False
suppress_ragged_eofs = True
