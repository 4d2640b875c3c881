# environ: PORTS=8101,8102
import os

bind = [f"127.0.0.1:{port}" for port in os.environ["PORTS"].split(",")]
secure_scheme_headers = {name.upper(): value for name, value in {"x-forwarded-proto": "https"}.items()}
