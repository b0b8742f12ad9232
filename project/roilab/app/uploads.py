"""Uploaded images and videos, decoded within bounds, or a sample; PNG, mp4 and names of downloads.

No name is opened: it stands in messages and in the names of downloads, and no more. The kind of a
file follows from its content, whatever its name ends in.
"""

import hashlib
import io
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image, UnidentifiedImageError
from streamlit.runtime.uploaded_file_manager import UploadedFile

from roilab.draw import Picture
from roilab.errors import UserError
from roilab.image_files import errors_of_image, to_rgb
from roilab.inference.sources import Frame
from roilab.inference.video import probe, read_video, video_writer
from roilab.synthetic.sample_set import sample_scene

MAX_BYTES, MAX_VIDEO_BYTES = 64 << 20, 200 << 20
# A hundred masks of so many pixels are 2.5 GB while the model makes them.
MAX_PIXELS = 25_000_000
MAX_FRAMES = 120
MAX_VIDEO_PIXELS = 100_000_000  # of all frames together: 300 MB
# Pillow's readers of formats that people's cameras and programs write, and no others.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_NAME_LENGTH = 80
_NO_NAME = "upload"
# What files begin with that are no images.
_KINDS = {b"PK": "a zip archive", b"%PDF": "a PDF", b"<": "a page or SVG", b"{": "JSON"}
IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif")
VIDEOS = ("mp4", "mov", "m4v", "mkv", "webm", "avi")
_SAMPLE = ("val", 1, 256, 0)  # split, number, size and seed of the sample set
_START = 16  # bytes, which tell a video


def decode_upload(name: str, data: bytes) -> Picture:
    """The content of an image file as an H x W x 3 RGB array, turned as its EXIF says.

    Of several frames, the first. The size is read from the header, and an image that is too large
    is refused before a pixel is decoded.

    Args:
        name: see `clean_name`, for messages.

    Raises:
        UserError: too large, no image of `FORMATS`, or one that breaks off.
    """
    _check_length(name, data, MAX_BYTES)
    with errors_of_image(name):
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            is_large = image.width * image.height > MAX_PIXELS
            size = f"{image.width} x {image.height} pixels"
        except Image.DecompressionBombError as error:
            is_large, size = True, str(error)
        except UnidentifiedImageError as error:
            kinds = (kind for start, kind in _KINDS.items() if data.startswith(start))
            other = "a video" if container_of(data) else "something else"
            raise UserError(
                "this is no image",
                found=next(kinds, other),
                expected=f"the content of a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file",
            ) from error
        if is_large:
            raise UserError(
                "the image has too many pixels",
                found=size,
                expected=f"at most {MAX_PIXELS / 1e6:g} million",
                remedy="make it smaller",
            )
        return to_rgb(image)


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


def decode_clip(name: str, data: bytes) -> Clip:
    """The first frames of a video file.

    It is opened as the kind of container that its first bytes say, never as a list of other files,
    and under a name of our own.

    Args:
        name: see `clean_name`, for messages.

    Raises:
        UserError: too large, no video, or not one frame can be read.
    """
    _check_length(name, data, MAX_VIDEO_BYTES)
    kind = container_of(data)
    if kind is None:
        raise UserError("this is no video", file=name, expected="MP4, MOV, MKV, WebM or AVI")
    frames: list[Picture] = []
    seconds: list[float] = []
    ends = None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(data)
        try:
            info = probe(path, kind, MAX_VIDEO_PIXELS)
            for frame, moment in read_video(path, kind, MAX_VIDEO_PIXELS):
                pixels = frame.shape[0] * frame.shape[1]
                is_full = (len(frames) + 1) * pixels > MAX_VIDEO_PIXELS
                if is_full or len(frames) == MAX_FRAMES:
                    ends = f"only the first {len(frames)} frames are taken"
                    break
                frames.append(frame)
                seconds.append(moment)
        except UserError as error:
            if not frames:
                raise error.replace(file=name) from error
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


def png(picture: Picture) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _check_length(name: str, data: bytes, most: int) -> None:
    if not data:
        raise UserError("the file is empty", file=name)
    if len(data) > most:
        raise UserError(
            "the file is too large",
            file=name,
            found=f"{len(data) / 1e6:.1f} MB",
            expected=f"at most {most / 1e6:.1f} MB",
        )


def container_of(data: bytes) -> str | None:
    """FFmpeg's name of a video's container, by its first bytes; None: it is no video."""
    if data[4:8] == b"ftyp":
        # A HEIF or AVIF image is in the same container.
        return None if data[8:11] in (b"hei", b"hev", b"mif", b"msf", b"avi") else "mp4"
    if data.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    return "avi" if data.startswith(b"RIFF") and data[8:12] == b"AVI " else None


