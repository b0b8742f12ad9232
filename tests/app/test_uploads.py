"""Uploads: an image or a video within bounds, or an error, whatever the bytes are."""

import io
import struct
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from roilab.app import uploads
from roilab.draw import Picture
from roilab.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)


def encoded(kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, kind, **options)
    return stream.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A PNG that states a size and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", uploads.FORMATS)
def test_every_format_whatever_its_name(kind: str) -> None:
    picture = uploads.decode_upload("photo.jpg", encoded(kind))
    assert picture.shape == PIXELS.shape
    assert picture.dtype == np.uint8
    if kind in ("PNG", "TIFF", "BMP"):
        assert (picture == PIXELS).all()


def test_it_is_turned_as_the_camera_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = uploads.decode_upload("a.png", encoded("PNG", exif=exif))
    assert (picture == np.rot90(PIXELS, -1)).all()


def test_of_many_frames_the_first() -> None:
    for kind in ("GIF", "WEBP", "TIFF"):
        others = [Image.new("RGB", (30, 20), (index, 0, 0)) for index in range(50)]
        data = encoded(kind, save_all=True, append_images=others, lossless=True)
        assert (
            uploads.decode_upload("a", data)
            == uploads.decode_upload("a", encoded(kind, lossless=True))
        ).all()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"\0", "no image"),
        (b"%PDF-1.7", "a PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a page or SVG"),
        (b"\x80\x04\x95", "something else"),  # a pickle
        (encoded("PNG")[:-200], "cannot read"),
        (encoded("JPEG")[:-200], "cannot read"),
        (encoded("PPM"), "something else"),  # not among the formats
        (encoded("PNG") + bytes(3000), "too large"),
        (png_of(101, 100), "101 x 100"),
        (png_of(20_000, 20_000), "at most 0.01 million"),
        (png_of(2**31 - 1, 2**31 - 1), "at most 0.01 million"),
        (png_of(10, 10), "cannot read"),
    ],
)
def test_images_that_are_refused(
    data: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", max(len(encoded("PNG")), 2500))
    monkeypatch.setattr(uploads, "MAX_PIXELS", 10_000)
    with pytest.raises(UserError) as caught:
        uploads.decode_upload("photo.png", data)
    assert problem in str(caught.value)
    assert caught.value.file == "photo.png"


def test_an_archive_is_no_image() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("model_final.pth", b"weights")
    with pytest.raises(UserError, match="a zip archive"):
        uploads.decode_upload("photo.png", stream.getvalue())


def test_a_bomb_is_refused_before_its_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Image.Image) -> None:
        raise AssertionError("decoded")

    data = encoded("PNG")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    monkeypatch.setattr(uploads, "MAX_PIXELS", 30 * 20 - 1)
    with pytest.raises(UserError, match="too many pixels"):
        uploads.decode_upload("a.png", data)
    monkeypatch.setattr(uploads, "MAX_PIXELS", 30 * 20)
    with pytest.raises(UserError, match="decoded"):  # the bound itself is allowed
        uploads.decode_upload("a.png", data)


