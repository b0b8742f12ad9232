"""Videos and webcams: frames with their times, and a video of frames."""

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image

from roilab.draw import Picture, fit
from roilab.errors import UserError
from roilab.files import whole

# Of x264, 0 to 51: thin lines and small letters stay sharp.
_QUALITY = "20"
_LARGEST_SIDE = 16384  # of its pictures
# These containers state the length of a video; FFmpeg guesses that of others from their packets.
_KNOW_THEIR_LENGTH = ("mov", "matroska", "avi")
# A transport stream does not, but all its packets have one of these sizes.
_TRANSPORT_PACKETS = (188, 192, 204)


@dataclass(frozen=True)
class VideoInfo:
    """The header of a video file.

    Attributes:
        frames: their number, nearly; None where the header does not state it.
        rate: frames a second, on the average; None where it is not known.
        tick: seconds, of which all times are multiples.
    """

    frames: int | None
    rate: Fraction | None
    tick: Fraction


def probe(path: Path, kind: str | None = None, max_pixels: int | None = None) -> VideoInfo:
    """Read the header of a video file; arguments and errors are those of `read_video`."""
    with _opened(path, kind, max_pixels) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        length = _stated_length(container)
        count = stream.frames  # 0: not stated
        if not count and rate and length:
            count = round(length * rate)
        return VideoInfo(count or None, rate, stream.time_base or Fraction(1, 90000))


def read_video(
    path: Path, kind: str | None = None, max_pixels: int | None = None
) -> Iterator[tuple[Picture, float]]:
    """Each frame that can be read, turned upright, with the seconds since the first.

    Args:
        kind: FFmpeg's name of the container. Without it, a list of other files is read as well,
            which an upload must not be.
        max_pixels: of a frame; None: as many as Pillow decodes of an image.

    Raises:
        UserError: no such file, no video, or too large frames; behind the frames that could be
            read: the video is broken or ends early.
    """
    count = 0
    seconds = 0.0
    first: Fraction | None = None
    with _opened(path, kind, max_pixels) as container:
        reading = _Reading(container)
        stream = container.streams.video[0]
        rate = stream.average_rate or 25
        for frame in reading.frames():
            # Bare streams have no times.
            timed = frame.pts is not None and stream.time_base is not None
            moment = frame.pts * stream.time_base if timed else Fraction(count) / rate
            first = moment if first is None else first
            seconds = max(float(moment - first), seconds)
            # Upright, as the file says of a camera that was held sideways.
            image = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90) % 4)
            yield np.ascontiguousarray(image), seconds
            count += 1
        fault = reading.faults[0] if reading.faults else reading.missing()
    if fault or not count:
        last = f", the last at {seconds:.2f} s" if count else ""
        problem = f"{fault or 'no frame'}; {count} frames can be read{last}"
        raise UserError("the video is broken", file=path, found=problem, expected="a whole video")


@dataclass
class _Reading:
    """The frames of a container's first video, and the faults that turn up.

    Attributes:
        end: of the packets so far, in ticks.
        durations: whether the last packet states its own.
    """

    container: Any
    faults: list[str] = field(default_factory=list)
    end: int = 0
    durations: bool = True

    def frames(self) -> Iterator[Any]:
        """The frames that are whole."""
        # None asks for the frames that the decoder has kept back, also after a fault.
        for packet in itertools.chain(self._packets(), [None]):
            try:
                frames = self.container.streams.video[0].decode(packet)
            except av.error.FFmpegError as error:
                self.faults.append(error.strerror or "unknown")
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.faults.append("a frame is damaged")
                else:
                    yield frame

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self.container.demux(video=0):
                if packet.is_corrupt:
                    self.faults.append("it breaks off within a frame")
                elif packet.size:
                    self.end = max(self.end, (packet.pts or 0) + (packet.duration or 0))
                    self.durations = bool(packet.duration)
                    yield packet
        except av.error.FFmpegError as error:
            self.faults.append(error.strerror or "unknown")

    def missing(self) -> str | None:
        """The part of the announced video that the file lacks, in words; None if it is whole."""
        container, stream = self.container, self.container.streams.video[0]
        in_packets = any(container.size % size == 0 for size in _TRANSPORT_PACKETS)
        if container.format.name == "mpegts" and not in_packets:
            return "it breaks off within a packet"
        length = _stated_length(container)
        if length is None or stream.time_base is None:
            return None
        reached = (self.end - (stream.start_time or 0)) * stream.time_base
        # In frames: the last one's own duration may be unknown.
        tolerance = Fraction(3, 5) if self.durations else Fraction(8, 5)
        if (length - reached) * (stream.average_rate or 25) <= tolerance:
            return None
        return f"it ends after {float(reached):.2f} s of {float(length):.2f} s"


