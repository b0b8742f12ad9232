"""Image files: finding those that a VIA file names, their sizes, their pixels, and broken ones."""

import functools
import itertools
import mmap
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from roilab.errors import UserError, is_lost_worker
from roilab.text import first_of

_EXIF_ORIENTATION = 0x0112
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Where Pillow looks for the orientation of a PNG, beside the chunk eXIf: keywords of texts.
_ORIENTING_TEXTS = (b"XML:com.adobe.xmp", b"xmp", b"exif", b"Raw profile type exif")
_TAIL = 64 * 1024
_JPEG_START, _JPEG_END, _JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"


class ImageFolder:
    """Folders of images, searched once, and only when an image is not in its place.

    VIA puts `default_path` before every file name. Raises UserError if a root is no folder.
    """

    def __init__(self, *roots: str | Path, default_path: str = "") -> None:
        self.roots = tuple(map(Path, roots))
        self.default_path = default_path
        for root in self.roots:
            if not root.is_dir():
                expected = "the folder of the images"
                raise UserError("no such folder of images", file=root, expected=expected)

    def __str__(self) -> str:
        return " or ".join(map(str, self.roots))

    def find(self, filename: str, size: int | None) -> Path | None:
        """The file that a VIA entry means.

        Args:
            filename: a name, a path below a root, an absolute path or a URL, as VIA holds it.
            size: bytes of the file, which tell files of one name apart; None where unknown.

        Returns:
            A file in its place if its size is right or unknown, else one of the same name and the
            right size below a root, else the one in its place, else the only one of that name.
            The places are below each root, and the project's default path or the file name itself,
            if absolute. None where there is none, or several of which none is right.
        """
        places = self._in_place(filename)
        here = next(iter(places), [])
        if size is None and len(here) == 1:
            return here[0]
        for path in itertools.chain(*places):
            if path.stat().st_size == size:
                return path
        others = self._elsewhere(filename)
        for path in others:
            if path.stat().st_size == size:
                return path
        possible = here or others
        return possible[0] if len(possible) == 1 else None

    def keeps_folder(self, filename: str, path: Path) -> bool:
        """Whether the result of `find` lies in the folder that a relative file name states.

        True for names that state none: an absolute path or a URL holds on another machine only by
        its last part.
        """
        stated = re.sub(r"^(\.\./)+", "", os.path.normpath(_forward(filename)))
        folder = stated.rpartition("/")[0]
        if not folder or _is_absolute(filename):
            return True
        names = (filename, self.default_path + filename)
        if any(path == root / _forward(name) for root in self.roots for name in names):
            return True
        # The root may be that folder itself, or the folder may be further below.
        return path.parent.absolute().as_posix().endswith(f"/{folder}")

    def why_not(self, filename: str, size: int | None) -> tuple[str, str]:
        """The problem of an image that is not found, and its remedy."""
        files = next(iter(self._in_place(filename)), self._elsewhere(filename))
        if not files:
            remedy = "put it there, or give the folder that holds it"
            return f"no such image in {self}", remedy
        stated = "whose size is not stated" if size is None else f"of {size} bytes"
        message = f"{len(files)} files have this name, and it is unclear which is the one {stated}"
        remedy = "give only the folder of the annotated ones, or rename the others"
        return f"{message}: {first_of(files)}", remedy

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
        return [files for files in map(_existing, places) if files]

    def _elsewhere(self, filename: str) -> list[Path]:
        """The files with the name of an image anywhere below the roots."""
        exact = []
        stripped = []
        for name in _possible_names(filename):
            for path in self._by_stripped_name.get(name.strip(), ()):
                if path.name == name:
                    exact.append(path)
                elif path.name.strip() == name:
                    stripped.append(path)
        # Names are read without the white space around them, which a file's own may have.
        return _existing(exact) or _existing(stripped)

    @functools.cached_property
    def _by_stripped_name(self) -> dict[str, list[Path]]:
        files = defaultdict(list)
        for root in self.roots:
            for path in sorted(root.rglob("*")):
                files[path.name.strip()].append(path)
        return files


