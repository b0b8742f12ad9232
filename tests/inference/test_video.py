"""Frames and their times come out of a video as they went in, and a broken one is told."""

import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from roilab.draw import Picture
from roilab.errors import UserError
from roilab.inference import video
from roilab.inference.video import check_webcam, probe, read_video, read_webcam, video_writer
from roilab.synthetic.sample_set import sample_scene

# A codec for each kind of file; only the last needs no neighbour to decode a frame.
KINDS = {
    "mp4": ("libx264", {}),
    "mkv": ("libx264", {}),
    "ts": ("libx264", {}),
    "webm": ("libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"}),
    "avi": ("mpeg4", {"qscale": "2"}),
    "mov": ("mjpeg", {"qscale": "2"}),
}
COUNT = 24


def shade(index: int) -> int:
    return 30 + 8 * index


def make(path: Path, count: int = COUNT, rate: int = 25, noise: int = 25) -> Path:
    """A video whose frame number i is of `shade(i)`, with some noise that keeps packets large."""
    codec, options = KINDS[path.suffix[1:]]
    generator = np.random.default_rng(0)
    # The index in front, so that a file that is cut can be opened.
    with av.open(str(path.absolute()), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(count):
            image = shade(index) + generator.integers(-noise, noise + 1, (120, 160, 3))
            frame = av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def indices(frames: list[tuple[Picture, float]]) -> list[int]:
    """Which of `make`'s frames they are."""
    return [round((float(image.mean()) - shade(0)) / 8) for image, _ in frames]


def read(path: Path) -> tuple[list[tuple[Picture, float]], UserError | None]:
    frames = []
    try:
        for pair in read_video(path):
            frames.append(pair)
    except UserError as error:
        return frames, error
    return frames, None


@pytest.mark.parametrize("kind", KINDS)
def test_all_frames_of_a_whole_video(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / f"a.{kind}")
    frames, error = read(path)
    assert error is None
    assert indices(frames) == list(range(COUNT))
    assert [seconds for _, seconds in frames] == pytest.approx(np.arange(COUNT) / 25, abs=1e-3)
    info = probe(path)
    assert info.rate == 25
    assert info.frames in (COUNT, None)
    assert (info.frames is None) == (kind == "ts")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.5, 0.7, 0.98])
