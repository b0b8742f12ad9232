"""Inputs of the page: the images and videos that the user dropped, or a sample."""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from roilab.draw import Picture
from roilab.inference.clips import Clip, decode_clip
from roilab.inference.downloads import Moment, png
from roilab.inference.uploads import container_of, decode_upload, distinct, stem_of
from roilab.synthetic.sample_set import sample_scene

IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif")
VIDEOS = ("mp4", "mov", "m4v", "mkv", "webm", "avi")
_SAMPLE = ("val", 1, 256, 0)  # split, number, size and seed of the sample set
_START = 16  # bytes, by which a video is known


@dataclass(frozen=True, eq=False)
class Upload:
    """A file as it was sent.

    Attributes:
        name: it is shown and stored, and never opened.
        size: in bytes.
        digest: stands for its content, in caches.
        is_video: it begins as a video does.
    """

    name: str
    size: int
    digest: str
    file: io.BytesIO
    is_video: bool


@dataclass(frozen=True, eq=False)
class Shot:
    """An image to look at, or a frame of a video.

    Attributes:
        name, size: of its file; the size in bytes.
        digest: stands for its content, in caches.
        read: gives its pixels, and the seconds that reading took; a UserError where it cannot.
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
    """The image that is shown before the user drops one."""
    return _upload("sample.png", io.BytesIO(_sample()))


def _upload(name: str, file: io.BytesIO) -> Upload:
    content = file.getbuffer()
    digest = hashlib.sha256(content).hexdigest()
    is_video = container_of(bytes(content[:_START])) is not None
    return Upload(name, content.nbytes, digest, file, is_video)


def shot_of(upload: Upload) -> Shot:
    """The image of an upload."""
    return Shot(upload.name, upload.size, upload.digest, lambda: _decoded(upload.digest, upload))


# Names may differ where content does not: they stand in messages, and are no part of the key.
@st.cache_resource(max_entries=4, show_spinner=False)
def _decoded(digest: str, _upload: Upload) -> tuple[Picture, float]:
    began = time.perf_counter()
    picture = decode_upload(_upload.name, _upload.file.getvalue())
    return picture, time.perf_counter() - began


@st.cache_resource(max_entries=2, show_spinner="Reading the video")
def clip_of(digest: str, _upload: Upload) -> tuple[Clip, float]:
    """The beginning of the video with that digest, and the seconds that reading took."""
    began = time.perf_counter()
    clip = decode_clip(_upload.name, _upload.file.getvalue())
    return clip, time.perf_counter() - began


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