def _existing(paths: list[Path]) -> list[Path]:
    """The paths that are files, without duplicates."""
    files: dict[str, Path] = {}
    for path in paths:
        # Unlike Path.is_file, it answers for a name that no file system would take.
        if os.path.isfile(path):  # noqa: PTH113 - see above
            files.setdefault(os.path.realpath(path), path)
    return list(files.values())


def _possible_names(filename: str) -> list[str]:
    """Possible paths of an entry's file below the root, the likeliest first."""
    names = [] if _is_absolute(filename) else [filename, _forward(filename)]
    names.append(_base_name(filename))
    if "://" in filename:
        base = _base_name(urlsplit(filename).path)
        names += [base, unquote(base)]
    return [name for name in dict.fromkeys(names) if name not in ("", ".", "..")]


def _is_absolute(filename: str) -> bool:
    return "://" in filename or re.match(r"[/\\]|[A-Za-z]:[/\\]", filename) is not None


def _forward(filename: str) -> str:
    # Annotated on Windows, trained on Unix: both kinds of slash separate folders.
    return filename.replace("\\", "/")


def _base_name(filename: str) -> str:
    return _forward(filename).rpartition("/")[-1]


@contextmanager
def errors_of_image(path: str | Path) -> Iterator[None]:
    """Within the block, what Pillow's readers raise becomes the UserError of an unreadable file."""
    try:
        yield
    except UserError as error:
        raise error.replace(file=path) from error
    except Image.DecompressionBombError as error:
        message = "the image has too many pixels"
        remedy = "make it smaller, or cut it into several"
        raise UserError(message, file=path, found=error, remedy=remedy) from error
    except Exception as error:
        if is_lost_worker(error):
            raise
        problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            problem = "not an image"
        message = "cannot read the image"
        expected = "a whole image file"
        raise UserError(message, file=path, found=problem, expected=expected) from error


def header_size(path: str | Path) -> tuple[int, int]:
    """(width, height) of an image as it is shown, from its header.

    The EXIF orientation is honoured, as VIA and Detectron2's reader do. The pixels are not decoded,
    unless it is a PNG whose orientation may stand behind them. Raises UserError for no image.
    """
    with errors_of_image(path), Image.open(path) as image:
        return _shown_size(image)


def whole_size(path: str | Path) -> tuple[int, int]:
    """The `header_size` of an image file; a UserError if the file breaks off.

    A JPEG or a PNG that has its end marker counts as whole; any other file is decoded.
    """
    with errors_of_image(path):
        with Image.open(path) as image:
            stream = cast(BinaryIO, image.fp)  # of an image that was just opened
            position = stream.tell()
            is_whole = _has_end(stream)
            stream.seek(position)
            size = _shown_size(image)
        if not is_whole:
            # Afresh: for the orientation of a PNG, its pixels may have been read already, and
            # Pillow says only once that they are broken.
            with Image.open(path) as image:
                image.load()
    return size


def _shown_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) of a just opened image, turned as its EXIF says."""
    width, height = image.size
    turned = _orientation(image, decode=False) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def read_rgb(
    path: str | Path, check: Callable[[int, int], None] | None = None
) -> npt.NDArray[np.uint8]:
    """The pixels of an image file, for training and for prediction: see `to_rgb`.

    Args:
        check: takes the width and height of the header, and may raise a UserError.

    Raises:
        UserError: no such file, no image, or more pixels than Pillow decodes, see
            `PIL.Image.MAX_IMAGE_PIXELS`; the last, and that of `check`, before they are decoded.
    """
    # From a stream, as Detectron2's reader: by its name, Pillow turns some TIFFs otherwise.
    with errors_of_image(path), Path(path).open("rb") as stream, Image.open(stream) as image:
        if check is not None:
            check(*image.size)
        return to_rgb(image)


def to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The pixels of a just opened image as a new H x W x 3 RGB array, turned as its EXIF says.

    Of 8 bits they are what Detectron2's reader gives: transparency is left out, colours are not
    managed. Of 16 bits they are the upper 8, in greys as in colours, whatever part of the range the
    image uses; that reader makes a grey of 16 bits white. Of several frames, the first.

    Raises:
        ValueError: its pixels are signed or numbers of 32 bits, of which none is known to be white.
        Exception: Pillow's readers raise what they like on bad content.
    """
    # Before the pixels are read: with them, a TIFF's reader forgets it.
    turn = _TURNED.get(_orientation(image, decode=True))
    bits = _bits(image)
    if bits > 8 and image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError("its pixels are signed, or of 32 bits: save it with 8 or 16, unsigned")
    if turn is not None:
        image = image.transpose(turn)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))  # convert would copy


