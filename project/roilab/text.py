"""Words of messages."""


def counted(count: int, one: str, several: str | None = None) -> str:
    """A number with its noun, or more words: `counted(1, "image")` is "1 image".

    Args:
        several: for any other number than 1; None: `one` with an s.
    """
    return f"{count:d} {one if count == 1 else several or one + 's'}"
