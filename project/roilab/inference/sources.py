"""Sources of images: files, folders, patterns, a video, a webcam."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from roilab.draw import Picture
from roilab.errors import UserError
from roilab.image_files import read_rgb
from roilab.inference.video import check_webcam, probe, read_video, read_webcam
from roilab.text import first_of

_IMAGES = ".avif .bmp .gif .jfif .jp2 .jpeg .jpg .pgm .png .ppm .tif .tiff .webp"
_VIDEOS = ".3gp .avi .flv .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .webm .wmv"
SUFFIXES, VIDEO_SUFFIXES = frozenset(_IMAGES.split()), frozenset(_VIDEOS.split())
_WEBCAM = "webcam:"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """An image, or a frame of a video or a webcam, of which alone `index` and `seconds` are known.

    Attributes:
        image: H x W x 3, uint8, RGB.
        file_name: of the image, below the folder that holds all; of the video.
        path: of the image; None for a frame.
        index: the frame's place, from 0.
        seconds: since the first frame.
    """

    image: Picture
    file_name: str
    path: Path | None = None
    index: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Source:
    """A source of images or frames.

    Attributes:
        frames: yields each frame, or the error for it, or for the frames after it. Of images, it
            takes a check of their width and height, see `roilab.image_files.read_rgb`.
        folder: that holds all the inputs; None where there are none.
        count: the number of frames; None where that is not known.
        video: the name, without an ending, of the video or webcam; None for images, which do not
            follow each other in time.
        rate: frames a second; None where that is not known.
        tick: seconds, of which the times of frames are multiples.
    """

    frames: Callable[..., Iterator[Frame | UserError]]
    inputs: tuple[Path, ...] = ()
    folder: Path | None = None
    count: int | None = None
    video: str | None = None
    rate: Fraction | None = None
    tick: Fraction = Fraction(1, 90000)


def open_source(inputs: Sequence[str]) -> Source:
    """Open the images, folders and patterns, the one video or the one webcam that the user named.

    Raises UserError if an input does not exist, or a video or webcam is not alone.
    """
    cameras = [name for name in inputs if name.startswith(_WEBCAM)]
    unique: dict[Path, Path] = {}
    for name in inputs:
        if name not in cameras:
            for file in _files(name):
                unique.setdefault(file.resolve(), file)
    files = list(unique.values())
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    if (cameras or videos) and len(cameras) + len(files) > 1:
        message = "a video or a webcam is looked at alone"
        names = first_of([*cameras, *videos])
        expected = "one of them, or only images"
        raise UserError(message, key="input", found=names, expected=expected)
    if cameras:
        return _webcam(cameras[0])
    return _video(files[0]) if videos else _images(files)


def expand_inputs(source: str | Path, key: str = "input") -> list[Path]:
    """The file itself, or the images of a folder but hidden ones, frame 2 before frame 10.

    Raises UserError for the parameter `key` if there is no such file or folder, or no image in it.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError("no such image or folder", key=key, file=path)
    files = [file for file in path.iterdir() if _is_kind(file, SUFFIXES)]
    if not files:
        expected = f"files ending in {', '.join(sorted(SUFFIXES))}"
        raise UserError("the folder holds no image", key=key, file=path, expected=expected)
    return sorted(files, key=_natural)


def _files(source: str) -> list[Path]:
    """The files of an input: a file, the images of a folder, or what a pattern matches."""
    if not source:  # else it would be the current folder
        expected = "an image, a folder, a pattern, a video or webcam:0"
        remedy = "was it a variable that is not set?"
        raise UserError("an empty name", key="input", expected=expected, remedy=remedy)
    # A file whose name looks like a pattern is that file.
    if Path(source).exists() or not glob.has_magic(source):
        return expand_inputs(source)
    matches = [Path(match) for match in glob.glob(source, recursive=True)]  # noqa: PTH207
    files = [file for file in matches if _is_kind(file, SUFFIXES | VIDEO_SUFFIXES)]
    if not files:
        others = f", {len(matches)} other files and folders" if matches else ""
        message = "the pattern matches no image and no video"
        raise UserError(message, key="input", found=f"{source}{others}")
    return sorted(files, key=lambda file: (file.parent, _natural(file)))


def _is_kind(file: Path, suffixes: Set[str]) -> bool:
    return file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file()


def _natural(file: Path) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts names by the numbers in them."""
    parts = re.split(r"(\d+)", file.name)
    # Odd places hold the numbers. The name itself decides between 1 and 01.
    key = [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]
    return key, file.name


def _images(files: Sequence[Path]) -> Source:
    folders = [file.parent.resolve() for file in files]
    folder = Path(os.path.commonpath(folders))

    def frames(check: Callable[[int, int], None] | None = None) -> Iterator[Frame | UserError]:
        for file, place in zip(files, folders, strict=True):
            name = (place.relative_to(folder) / file.name).as_posix()
            try:
                yield Frame(read_rgb(file, check), name, path=file)
            except UserError as error:
                yield error

    return Source(frames, tuple(files), folder, len(files))


def _video(file: Path) -> Source:
    info = probe(file)
    return Source(
        frames=lambda _=None: _numbered(file.name, read_video(file)),
        inputs=(file,),
        folder=file.parent.resolve(),
        count=info.frames,
        video=file.stem,
        rate=info.rate,
        tick=info.tick,
    )


def _webcam(name: str) -> Source:
    digits = name.removeprefix(_WEBCAM)
    if not digits.isdecimal():
        raise UserError("no such webcam", key="input", found=name, expected="webcam:0")
    number = int(digits)
    check_webcam(number)
    return Source(lambda _=None: _numbered(name, read_webcam(number)), video="webcam")


def _numbered(name: str, pictures: Iterable[tuple[Picture, float]]) -> Iterator[Frame | UserError]:
    try:
        for index, (image, seconds) in enumerate(pictures):
            yield Frame(image, name, None, index, seconds)
    except UserError as error:
        yield error
