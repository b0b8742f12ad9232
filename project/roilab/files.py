"""Writing files whole or not at all."""

import contextlib
import os
from pathlib import Path

from roilab.errors import UserError


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file, with the folders it needs, so that it is the old one or the whole new one.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(path)
    if not path.name:
        raise UserError("cannot write the file", file=path, found="no file name", key="path")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(content.encode("utf-8") if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except (OSError, ValueError) as error:
        # A path with a null character is a ValueError.
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError("cannot write the file", file=path, found=reason) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            part.unlink(missing_ok=True)
