"""Image files: finding those that a VIA file names, their size, whether they are whole."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from PIL import Image, UnidentifiedImageError

from roilab.errors import UserError

_EXIF_ORIENTATION = 0x0112
_TAIL = 64 * 1024
_SHOWN = 5  # how many of many files a message names
_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"


class ImageFolder:
    """Folders of images. They are searched through once, and only when an image is not where it
    should be.

    Args:
        roots: the folders.
        default_path: what VIA puts before every file name of a project to find the image.

    Raises:
        UserError: there is no such folder.
    """

    def __init__(self, *roots: str | Path, default_path: str = "") -> None:
        self.roots = tuple(map(Path, roots))
        self.default_path = default_path
        for root in self.roots:
            if not root.is_dir():
                raise UserError(
                    "no such folder of images", file=root, expected="the folder of the images"
                )
        self._by_name: dict[str, list[Path]] | None = None

    def __str__(self) -> str:
        return " or ".join(map(str, self.roots))

    def find(self, filename: str, size: int | None) -> Path | None:
        """The file that a VIA entry means.

        Args:
            filename: a name, a path below a root, an absolute path or a URL, as VIA holds it.
            size: bytes of the file; None where unknown. It tells files of one name apart.

        Returns:
            A file in its place if its size is right or unknown, else one of the same name and the
            right size below a root, else the one in its place, else the only one of that name.
            In its place is below each root, and where the project's default path or the file name
            itself, if absolute, say. None where there is none, or several of which none is right.
        """
        places = self._in_place(filename)
        here = next(iter(places), [])
        if len(here) == 1 and size is None:
            return here[0]
        for path in (path for place in places for path in place):
            if path.stat().st_size == size:
                return path
        others = self._elsewhere(filename)
        for path in others:
            if size is not None and path.stat().st_size == size:
                return path
        possible = here or others
        return possible[0] if len(possible) == 1 else None

    def why_not(self, filename: str, size: int | None) -> tuple[str, str]:
        """For an image that is not found: what is wrong, and what to do."""
        found = next(iter(self._in_place(filename)), self._elsewhere(filename))
        if not found:
            return f"no such image in {self}", "put it there, or give the folder that holds it"
        stated = "whose size is not stated" if size is None else f"of {size} bytes"
        message = f"{len(found)} files have this name, and the one {stated} cannot be told: "
        message += ", ".join(map(str, found[:_SHOWN])) + (", ..." if len(found) > _SHOWN else "")
        return message, "give only the folder of the annotated ones, or rename the others"

    def _in_place(self, filename: str) -> list[list[Path]]:
        """The files at each of the places where it should be, the likeliest place first."""
        inside = _possible_names(filename)
        outside = [filename] if _is_absolute(filename) else []
        if self.default_path:
            # VIA joins the two without a slash between them.
            full = self.default_path + filename
            (outside if _is_absolute(full) else inside).append(full)
        places = [[root / name for root in self.roots] for name in inside]
        places += [[Path(name)] for name in outside]
        return [found for found in map(_existing, places) if found]

    def _elsewhere(self, filename: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for root in self.roots:
                for path in sorted(root.rglob("*")):
                    self._by_name.setdefault(path.name, []).append(path)
        names = _possible_names(filename)
        return _existing([path for name in names for path in self._by_name.get(name, [])])


def _existing(paths: list[Path]) -> list[Path]:
    """Those that are files, each file once."""
    found: dict[str, Path] = {}
    for path in paths:
        # Unlike Path.is_file, it answers for a name that no file system would take.
        if os.path.isfile(path):  # noqa: PTH113 - see above
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def _possible_names(filename: str) -> list[str]:
    """What the file of an entry may be called below the root, the likeliest first."""
    names = []
    if not _is_absolute(filename):
        names.append(filename)
    names.append(_base_name(filename))
    if "://" in filename:
        base = _base_name(urlsplit(filename).path)
        names += [base, unquote(base)]
    return [name for name in dict.fromkeys(names) if name not in ("", ".", "..")]


def _is_absolute(filename: str) -> bool:
    return "://" in filename or re.match(r"[/\\]|[A-Za-z]:[/\\]", filename) is not None


def _base_name(filename: str) -> str:
    # Annotated on Windows, trained on Unix: both kinds of slash separate folders.
    return re.split(r"[/\\]", filename)[-1]


def header_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of an image as it is shown, from its header; the pixels are not decoded.

    The EXIF orientation is honoured, as VIA and Detectron2's reader do.

    Raises:
        UserError: no such file, or no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            orientation = _orientation(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def _orientation(image: Image.Image) -> object:
    # Pillow looks for a PNG's EXIF behind the pixels, and decodes them, unless it came before.
    if image.format == "PNG" and "exif" not in image.info:
        return None
    return image.getexif().get(_EXIF_ORIENTATION)


def check_readable(path: str | Path) -> None:
    """Make sure that an image file is whole.

    A JPEG or a PNG that has its end marker is taken for whole; any other file is decoded.

    Raises:
        UserError: no such file, no image, or the file breaks off.
    """
    try:
        with Path(path).open("rb") as stream:
            if _has_end(stream):
                return
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _has_end(stream: BinaryIO) -> bool:
    start = stream.read(len(_PNG_START))
    size = stream.seek(0, 2)
    if start == _PNG_START:
        stream.seek(max(0, size - _TAIL))
        return _PNG_END in stream.read()
    if start.startswith(_JPEG_START):
        # A thumbnail in the header has an end marker too: only what follows the scan counts.
        scan = next((at for marker, at in _segments(stream) if marker == _JPEG_SCAN), None)
        if scan is not None:
            stream.seek(max(scan, size - _TAIL))
            return _JPEG_END in stream.read()
    return False


def _segments(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """(marker, position) of a JPEG's segments, up to the first scan."""
    position = len(_JPEG_START)
    while True:
        stream.seek(position)
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return
        if head[1] == 0xFF:  # a fill byte
            position += 1
            continue
        yield head[1], position
        if head[1] == _JPEG_SCAN:
            return
        position += 2 + int.from_bytes(head[2:4], "big")


def _unreadable(path: str | Path, error: Exception) -> UserError:
    if isinstance(error, UnidentifiedImageError):
        found = "not an image"
    elif isinstance(error, OSError) and error.strerror:
        found = error.strerror
    else:
        found = str(error)
    return UserError("cannot read the image", file=path, found=found, expected="a whole image file")
