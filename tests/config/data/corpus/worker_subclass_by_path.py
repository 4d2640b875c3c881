worker_class = "site_worker.SiteWorker"
workers = 2
timeout = 0