@contextlib.contextmanager
def _opened(path: Path, kind: str | None, max_pixels: int | None) -> Iterator[Any]:
    """The open container of a video; arguments and errors are those of `read_video`."""
    # Absolute: FFmpeg takes "12:30.mp4" for an address.
    place = str(path.absolute())
    try:
        container = av.open(place, format=kind, metadata_errors="replace")
    except (av.error.FFmpegError, OSError) as error:
        raise _no_video(path, error.strerror) from error
    with container:
        if not container.streams.video:
            raise _no_video(path, "no pictures in it")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise _no_video(path, "pictures that cannot be decoded")
        limit = max_pixels or Image.MAX_IMAGE_PIXELS
        if limit and stream.width * stream.height > limit:
            message = "the frames of the video have too many pixels"
            remedy = "make it smaller"
            size = f"{stream.width} x {stream.height}"
            expected = f"no more than {limit} pixels"
            raise UserError(message, file=path, found=size, expected=expected, remedy=remedy)
        if limit:  # frames may say another size than the header
            stream.codec_context.options = {"max_pixels": str(limit)}
        yield container


def _no_video(path: Path, problem: str | None) -> UserError:
    text = "cannot read the video"
    return UserError(text, file=path, found=problem, expected="a whole video file")


def _stated_length(container: Any) -> Fraction | None:
    """Seconds of the first video that the header states; None where it states none."""
    stream = container.streams.video[0]
    if container.format.name.partition(",")[0] not in _KNOW_THEIR_LENGTH:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return Fraction(stream.duration * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = map(Fraction, tag.groups())
        return hours * 3600 + minutes * 60 + seconds
    if container.duration is not None and len(container.streams) == 1:
        return Fraction(container.duration, av.time_base)
    return None


@contextlib.contextmanager
def video_writer(
    path: Path, rate: Fraction | None, tick: Fraction
) -> Iterator[Callable[[Picture, float], None]]:
    """A function that adds an H x W x 3 RGB picture and its seconds to an H.264 video in mp4.

    The file gets its name when the block has ended; a UserError if it cannot be written. All
    pictures get the size of the first, by one pixel larger where that is odd, or smaller where
    H.264 has no such size. A picture whose time does not follow the last one's is moved behind it.

    Args:
        rate: frames a second, for players that ask; None: not known.
        tick: seconds, of which all times are multiples.
    """
    stream: Any = None
    last = -1  # time, in ticks

    def add(picture: Picture, seconds: float) -> None:
        nonlocal stream, last
        picture = fit(picture, _LARGEST_SIDE)
        height, width = picture.shape[:2]
        if height % 2 or width % 2:  # colours are stored for two pixels by two
            picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        if stream is None:
            stream = container.add_stream("libx264", rate=rate or 30)
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.options = {"crf": _QUALITY, "preset": "veryfast"}
            stream.codec_context.time_base = tick
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts = last = max(round(seconds / tick), last + 1)
        frame.time_base = tick
        container.mux(stream.encode(frame))

    with whole(path) as part:
        # Absolute, as in reading.
        place = str(part.absolute())
        options = {"movflags": "faststart"}
        try:
            with av.open(place, "w", format="mp4", options=options) as container:
                yield add
                if stream is not None:
                    container.mux(stream.encode(None))  # the frames that the encoder has kept back
        except av.error.FFmpegError as error:
            raise UserError("cannot write the file", file=path, found=error.strerror) from error


def read_webcam(number: int) -> Iterator[tuple[Picture, float]]:
    """Frames of a camera as they come, with the seconds since the first; a UserError ends them."""
    start = None
    with _camera(number) as camera:
        while True:
            ok, frame = camera.read()
            if not ok:
                raise UserError(f"webcam {number} gives no picture", key="input")
            now = time.monotonic()
            start = now if start is None else start
            yield np.ascontiguousarray(frame[:, :, ::-1]), now - start


def check_webcam(number: int) -> None:
    """Raise a UserError if there is no such camera."""
    with _camera(number):
        pass


@contextlib.contextmanager
def _camera(number: int) -> Iterator[Any]:
    level = cv2.utils.logging.getLogLevel()
    # OpenCV's messages about the drivers that it tries are of no use to anyone.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            message = f"there is no webcam {number}, or another program uses it"
            raise UserError(message, key="input", expected="webcam:0 for the first one")
        yield camera
    finally:
        camera.release()
        cv2.utils.logging.setLogLevel(level)
