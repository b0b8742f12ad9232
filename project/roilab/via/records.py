"""Frozen records of what an annotation file says: images, regions, shapes and problems.

They are the same for every format. Shapes are in image pixels: x to the right, y down, origin at
the top left corner.
"""

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Self

from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.text import counted, first_of

XY = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """Top left corner and extent."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre and radius."""

    cx: float
    cy: float
    r: float


@dataclass(frozen=True, slots=True)
class Ellipse:
    """`theta` in radians, clockwise on the screen (VIA 2.0.8 and later; else 0)."""

    cx: float
    cy: float
    rx: float
    ry: float
    theta: float = 0.0


@dataclass(frozen=True, slots=True)
class _Path:
    """The x and the y of vertices in two tuples, as VIA holds them.

    Two tuples of the numbers that were read take a sixth of the memory of a tuple of pairs.
    """

    xs: tuple[float, ...]
    ys: tuple[float, ...]

    @classmethod
    def through(cls, points: Iterable[XY]) -> Self:
        """The path through the given vertices."""
        xs, ys = zip(*points, strict=True)
        return cls(xs, ys)

    @property
    def points(self) -> tuple[XY, ...]:
        """The vertices as pairs."""
        return tuple(zip(self.xs, self.ys, strict=True))


class Polygon(_Path):
    """A ring; its first vertex is not repeated at the end."""

    __slots__ = ()


class Polyline(_Path):
    """An open line."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Point:
    """The pixel that was clicked on: an index, not a position in the continuous plane."""

    cx: float
    cy: float


Area = Rect | Circle | Ellipse | Polygon | Polyline
Shape = Area | Point

# A text, dropdown, radio or image attribute holds one string; a checkbox the ids that are ticked.
Value = str | tuple[str, ...]

Severity = Literal["error", "warning", "note"]
# The most severe first.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Container(StrEnum):
    """The kinds of file that are read, by content, never by name; and Cityscapes, by its layout."""

    VIA2_PROJECT = "VIA 2 project"
    VIA3_PROJECT = "VIA 3 project"
    VIA_COCO = "COCO exported by VIA"
    COCO = "COCO"
    VIA1_JSON = "VIA 1 JSON"
    VIA2_JSON = "VIA 2 JSON"
    VIA3_CSV = "VIA 3 CSV"
    VIA1_CSV = "VIA 1 CSV"
    VIA2_CSV = "VIA 2 CSV"
    CITYSCAPES = "Cityscapes"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, and where.

    An error leaves something out; a warning does not; a note counts what is left out as asked, or
    says which of several readings was chosen.

    Attributes:
        remedy: with arguments as `roilab.errors.argument` writes them; "": nothing is to be done.
    """

    severity: Severity
    message: str
    remedy: str
    file: str
    image: str | None = None
    region: int | None = None
    attribute: str | None = None

    def __str__(self) -> str:
        region = None if self.region is None else f"region {self.region}"
        attribute = self.attribute and f"attribute '{self.attribute}'"
        where = ", ".join(filter(None, (self.file, self.image, region, attribute)))
        hint = f" ({self.remedy})" if self.remedy else ""
        return one_line(f"{self.severity}: {where}: {self.message}{hint}")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Adds problems of a file, or of an image in it, to a list.

    `suffix` is what the file calls a region, if that is not its index.
    """

    problems: list[Problem]
    file: str
    image: str | None = None
    suffix: str = ""

    def report(
        self,
        severity: Severity,
        message: str,
        remedy: str,
        region: int | None = None,
        attribute: str | None = None,
    ) -> None:
        """Add a problem."""
        place = (self.file, self.image, region, attribute)
        self.problems.append(Problem(severity, message + self.suffix, remedy, *place))

    def error(
        self, message: str, remedy: str, region: int | None = None, attribute: str | None = None
    ) -> None:
        """Add a problem that leaves something out."""
        self.report("error", message, remedy, region, attribute)


def refuse_errors(problems: Iterable[Problem]) -> None:
    """Raise a UserError that lists the first errors, if any problem leaves something out."""
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise UserError(
            f"{counted(len(errors), 'error')} in the annotations",
            file=errors[0].file,
            found=first_of(errors, separator="\n            "),
            expected="no error, since it is read strictly",
            remedy="correct them, or read without strict: the sound part then loads",
        )


@dataclass(frozen=True, slots=True)
class Attribute:
    """A declared attribute: its type in VIA's words and, for a choice, option id -> description.

    VIA gives a new region `default_value` if it is a text, `default_options` if it is a choice.
    """

    name: str
    type: str = "text"
    description: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    default_value: str = ""
    default_options: tuple[str, ...] = ()


# Role -> what the description of an attribute ends in that plays it.
TAGS: Mapping[str, str] = {
    role: f"[roilab:{role}]" for role in ("class", "keypoint", "instance", "visibility", "score")
}


@dataclass(frozen=True, slots=True)
class CocoCategory:
    """A category of a COCO file.

    Attributes:
        id: in the file.
        name: the class.
        keypoints: their names, in order; numbers from 1 where the file gives none.
        links: pairs of these names.
        is_named: whether the file names the keypoints.
    """

    id: int | str
    name: str
    keypoints: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    is_named: bool = True


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image of a COCO file or of Cityscapes.

    Attributes:
        id: in the file.
        size: (width, height) in pixels, None if not stated.
        void: of Cityscapes, the run-length encoded pixels on which detections are not judged.
    """

    id: int | str
    size: tuple[int, int] | None
    void: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """The COCO annotation of an object, shared by all regions that stand for it.

    Lists are those of the file and must not be changed.

    Attributes:
        id: in the file, as text.
        category: the id of its category, as text; "" for none.
        box: x, y, width, height in continuous coordinates; None where there is none of any extent.
        area: in square pixels, None where it is not stated.
        mask: rings x0, y0, x1, y1, ... or a run-length encoding; None where there is only a box.
        keypoints: x, y, visibility of each keypoint of the category, in pixel indices; or none.
        is_crowd: whether it marks a group of objects, which is neither trained on nor counted.
    """

    id: str
    category: str
    box: tuple[float, float, float, float] | None
    area: float | None
    mask: Sequence[Sequence[float]] | Mapping[str, object] | None
    keypoints: Sequence[float]
    is_crowd: bool