def test_a_video_that_breaks_off_keeps_its_frames(tmp_path: Path, kind: str, share: float) -> None:
    path = make(tmp_path / f"a.{kind}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    frames, error = read(path)
    if kind == "ts":
        # Nothing in it tells of the last frame how long it should be.
        assert indices(frames[:-2]) == list(range(len(frames) - 2))
    else:
        assert indices(frames) == list(range(len(frames)))
    assert 0 < len(frames) < COUNT
    assert error is not None
    assert str(path) in str(error)
    assert f"{len(frames)} frames can be read, the last at {frames[-1][1]:.2f} s" in str(error)


def test_a_video_goes_on_behind_what_is_damaged(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mov")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        start, size = packets[9].pos, packets[9].size
    content = bytearray(path.read_bytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    frames, error = read(path)
    assert error is not None
    assert indices(frames) == [index for index in range(COUNT) if index != 9]
    assert frames[9][1] == pytest.approx(0.4)


def test_what_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for content in (b"", b"no video", make(tmp_path / "b.mp4").read_bytes()[:300]):
        path.write_bytes(content)
        for look in (probe, lambda path: list(read_video(path))):
            with pytest.raises(UserError, match=r"cannot read the video(.|\n)*a\.mp4"):
                look(path)
    with pytest.raises(UserError, match=r"lost\.mp4"):
        probe(tmp_path / "lost.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UserError, match="no pictures"):
        probe(tmp_path / "a.mp4")


def test_frames_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 160 * 120 - 1)
    with pytest.raises(UserError, match="too many pixels") as caught:
        probe(path)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("matrix", "top"),
    [((0, 1, -1, 0), "left"), ((-1, 0, 0, -1), "bottom"), ((0, -1, 1, 0), "right")],
)
def test_frames_are_turned_upright(tmp_path: Path, matrix: tuple[int, ...], top: str) -> None:
    """`top`: the side of the stored frame that is above when it is shown."""
    bright = {"left": np.s_[:, :12], "right": np.s_[:, -12:], "bottom": np.s_[-12:]}[top]
    image = np.full((48, 64, 3), 40, np.uint8)
    image[bright] = 220
    path = tmp_path / "a.mp4"
    with video_writer(path, Fraction(25), Fraction(1, 25)) as add:
        add(image, 0.0)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 44  # a b u c d, of 32 bits, in the track's header
    for offset, value in zip((0, 4, 12, 16), matrix, strict=True):
        content[place + offset : place + offset + 4] = (value << 16).to_bytes(4, "big", signed=True)
    path.write_bytes(content)
    ((shown, _),) = read_video(path)
    assert shown.shape == ((48, 64, 3) if top == "bottom" else (64, 48, 3))
    assert shown[:10].mean() > 200
    assert shown[14:].mean() < 60


@pytest.mark.parametrize("size", [(48, 64), (49, 63), (1, 1)])
@pytest.mark.parametrize(
    "times",
    [
        [i / 25 for i in range(9)],
        [0, 0.04, 0.05, 0.5, 0.51, 2.0],
        [1001 * i / 30000 for i in range(9)],
    ],
    ids=["steady", "varying", "ntsc"],
)
def test_what_is_written_is_read(tmp_path: Path, size: tuple[int, int], times: list[float]) -> None:
    path = tmp_path / "new" / "a.mp4"
    tick = Fraction(1, 30000)
    with video_writer(path, Fraction(25), tick) as add:
        for index, seconds in enumerate(times):
            add(np.full((*size, 3), shade(index), np.uint8), seconds)
            assert not path.exists()
    frames, error = read(path)
    assert error is None
    assert indices(frames) == list(range(len(times)))
    assert [seconds for _, seconds in frames] == pytest.approx(times, abs=1e-6)
    height, width = (side + side % 2 for side in size)
    assert frames[0][0].shape == (height, width, 3)
    assert [file.name for file in path.parent.iterdir()] == ["a.mp4"]
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")


def test_a_steady_video_keeps_its_rate(tmp_path: Path) -> None:
    for rate in (Fraction(25), Fraction(30000, 1001), Fraction(50)):
        with video_writer(tmp_path / "a.mp4", rate, 1 / rate) as add:
            for index in range(9):
                add(np.zeros((8, 8, 3), np.uint8), float(index / rate))
        assert probe(tmp_path / "a.mp4").rate == rate
        with av.open(str(tmp_path / "a.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.duration * stream.time_base == pytest.approx(float(9 / rate), abs=1e-3)


def test_pictures_larger_than_a_video_can_be(tmp_path: Path) -> None:
    """Three pictures of a film in 8K stand beside each other."""
    path = tmp_path / "a.mp4"
    with video_writer(path, None, Fraction(1, 25)) as add:
        for index in range(2):
            add(np.full((64, 20_000, 3), shade(index), np.uint8), index / 25)
    frames, error = read(path)
    assert error is None
    assert indices(frames) == [0, 1]
    height, width = frames[0][0].shape[:2]
    assert 16_000 < width < 20_000
    assert width / height == pytest.approx(20_000 / 64, rel=0.02)


def test_a_name_that_looks_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("12:30.mp4")
    make(path)
    with video_writer(Path("http:", "a.mp4"), None, Fraction(1, 25)) as add:
        for image, seconds in read_video(path):
            add(image, seconds)
    assert len(read(tmp_path / "http:" / "a.mp4")[0]) == COUNT
    assert probe(path).frames == COUNT


def test_times_that_stand_still_go_on(tmp_path: Path) -> None:
    with video_writer(tmp_path / "a.mp4", None, Fraction(1, 1000)) as add:
        for seconds in (0.0, 0.5, 0.5, 0.2):
            add(np.zeros((8, 8, 3), np.uint8), seconds)
    times = [seconds for _, seconds in read_video(tmp_path / "a.mp4")]
    assert times == pytest.approx([0, 0.5, 0.501, 0.502])


def test_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with video_writer(path, None, Fraction(1, 25)) as add:
            add(np.zeros((8, 8, 3), np.uint8), 0.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


class Camera:
    """A webcam of three frames, of OpenCV's order of channels."""

    released = 0

    def __init__(self, number: int) -> None:
        self.number, self.left = number, 3

    def isOpened(self) -> bool:
        return self.number == 0

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return self.left >= 0, np.full((4, 6, 3), [1, 2, 3], np.uint8)

    def release(self) -> None:
        Camera.released += 1


def test_a_webcam(monkeypatch: pytest.MonkeyPatch) -> None:
    level = cv2.utils.logging.getLogLevel()
    monkeypatch.setattr(video.cv2, "VideoCapture", Camera)
    check_webcam(0)
    frames = list(itertools.islice(read_webcam(0), 2))
    assert [image[0, 0].tolist() for image, _ in frames] == [[3, 2, 1]] * 2
    assert frames[0][1] == 0 <= frames[1][1]
    with pytest.raises(UserError, match="no picture"):
        list(read_webcam(0))
    assert Camera.released == 3
    assert cv2.utils.logging.getLogLevel() == level


def test_no_webcam(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no webcam 63"):
        check_webcam(63)
    assert capfd.readouterr() == ("", "")


def test_the_video_of_the_sample_set(script: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "round.mp4"
    script("make_figures", "--video", path, "--frames", 5, "--seed", 1)
    frames, problem = read(path)
    assert problem is None
    assert [picture.shape for picture, _ in frames] == [(256, 256, 3)] * 5
    assert [seconds for _, seconds in frames] == pytest.approx([i / 12 for i in range(5)])
    drawn = sample_scene("val", 0, 320, 1).image[32 : 32 + 256, 64:, ::-1]  # as it begins, RGB
    assert np.abs(frames[0][0].astype(int) - drawn).mean() < 5
    assert np.abs(frames[1][0].astype(int) - drawn).mean() > 10

    done = script("make_figures", "--video", path, "--frames", 0, status=2)
    assert "--frames" in done.stderr
