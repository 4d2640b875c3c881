import os

worker_class = "uvicorn.workers.UvicornH11Worker"
workers = int(os.environ.get("WORKERS") or 1)
limit_request_fields = 200
limit_request_field_size = 16380
