"""Inputs of the page: the images and videos that the user dropped, or a sample."""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from roilab.app.downloads import Moment, png
from roilab.app.uploads import Clip, container_of, decode_clip, decode_upload, distinct, stem_of
from roilab.draw import Picture
from roilab.synthetic.sample_set import sample_scene

IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif")
VIDEOS = ("mp4", "mov", "m4v", "mkv", "webm", "avi")
_SAMPLE = ("val", 1, 256, 0)  # split, number, size and seed of the sample set
_START = 16  # bytes, which tell a video


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
        moment: of a frame.
    """

    name: str
    size: int
    digest: str
    read: Callable[[], tuple[Picture, float]]
    moment: Moment | None = None


def uploads_of(files: Sequence[UploadedFile]) -> list[Upload]:
    """The files that were dropped, whether they can be read or not."""
    names = distinct(file.name for file in files)
    return [_upload(name, file) for name, file in zip(names, files, strict=True)]


def sample_upload() -> Upload:
    """The image of the page before the user drops one."""
    return _upload("sample.png", io.BytesIO(_sample()))


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

    def reader(frame: Picture) -> Callable[[], tuple[Picture, float]]:
        return lambda: (frame, share)

    return [
        Shot(
            name=f"{stem_of(upload.name)}_{index:06}.jpg",
            size=0,
            digest=f"{upload.digest}/{index}",
            read=reader(frame),
            moment=Moment(upload.name, index, seconds, clip.rate),
        )
        for index, (frame, seconds) in enumerate(zip(clip.frames, clip.seconds, strict=True))
    ]


@st.cache_data(show_spinner=False)
def _sample() -> bytes:
    return png(np.ascontiguousarray(sample_scene(*_SAMPLE).image[:, :, ::-1]))
