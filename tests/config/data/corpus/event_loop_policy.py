import asyncio

asyncio.get_event_loop_policy()
workers = 2
asgi_loop = "uvloop"
asgi_lifespan = "on"
worker_class = "uvicorn_worker.UvicornWorker"
