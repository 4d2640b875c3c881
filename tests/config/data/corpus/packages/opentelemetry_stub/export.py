class Exporter:
    def __init__(self, endpoint):
        self.endpoint = endpoint


class BatchProcessor:
    def __init__(self, exporter):
        self.exporter = exporter