def read_or_none(data: bytes, name: str) -> Picture | None:
    """None where it is refused; anything else that is raised is raised here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "MAX_PIXELS", 100_000)
        try:
            return uploads.decode_upload(name, data)
        except UserError:
            return None


def is_bounded(picture: Picture) -> bool:
    height, width, channels = picture.shape
    return channels == 3 and picture.dtype == np.uint8 and 0 < height * width <= 100_000


@given(st.binary(max_size=400), st.text(max_size=200))
@example(encoded("PNG"), "")
def test_bytes_are_an_image_or_a_mistake(data: bytes, name: str) -> None:
    picture = read_or_none(data, name)
    assert picture is None or is_bounded(picture)
    assert picture is not None or data != encoded("PNG")


share = st.floats(0, 1)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", uploads.FORMATS)
@given(st.lists(st.tuples(share, st.integers(0, 255)), max_size=8), share)
@example([], 1.0)
@example([], 0.3)
def test_spoilt_images_are_images_or_mistakes(
    kind: str, spoilt: list[tuple[float, int]], kept: float
) -> None:
    whole = encoded(kind)
    content = bytearray(whole)
    for place, value in spoilt:
        content[int(place * (len(content) - 1))] = value
    data = bytes(content[: int(kept * len(content))])
    picture = read_or_none(data, "a.png")
    assert picture is None or is_bounded(picture)
    if data == whole:
        assert picture is not None
    elif not spoilt and kept < 0.5:
        assert picture is None


@given(st.text())
@example("../../etc/passwd")
@example("C:\\Windows\\a.png")
@example("a\0b\n\x1b[31m\u202egnp.exe")
@example("\ud800.png")
@example("con.png")
@example("x" * 5000 + ".jpeg")
def test_names_lead_nowhere(name: str) -> None:
    for file_name in (uploads.clean_name(name), uploads.stem_of(name)):
        assert 0 < len(file_name) <= 80
        assert not set(file_name) & set("/\\\0\n\r\t\x1b\u202e")
        assert not file_name.startswith(".")
        file_name.encode()
    assert uploads.clean_name(uploads.clean_name(name)) == uploads.clean_name(name)
    assert not set(uploads.stem_of(name)) & set(" .:*?\"<>|'")


def test_names_stay_what_they_can() -> None:
    assert uploads.clean_name("Straße in München.JPG") == "Straße in München.JPG"
    assert uploads.stem_of("photos/Straße 1.tar.gz") == "Straße_1_tar"
    assert uploads.clean_name("a" * 100 + ".jpeg").endswith("a.jpeg")


@given(st.lists(st.sampled_from(["a.png", "a-2.png", "b/a.png", "", "a", "a-2"])))
def test_no_two_names_are_alike(names: list[str]) -> None:
    unique_names = uploads.distinct(names)
    assert len(unique_names) == len(set(unique_names)) == len(names)
    if len(set(map(uploads.clean_name, names))) == len(names):
        assert unique_names == [uploads.clean_name(name) for name in names]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x20ftypisom\0\0\2\0", "mp4"),
        (b"\0\0\0\x20ftypheic\0\0\2\0", None),
        (b"\0\0\0\x20ftypavif\0\0\2\0", None),
        (b"\x1a\x45\xdf\xa3\x01", "matroska"),
        (b"RIFF\x10\0\0\0AVI LIST", "avi"),
        (encoded("WEBP"), None),
        (encoded("JPEG"), None),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", None),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", None),
        (b"", None),
    ],
)
def test_videos_are_known_by_their_first_bytes(data: bytes, kind: str | None) -> None:
    assert uploads.container_of(data) == kind


COUNT, FRAME = 12, 48 * 64  # frames, and pixels of each


def frames() -> tuple[Picture, ...]:
    """Grey pictures, each lighter than the one before."""
    return tuple(np.full((48, 64, 3), 20 * index, np.uint8) for index in range(COUNT))


@pytest.fixture(scope="module")
def mp4() -> bytes:
    times = tuple(index / 8 for index in range(COUNT))
    return uploads.encode_clip(
        frames(), uploads.Clip(frames(), times, Fraction(8), Fraction(1, 16000), None)
    )


def greys(clip: uploads.Clip) -> list[float]:
    return [float(frame.mean()) for frame in clip.frames]


def test_what_is_encoded_is_decoded(mp4: bytes) -> None:
    clip = uploads.decode_clip("a.mp4", mp4)
    assert clip.ends is None
    assert clip.rate == 8
    assert clip.seconds == pytest.approx([index / 8 for index in range(COUNT)])
    assert greys(clip) == pytest.approx([20 * index for index in range(COUNT)], abs=4)


@pytest.mark.parametrize(
    ("bounds", "count"),
    [
        ({"MAX_FRAMES": 5}, 5),
        ({"MAX_FRAMES": COUNT}, COUNT),
        ({"MAX_VIDEO_PIXELS": 7 * FRAME}, 7),
        ({"MAX_VIDEO_PIXELS": 8 * FRAME - 1}, 7),
        ({"MAX_VIDEO_PIXELS": FRAME}, 1),
    ],
)
def test_only_the_beginning_is_taken(
    mp4: bytes, bounds: dict[str, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, bound in bounds.items():
        monkeypatch.setattr(uploads, name, bound)
    clip = uploads.decode_clip("a.mp4", mp4)
    assert len(clip.frames) == len(clip.seconds) == count
    ends = f"only the first {count} frames are taken"
    assert clip.ends == (None if count == COUNT else ends)


@pytest.mark.parametrize("kind", ["matroska", "avi"])
def test_containers_whatever_their_names(tmp_path: Path, kind: str) -> None:
    with av.open(str(tmp_path / "video"), "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    clip = uploads.decode_clip("a.mp4", (tmp_path / "video").read_bytes())
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
            uploads.decode_clip("list.mp4", data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (encoded("PNG"), "no video"),
        (b"\0\0\0\x20ftypisom", "cannot read the video"),
    ],
)
def test_videos_that_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        uploads.decode_clip("walk.mp4", data)
    assert caught.value.file == "walk.mp4"


def test_bounds_on_bytes_and_on_a_frame(mp4: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_VIDEO_PIXELS", FRAME - 1)
    with pytest.raises(UserError, match="too many pixels") as caught:
        uploads.decode_clip("a.mp4", mp4)
    assert "64 x 48" in str(caught.value)
    assert caught.value.file == "a.mp4"
    monkeypatch.setattr(uploads, "MAX_VIDEO_BYTES", len(mp4) - 1)
    with pytest.raises(UserError, match="too large"):
        uploads.decode_clip("a.mp4", mp4)


@example(cut=0.1875, spoilt=[], value=0)  # FFmpeg names no decoder
@given(cut=share, spoilt=st.lists(share, max_size=4), value=st.integers(0, 255))
def test_spoilt_videos_are_shown_or_told(
    mp4: bytes, cut: float, spoilt: list[float], value: int
) -> None:
    data = bytearray(mp4)
    for place in spoilt:
        data[int(place * (len(data) - 1))] = value
    try:
        clip = uploads.decode_clip("a.mp4", bytes(data[: int(cut * len(data))]))
    except UserError:
        return
    assert len(clip.frames) == len(clip.seconds) > 0


def test_nothing_is_left_on_the_disk(mp4: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(uploads, "MAX_FRAMES", 2)
    clip = uploads.decode_clip("a.mp4", mp4)
    uploads.encode_clip(clip.frames, clip)
    with pytest.raises(UserError):
        uploads.decode_clip("a.mp4", mp4[:100])
    assert list(tmp_path.iterdir()) == []
