"""The beginning of a video that a stranger sent, within bounds, and videos of drawn frames."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from roilab.draw import Picture
from roilab.errors import UserError
from roilab.inference.uploads import check_length, clean_name, container_of
from roilab.inference.video import probe, read_video, video_writer

MAX_BYTES = 200 << 20
MAX_FRAMES = 120
# Of all frames together: 300 MB.
MAX_PIXELS = 100_000_000


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames from the beginning of a video.

    Attributes:
        frames: H x W x 3 RGB.
        seconds: of each frame, since the first.
        rate, tick: see `roilab.inference.video.VideoInfo`.
        ends: None: it is the whole video; else why there are no more frames.
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
    max_bytes: int = MAX_BYTES,
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS,
) -> Clip:
    """The first frames of a video file.

    It is opened as the one kind of container that its first bytes say, never as one of those that
    name other files, and under a name of our own.

    Args:
        name: what the sender calls it, for messages.
        max_pixels: of all frames that are kept.

    Raises:
        UserError: too large, no video, or not one frame can be read.
    """
    shown = clean_name(name)
    check_length(name, data, max_bytes)
    kind = container_of(data)
    if kind is None:
        raise UserError("this is no video", file=shown, expected="MP4, MOV, MKV, WebM or AVI")
    frames: list[Picture] = []
    seconds: list[float] = []
    ends = None
    with _file_of(data) as path:
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
                raise UserError(
                    error.message,
                    file=shown,
                    found=error.found,
                    expected=error.expected,
                    remedy=error.remedy,
                ) from error
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


@contextmanager
def _file_of(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(data)
        yield path
