import asyncio


async def warm_up():
    await asyncio.sleep(0)


def post_worker_init(worker):
    asyncio.new_event_loop().run_until_complete(warm_up())


def worker_exit(server, worker):
    from time import monotonic

    server.log.info("%s", monotonic())