def clean_name(name: str) -> str:
    """A name as it can be shown and stored: no folders, no control characters, not long."""
    base = re.split(r"[/\\]", name)[-1]
    # Controls, marks that turn the direction of writing, halves of characters.
    printed = "".join(c for c in base if not unicodedata.category(c).startswith("C"))
    words = " ".join(printed.split()).strip(". ")
    if len(words) > _NAME_LENGTH:
        suffix = Path(words).suffix
        end = suffix if len(suffix) <= 8 else ""
        words = words[: _NAME_LENGTH - len(end)] + end
    return words or _NO_NAME


def stem_of(name: str) -> str:
    """The start of a file name made from what a user calls something: letters, digits, - and _."""
    return re.sub(r"[^\w-]+", "_", Path(clean_name(name)).stem).strip("_") or _NO_NAME


def distinct(names: Iterable[str]) -> list[str]:
    """Clean names of which no two are alike, in order."""
    unique: list[str] = []
    for name in map(clean_name, names):
        stem = Path(name).stem
        suffix = Path(name).suffix
        number = 1
        while name in unique:
            number += 1
            name = f"{stem}-{number}{suffix}"
        unique.append(name)
    return unique


@dataclass(frozen=True, eq=False)
class Upload:
    """A file as it was sent.

    Attributes:
        name: shown and stored, and never opened.
        size: in bytes.
        digest: stands for its content, in caches.
        is_video: whether it begins as a video does.
    """

    name: str
    size: int
    digest: str
    file: io.BytesIO
    is_video: bool


@dataclass(frozen=True, eq=False)
class Shot:
    """An image to predict, or a frame of a video.

    Attributes:
        name, size: of its file; the size in bytes.
        digest: stands for its content, in caches.
        read: returns its pixels, and the seconds that reading took; may raise UserError.
        frame: as the video has it; None for an image.
        rate: of the video, in frames a second; None where that is not known.
    """

    name: str
    size: int
    digest: str
    read: Callable[[], tuple[Picture, float]]
    frame: Frame | None = None
    rate: Fraction | None = None


def uploads_of(files: Sequence[UploadedFile]) -> list[Upload]:
    """The files that were dropped, whether they can be read or not."""
    names = distinct(file.name for file in files)
    return [_upload(name, file) for name, file in zip(names, files, strict=True)]


@st.cache_resource(show_spinner=False)
def sample_upload() -> Upload:
    """The image of the page before the user drops one."""
    picture = np.ascontiguousarray(sample_scene(*_SAMPLE).image[:, :, ::-1])
    return _upload("sample.png", io.BytesIO(png(picture)))


def _upload(name: str, file: io.BytesIO) -> Upload:
    content = file.getbuffer()
    digest = hashlib.sha256(content).hexdigest()
    is_video = container_of(bytes(content[:_START])) is not None
    return Upload(name, content.nbytes, digest, file, is_video)


def shot_of(upload: Upload) -> Shot:
    """The image of an upload."""
    return Shot(upload.name, upload.size, upload.digest, lambda: _decoded(upload.digest, upload))


# Files of one content may differ in their names, which stand in messages only: no part of the key.
@st.cache_resource(max_entries=4, show_spinner=False)
def _decoded(digest: str, _upload: Upload) -> tuple[Picture, float]:
    start = time.perf_counter()
    picture = decode_upload(_upload.name, _upload.file.getvalue())
    return picture, time.perf_counter() - start


@st.cache_resource(max_entries=2, show_spinner="Reading the video")
def cached_clip(digest: str, _upload: Upload) -> tuple[Clip, float]:
    """The beginning of the video with that digest, and the seconds that reading took."""
    start = time.perf_counter()
    clip = decode_clip(_upload.name, _upload.file.getvalue())
    return clip, time.perf_counter() - start


def shots_of(upload: Upload, clip: Clip, reading: float) -> list[Shot]:
    """The frames of a video; each has its share of the seconds of reading."""
    share = reading / len(clip.frames)

    def reader(picture: Picture) -> Callable[[], tuple[Picture, float]]:
        return lambda: (picture, share)

    return [
        Shot(
            name=f"{stem_of(upload.name)}_{index:06}.jpg",
            size=0,
            digest=f"{upload.digest}/{index}",
            read=reader(picture),
            frame=Frame(picture, upload.name, index=index, seconds=seconds),
            rate=clip.rate,
        )
        for index, (picture, seconds) in enumerate(zip(clip.frames, clip.seconds, strict=True))
    ]
