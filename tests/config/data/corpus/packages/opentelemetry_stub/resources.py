class Resource(dict):
    @classmethod
    def create(cls, attributes):
        return cls(attributes)
