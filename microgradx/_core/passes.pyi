PASSES: frozenset[str]

class Lives:
    def __init__(self, room: int) -> None: ...
