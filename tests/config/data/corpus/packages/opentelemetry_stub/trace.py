class TracerProvider:
    def __init__(self, resource):
        self.resource = resource
        self.processors = []

    def add_span_processor(self, processor):
        self.processors.append(processor)


current = None


def set_tracer_provider(provider):
    global current
    current = provider
