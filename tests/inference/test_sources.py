"""What a user names is what is looked at, in order, once."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roilab.errors import UserError
from roilab.inference.sources import SUFFIXES, Frame, expand_inputs, open_source
from roilab.inference.video import video_writer


def photo(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (shade, 0, 0)).save(path)
    return path


def film(path: Path) -> Path:
    with video_writer(path, Fraction(10), Fraction(1, 10)) as add:
        for index in range(3):
            add(np.full((8, 8, 3), 4 * index, np.uint8), index / 10)
    return path


def names(*inputs: object) -> list[str]:
    frames = list(open_source([str(source) for source in inputs]).frames())
    return [frame.file_name for frame in frames if isinstance(frame, Frame)]


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("a/10.png", "a/2.jpg", "a/.hidden.png", "b/1.gif", "b/deep/3.bmp"):
        photo(tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("")
    a, b = tmp_path / "a", tmp_path / "b"
    assert names(a) == ["2.jpg", "10.png"]
    (tmp_path / "c" / "folder.jpg").mkdir(parents=True)
    ordered = ["2.png", "10.JPG", "a1b2.jpg", "a1b10.jpg", "b.tif"]
    for name in ordered[::-1]:
        (tmp_path / "c" / name).write_bytes(b"")
    assert [path.name for path in expand_inputs(tmp_path / "c")] == ordered
    shutil.rmtree(tmp_path / "c")
    assert names(a / "*") == ["2.jpg", "10.png"]
    assert names(a / "*.png", b) == ["a/10.png", "b/1.gif"]
    assert names(tmp_path / "**" / "*") == ["a/2.jpg", "a/10.png", "b/1.gif", "b/deep/3.bmp"]
    assert names(b / "1.gif", a / "10.png", b, a) == ["b/1.gif", "a/10.png", "a/2.jpg"]
    source = open_source([str(tmp_path / "**" / "*")])
    assert (source.count, source.video, source.folder) == (4, None, tmp_path)


def test_a_name_that_looks_like_a_pattern(tmp_path: Path) -> None:
    photo(tmp_path / "a[1].png")
    photo(tmp_path / "a1.png")
    assert names(tmp_path / "a[1].png") == ["a[1].png"]
    (tmp_path / "a[1].png").unlink()
    assert names(tmp_path / "a[1].png") == ["a1.png"]


def test_a_broken_image_stands_in_its_place(tmp_path: Path) -> None:
    for place in range(3):
        photo(tmp_path / f"{place}.png", place)
    (tmp_path / "1.png").write_bytes(b"no image")
    first, broken, last = open_source([str(tmp_path)]).frames()
    assert isinstance(broken, UserError)
    assert "1.png" in str(broken)
    assert isinstance(first, Frame)
    assert isinstance(last, Frame)
    assert (last.image == [2, 0, 0]).all()
    assert (last.path, last.index, last.seconds) == (tmp_path / "2.png", None, None)


def test_a_video(tmp_path: Path) -> None:
    path = film(tmp_path / "my film.mp4")
    source = open_source([str(path)])
    assert (source.video, source.count, source.rate) == ("my film", 3, 10)
    assert source.inputs == (path,)
    frames = [frame for frame in source.frames() if isinstance(frame, Frame)]
    assert [(frame.file_name, frame.index, frame.path) for frame in frames] == [
        ("my film.mp4", index, None) for index in range(3)
    ]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.1, 0.2])


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    film(tmp_path / "a.mp4")
    film(tmp_path / "b.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("text")
    for inputs, message in [
        (["lost"], "no such image or folder"),
        (["empty"], "holds no image"),
        (["*.bmp"], "the pattern matches no image"),
        (["empt*"], "1 other files and folders"),
        (["a.mp4", "a.png"], "alone"),
        (["*.mp4"], "alone"),
        (["text.mp4"], "cannot read the video"),
    ]:
        with pytest.raises(UserError, match=message):
            open_source([str(tmp_path / name) for name in inputs])
    for inputs in (["webcam:0", str(tmp_path)], ["webcam:0", "webcam:1"]):
        with pytest.raises(UserError, match="alone"):
            open_source(inputs)
    for name in ("webcam:", "webcam:front"):
        with pytest.raises(UserError, match="no such webcam"):
            open_source([name])


def test_pillow_knows_the_kinds() -> None:
    Image.init()
    assert set(Image.registered_extensions()) >= SUFFIXES - {".avif"}