@dataclass(frozen=True, slots=True)
class Region:
    """One drawn shape. `index` is its place in the image's list in the file (VIA 1: its key)."""

    index: int
    shape: Shape
    attributes: Mapping[str, Value]
    coco: CocoAnnotation | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image entry. `size` is the file's length in bytes, None where VIA does not know it.

    The regions of COCO's crowds are in `crowds`: they are not objects.
    """

    key: str
    filename: str
    size: int | None
    regions: tuple[Region, ...]
    attributes: Mapping[str, Value] = field(default_factory=dict)
    crowds: tuple[Region, ...] = ()
    coco: CocoImage | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Annotations:
    """The content of one file, and every problem of reading it.

    `categories` are those of a COCO file, in the order of their ids.
    """

    file: str
    container: Container
    images: tuple[ImageRecord, ...]
    region_attributes: Mapping[str, Attribute]
    file_attributes: Mapping[str, Attribute]
    default_path: str = ""
    problems: tuple[Problem, ...] = ()
    categories: tuple[CocoCategory, ...] = ()


def image_key(filename: str, size: int | str | None, used: Collection[str] = ()) -> str:
    """The key under which VIA files an image: name and size; -1 stands for an unknown size.

    Args:
        used: keys of other images. If one of them has this key ("a1", 2 and "a", 12), underscores
            are added, which is safe because VIA does not take its keys apart.
    """
    key = f"{filename}{-1 if size is None else size}"
    while key in used:
        key += "_"
    return key


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's search for reference cycles; use it as a decorator or in a `with`."""
    # JSON data, records and instances hold no cycles. Looking for some after every 700 new objects
    # takes more than half of the time of json.loads, and nearly half of the time of labelling.
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
