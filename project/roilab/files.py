"""Files: written whole or not at all, read with a message for what is damaged.

What writes or reads a file raises UserError, which names the file, where that is not possible.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from roilab.errors import UserError

_START = 200  # bytes of its name that the name of an unfinished file begins with
_PART = re.compile(r"\..+\.(\d+)\.part", re.DOTALL)  # such a file, and the process that writes it
_OLD = 3600  # seconds


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file, and the folders it needs, so that it is the old one or the whole new one."""
    with whole(path) as part, writing(path):
        part.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Within the block, a file is written under another name; at its end it takes its own.

    The folders that it needs are created. When the block raises, nothing of the new file stays,
    and the old one does, if there is one. A UserError says that the file cannot be written; what
    the block raises is not changed.
    """
    path = Path(path)
    if not path.name:
        raise UserError("cannot write the file", file=path, found="no file name", key="path")
    part = _part_of(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)  # a link by this name would be written through
        yield part
        with writing(path):
            with part.open("r+b") as stream:
                os.fsync(stream.fileno())
            part.replace(path)
    finally:
        with contextlib.suppress(OSError, ValueError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def part_of_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill in the block and then to rename to `path`, or else it is removed.

    Raises OSError if it cannot be created.
    """
    part = _part_of(path)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _remove(part)
        part.mkdir()
        yield part
    finally:
        with contextlib.suppress(OSError):
            _remove(part)


def _part_of(path: Path) -> Path:
    """The name that a file or folder has while this process writes it, as `_PART` has it."""
    # A name may have 255 bytes, and a long one uses them all.
    start = os.fsdecode(os.fsencode(path.name)[:_START])
    return path.with_name(f".{start}.{os.getpid()}.part")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_parts(folder: Path, pid: int | None = None) -> None:
    """Remove from a folder what processes were writing there when they were killed.

    Parts of the process `pid`, which has ended, go at once, those of others when they are an hour
    old, in which every file is finished.
    """
    for path in folder.iterdir():
        match = _PART.fullmatch(path.name)
        with contextlib.suppress(OSError):  # it is whole by now, or another process removes it
            if match and (int(match[1]) == pid or time.time() - path.stat().st_mtime > _OLD):
                _remove(path)


def refuse_link(path: Path) -> None:
    """Make sure that a file that is written in place is no link: a stranger's may lead anywhere."""
    if path.is_symlink():
        message = "a file that is written to is a link"
        remedy = "delete the link"
        expected = "a file of this folder"
        target = path.readlink()
        raise UserError(message, file=path, found=target, expected=expected, remedy=remedy)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Within the block, an OSError or a ValueError becomes a UserError that names the file."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UserError("cannot write the file", file=path, found=_reason(error)) from error


def _reason(error: OSError | ValueError) -> object:
    # A path with a null character is a ValueError.
    return (error.strerror if isinstance(error, OSError) else None) or error


def open_plain(path: str | Path) -> IO[bytes]:
    """Open a file for reading that has an end: no pipe, and no device such as /dev/zero.

    Raises OSError if that is impossible, and ValueError if the path has a null character.
    """
    # Opening a pipe that nobody writes to would wait.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kind = os.fstat(number).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(number, "rb")
    os.close(number)
    is_folder = stat.S_ISDIR(kind)
    raise OSError(errno.EINVAL, "a folder" if is_folder else "a pipe or device, no plain file")


def read_bytes(path: str | Path, *, what: str = "the file", **details: str | None) -> bytes:
    """Read a file.

    Args:
        what: its name in the message.
        details: of the UserError, which may have `key`, `expected` and `remedy`.
    """
    try:
        with open_plain(path) as file:
            return file.read()
    except (OSError, ValueError) as error:
        message, reason = f"{what} cannot be read", _reason(error)
        raise UserError(message, file=path, found=reason, **details) from error


def decode(
    content: bytes, path: str | Path, *, what: str = "the file", **details: str | None
) -> str:
    """The text of a UTF-8 file; `what` and `details` as for `read_bytes`."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"the byte 0x{content[error.start]:02x} at position {error.start}"
        message = f"{what} cannot be read: not UTF-8 text"
        raise UserError(message, file=path, found=place, **details) from error


def parse_json(
    content: bytes, path: str | Path, *, what: str = "the file", **details: str | None
) -> Any:
    """Parse the content of a JSON file, see `read_bytes`; NaN and infinity are refused."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number of JSON")

    text = decode(content, path, what=what, **details)
    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else error
        reason = problem if content.strip() else "nothing in it"
        message = f"{what} cannot be read: not JSON"
        raise UserError(message, file=path, found=reason, **details) from error


def read_json(path: str | Path, *, what: str = "the file", **details: str | None) -> Any:
    """Read a JSON file, see `read_bytes` and `parse_json`."""
    return parse_json(read_bytes(path, what=what, **details), path, what=what, **details)


def config_folder() -> Path:
    """The folder of the configs that come with RoILab: of the package, or of the checkout."""
    package = Path(__file__).parent
    folders = (package / "configs", package.parents[1] / "configs")
    return next(folder for folder in folders if folder.is_dir())
