"""What there is to look at: the images that were dropped, or a sample."""

import hashlib
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from roilab.data.figures.sample_set import scene
from roilab.draw import Picture
from roilab.inference.downloads import png
from roilab.inference.uploads import decode_upload, distinct

SUFFIXES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif")
MOST = 50
SAMPLE = ("val", 1, 256, 0)  # split, number, size and seed of the sample set


@dataclass(frozen=True)
class Shot:
    """An image to look at.

    Attributes:
        name, size: of its file; the size in bytes.
        digest: stands for its content, in caches.
        read: gives its pixels, and the seconds that reading took; a UserError where it cannot.
    """

    name: str
    size: int
    digest: str
    read: Callable[[], tuple[Picture, float]]


def shots_of(files: Sequence[UploadedFile]) -> list[Shot]:
    """The files that were dropped, whether they are images or not."""
    names = distinct(file.name for file in files)
    return [_shot(name, file) for name, file in zip(names, files, strict=True)]


def sample_shot() -> Shot:
    """What is shown before anything is dropped."""
    return _shot("sample.png", io.BytesIO(_sample()))


def _shot(name: str, file: io.BytesIO) -> Shot:
    content = file.getbuffer()
    digest = hashlib.sha256(content).hexdigest()
    return Shot(name, content.nbytes, digest, lambda: _decoded(digest, name, file))


# Names may differ where content does not: they stand in messages, and are no part of the key.
@st.cache_resource(max_entries=4, show_spinner=False)
def _decoded(digest: str, _name: str, _file: io.BytesIO) -> tuple[Picture, float]:
    began = time.perf_counter()
    picture = decode_upload(_name, _file.getvalue())
    return picture, time.perf_counter() - began


@st.cache_data(show_spinner=False)
def _sample() -> bytes:
    return png(np.ascontiguousarray(scene(*SAMPLE).image[:, :, ::-1]))
