class Program:
    """The launches of one capture, and what a replay has to read, write and hand out."""

    captured: int
    own_bytes: int
    planned_bytes: int
    dropped: list[str]
    @property
    def frozen(self) -> list[tuple[tuple[int, ...], str, str]]: ...
    def __str__(self) -> str: ...
    def launches(self) -> list[tuple[str, str, int | None, int | None]]: ...
