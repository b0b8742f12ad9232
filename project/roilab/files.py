"""Writing files whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from roilab.errors import UserError

_START = 200  # bytes of its name that a file has while it is written


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file, with the folders it needs, so that it is the old one or the whole new one.

    Raises:
        UserError: it cannot be written.
    """
    with whole(path) as part, writing(path):
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A name to write under in the block; when the block has ended, it becomes the file's own.

    The folders that it needs are made. When the block raises, the old file stays, if there is one,
    and of the new one nothing.

    Raises:
        UserError: the file cannot be written. What the block raises is its own.
    """
    path = Path(path)
    if not path.name:
        raise UserError("cannot write the file", file=path, found="no file name", key="path")
    # A name may take 255 bytes, and those of a long one are all taken.
    start = os.fsdecode(os.fsencode(path.name)[:_START])
    part = path.with_name(f".{start}.{os.getpid()}.part")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with writing(path):
            with part.open("r+b") as stream:
                os.fsync(stream.fileno())
            part.replace(path)
    finally:
        with contextlib.suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn what the system raises while a file is written into a mistake that names the file.

    Raises:
        UserError: in place of an OSError or a ValueError of the block.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        # A path with a null character is a ValueError.
        reason = error.strerror if isinstance(error, OSError) else None
        raise UserError("cannot write the file", file=path, found=reason or error) from error
