"""Uploaded images and videos, decoded within bounds, and names that are only shown.

No name is opened: it stands in messages and in the names of downloads, and no more. The kind of a
file follows from its content, whatever its name ends in.
"""

import io
import re
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from roilab.draw import Picture
from roilab.errors import UserError
from roilab.image_files import to_rgb
from roilab.inference.video import probe, read_video, video_writer

MAX_BYTES, MAX_VIDEO_BYTES = 64 << 20, 200 << 20
# A hundred masks of so many pixels are 2.5 GB while the model makes them.
MAX_PIXELS = 25_000_000
MAX_FRAMES = 120
MAX_VIDEO_PIXELS = 100_000_000  # of all frames together: 300 MB
# Pillow's readers of formats that people's cameras and programs write, and no others.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_NAME_LENGTH = 80
_NO_NAME = "upload"
_MATROSKA, _RIFF = b"\x1a\x45\xdf\xa3", b"RIFF"


def decode_upload(
    name: str, data: bytes, *, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Picture:
    """The content of an image file as an H x W x 3 RGB array, turned as its EXIF says.

    Of several frames, the first. The size is read from the header, and an image that is too large
    is refused before a pixel is decoded.

    Args:
        name: the sender's, for messages.

    Raises:
        UserError: too large, no image of `FORMATS`, or one that breaks off.
    """
    shown = clean_name(name)
    _check_length(name, data, max_bytes)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise _too_many_pixels(shown, f"{width} x {height} pixels", max_pixels)
            return to_rgb(image)
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(shown, error, max_pixels) from error
    except UnidentifiedImageError as error:
        raise UserError(
            "this is no image",
            file=shown,
            found=_looks_like(data),
            expected=f"the content of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file",
        ) from error
    except Exception as error:  # Pillow's readers raise what they like on bad content
        raise UserError(
            "cannot read the image",
            file=shown,
            found=str(error) or type(error).__name__,
            expected="a whole image file",
        ) from error


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames from the beginning of a video.

    Attributes:
        frames: H x W x 3 RGB.
        seconds: of each frame, since the first.
        rate, tick: see `roilab.inference.video.VideoInfo`.
        ends: the reason why there are no more frames; None: it is the whole video.
    """

    frames: tuple[Picture, ...]
    seconds: tuple[float, ...]
    rate: Fraction | None
    tick: Fraction
    ends: str | None


def decode_clip(
    name: str,
    data: bytes,
    *,
    max_bytes: int = MAX_VIDEO_BYTES,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_VIDEO_PIXELS,
) -> Clip:
    """The first frames of a video file.

    It is opened as the kind of container that its first bytes say, never as a list of other files,
    and under a name of our own.

    Args:
        name: the sender's, for messages.
        max_pixels: of all frames that are kept.

    Raises:
        UserError: too large, no video, or not one frame can be read.
    """
    shown = clean_name(name)
    _check_length(name, data, max_bytes)
    kind = container_of(data)
    if kind is None:
        raise UserError("this is no video", file=shown, expected="MP4, MOV, MKV, WebM or AVI")
    frames: list[Picture] = []
    seconds: list[float] = []
    ends = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(data)
        try:
            info = probe(path, kind, max_pixels)
            for frame, moment in read_video(path, kind, max_pixels):
                pixels = frame.shape[0] * frame.shape[1]
                if len(frames) == max_frames or (len(frames) + 1) * pixels > max_pixels:
                    ends = f"only the first {len(frames)} frames are taken"
                    break
                frames.append(frame)
                seconds.append(moment)
        except UserError as error:
            if not frames:
                raise error.replace(file=shown) from error
            ends = f"{error.message}: {error.found}"
    return Clip(tuple(frames), tuple(seconds), info.rate, info.tick, ends)


def encode_clip(pictures: Iterable[Picture], clip: Clip) -> bytes:
    """Pictures of the frames of a clip as an mp4 of the same times."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.mp4"
        with video_writer(path, clip.rate, clip.tick) as add:
            for picture, moment in zip(pictures, clip.seconds, strict=True):
                add(picture, moment)
        return path.read_bytes()


def _check_length(name: str, data: bytes, max_bytes: int) -> None:
    """Make sure that a file has bytes, and not too many.

    Raises:
        UserError: it has none, or too many.
    """
    if not data:
        raise UserError("the file is empty", file=clean_name(name))
    if len(data) > max_bytes:
        raise UserError(
            "the file is too large",
            file=clean_name(name),
            found=f"{len(data) / 1e6:.1f} MB",
            expected=f"at most {max_bytes / 1e6:.1f} MB",
        )


def container_of(data: bytes) -> str | None:
    """FFmpeg's name of a video's container, by its first bytes; None: it is no video."""
    if data[4:8] == b"ftyp":
        # A HEIF or AVIF image is in the same container.
        return None if data[8:11] in (b"hei", b"hev", b"mif", b"msf", b"avi") else "mp4"
    if data.startswith(_MATROSKA):
        return "matroska"
    return "avi" if data.startswith(_RIFF) and data[8:12] == b"AVI " else None


def clean_name(name: str) -> str:
    """A name as it can be shown and stored: no folders, no control characters, not long."""
    base = re.split(r"[/\\]", name)[-1]
    # Controls, marks that turn the direction of writing, halves of characters.
    printed = "".join(c for c in base if not unicodedata.category(c).startswith("C"))
    words = " ".join(printed.split()).strip(". ")
    if len(words) > _NAME_LENGTH:
        stem, dot, suffix = words.rpartition(".")
        end = dot + suffix if stem and len(suffix) < 8 else ""
        words = words[: _NAME_LENGTH - len(end)] + end
    return words or _NO_NAME


def stem_of(name: str) -> str:
    """The start of a file name made from what a user calls something: letters, digits, - and _."""
    stem = clean_name(name)
    if "." in stem:
        stem = stem.rpartition(".")[0]
    return re.sub(r"[^\w-]+", "_", stem).strip("_") or _NO_NAME


def distinct(names: Iterable[str]) -> list[str]:
    """Clean names of which no two are alike, in order."""
    unique: list[str] = []
    for name in map(clean_name, names):
        stem, dot, suffix = name.rpartition(".") if "." in name else (name, "", "")
        number = 1
        while name in unique:
            number += 1
            name = f"{stem}-{number}{dot}{suffix}"
        unique.append(name)
    return unique


def _too_many_pixels(name: str, size: object, most: int) -> UserError:
    return UserError(
        "the image has too many pixels",
        file=name,
        found=size,
        expected=f"at most {most / 1e6:g} million",
        remedy="make it smaller",
    )


def _looks_like(data: bytes) -> str:
    starts = {b"PK": "a zip archive", b"%PDF": "a PDF", b"<": "a page or SVG", b"{": "JSON"}
    for start, kind in starts.items():
        if data.startswith(start):
            return kind
    return "a video" if container_of(data) else "something else"