def bits_of(path: str | Path) -> int:
    """Bits of an image's values in its file: 16, 12, or 8 and less; errors as of `header_size`."""
    with errors_of_image(path), Image.open(path) as image:
        return _bits(image)


def _bits(image: Image.Image) -> int:
    """The bits of a value of a just opened image: 16, 12 of a TIFF that says so, or 8."""
    # How the pixels are stored, such as "I;16B" or "RGB;16L"; unknown once they are read.
    stored = [str(tile.args) for tile in getattr(image, "tile", ())]
    if any("I;12" in text for text in stored):
        return 12
    if image.mode.startswith("I;16") or (image.mode != "I" and any(";16" in s for s in stored)):
        return 16
    # Where Pillow has no mode for greys of 16 bits in a PNG or PGM, it holds them in 32.
    return 16 if image.mode == "I" and image.format in ("PNG", "PPM") else 8


def _orientation(image: Image.Image, *, decode: bool) -> Any:
    """The EXIF orientation of a just opened image; None where there is none.

    Without `decode`, a PNG's pixels are decoded only if it may stand behind them.
    """
    try:
        if image.format == "PNG" and not decode and not _orients_behind_pixels(image):
            # A PNG's own method decodes the pixels, to see what stands behind them.
            return Image.Image.getexif(image).get(_EXIF_ORIENTATION)
        return image.getexif().get(_EXIF_ORIENTATION)
    except Exception:  # Detectron2's reader, too, shows it as it is stored
        return None


def _orients_behind_pixels(image: Image.Image) -> bool:
    """Whether Pillow may find the orientation of a PNG only when it has read the pixels."""
    if "exif" in image.info:
        return False
    position = image.tile[0].offset - 8  # type: ignore[attr-defined] # where the pixels begin
    file = image.fp.fileno()  # type: ignore[attr-defined] # of an image that was just opened
    # Pixels come in many small pieces: steps in memory are faster than seeking each of them.
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
        while len(head := content[position : position + 8]) == 8:
            length = int.from_bytes(head[:4], "big")
            kind = head[4:]
            if kind == b"eXIf":
                return True
            if kind in (b"tEXt", b"zTXt", b"iTXt"):
                keyword = content[position + 8 : position + 88].partition(b"\0")[0]
                if keyword in _ORIENTING_TEXTS:
                    return True
            position += 12 + length
    return False


def _has_end(stream: BinaryIO) -> bool:
    """Whether a JPEG or PNG has its end marker; False for any other file."""
    stream.seek(0)
    start = stream.read(len(_PNG_START))
    size = stream.seek(0, 2)
    if start == _PNG_START:
        pixels = 0
        end = _PNG_END
    elif start.startswith(_JPEG_START):
        # A thumbnail in the header has an end marker too: only what follows the scan counts.
        pixels = _first_scan(stream)
        end = _JPEG_END
    else:
        return False
    stream.seek(max(pixels, size - _TAIL))
    return end in stream.read()


def _first_scan(stream: BinaryIO) -> int:
    """The position of a JPEG's first scan; the end of the file where there is none."""
    position = len(_JPEG_START)
    while True:
        stream.seek(position)
        head = stream.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            return stream.seek(0, 2)
        if head[1] == _JPEG_SCAN:
            return position
        # 0xFF is a fill byte.
        position += 1 if head[1] == 0xFF else 2 + int.from_bytes(head[2:4], "big")
