"""Videos of strangers: their beginning, within bounds, and nothing that they refer to."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from roilab.draw import Picture
from roilab.errors import UserError
from roilab.inference.clips import Clip, decode_clip, encode_clip

COUNT, PIXELS = 12, 48 * 64


def frames() -> tuple[Picture, ...]:
    """Grey pictures, each lighter than the one before."""
    return tuple(np.full((48, 64, 3), 20 * index, np.uint8) for index in range(COUNT))


@pytest.fixture(scope="module")
def mp4() -> bytes:
    times = tuple(index / 8 for index in range(COUNT))
    return encode_clip(frames(), Clip(frames(), times, Fraction(8), Fraction(1, 16000), None))


def greys(clip: Clip) -> list[float]:
    return [float(frame.mean()) for frame in clip.frames]


def test_what_is_encoded_is_decoded(mp4: bytes) -> None:
    clip = decode_clip("a.mp4", mp4)
    assert clip.ends is None
    assert clip.rate == 8
    assert clip.seconds == pytest.approx([index / 8 for index in range(COUNT)])
    assert greys(clip) == pytest.approx([20 * index for index in range(COUNT)], abs=4)


@pytest.mark.parametrize(
    ("bounds", "count"),
    [
        ({"max_frames": 5}, 5),
        ({"max_frames": COUNT}, COUNT),
        ({"max_pixels": 7 * PIXELS}, 7),
        ({"max_pixels": 8 * PIXELS - 1}, 7),
        ({"max_pixels": PIXELS}, 1),
    ],
)
def test_only_the_beginning_is_taken(mp4: bytes, bounds: dict[str, int], count: int) -> None:
    clip = decode_clip("a.mp4", mp4, **bounds)
    assert len(clip.frames) == len(clip.seconds) == count
    told = f"only the first {count} frames are taken"
    assert clip.ends == (None if count == COUNT else told)


@pytest.mark.parametrize("kind", ["matroska", "avi"])
def test_containers_whatever_their_names(tmp_path: Path, kind: str) -> None:
    with av.open(str(tmp_path / "video"), "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    clip = decode_clip("a.mp4", (tmp_path / "video").read_bytes())
    assert len(clip.frames) == COUNT


def test_a_list_of_files_is_not_followed(mp4: bytes, tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(mp4)
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n"
    for data in (
        playlist.encode(),
        f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        b"\0\0\0\x20ftyp" + playlist.encode(),
        b"\x1a\x45\xdf\xa3" + playlist.encode(),
    ):
        with pytest.raises(UserError):
            decode_clip("list.mp4", data)


def png() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "told"),
    [(b"", "empty"), (png(), "no video"), (b"\0\0\0\x20ftypisom", "cannot read the video")],
)
def test_what_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        decode_clip("../walk.mp4", data)
    assert caught.value.file == "walk.mp4"


def test_bounds_on_bytes_and_on_a_frame(mp4: bytes) -> None:
    with pytest.raises(UserError, match="too large"):
        decode_clip("a.mp4", mp4, max_bytes=len(mp4) - 1)
    with pytest.raises(UserError, match="too many pixels") as caught:
        decode_clip("a.mp4", mp4, max_pixels=PIXELS - 1)
    assert "64 x 48" in str(caught.value)
    assert caught.value.file == "a.mp4"


@example(cut=0.1875, spoilt=[], value=0)  # FFmpeg names no decoder
@given(cut=st.floats(0, 1), spoilt=st.lists(st.floats(0, 1), max_size=4), value=st.integers(0, 255))
def test_spoilt_videos_are_shown_or_told(
    mp4: bytes, cut: float, spoilt: list[float], value: int
) -> None:
    data = bytearray(mp4)
    for place in spoilt:
        data[int(place * (len(data) - 1))] = value
    try:
        clip = decode_clip("a.mp4", bytes(data[: int(cut * len(data))]))
    except UserError:
        return
    assert len(clip.frames) == len(clip.seconds) > 0


def test_nothing_is_left_on_the_disk(
    mp4: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    clip = decode_clip("a.mp4", mp4, max_frames=2)
    encode_clip(clip.frames, clip)
    with pytest.raises(UserError):
        decode_clip("a.mp4", mp4[:100])
    assert list(tmp_path.iterdir()) == []
