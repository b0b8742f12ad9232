"""Frozen records of what a VIA file says, the same for every version and container of VIA."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from roilab.escaping import one_line
from roilab.via.shapes import Shape

# A text, dropdown, radio or image attribute holds one string; a checkbox the ids that are ticked.
Value = str | tuple[str, ...]

Severity = Literal["error", "warning", "note"]
# From the worst on.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Container(StrEnum):
    """The kinds of file that are read, recognised by content, never by name."""

    VIA1_JSON = "VIA 1 JSON"
    VIA2_JSON = "VIA 2 JSON"
    VIA2_PROJECT = "VIA 2 project"
    VIA3_PROJECT = "VIA 3 project"
    VIA1_CSV = "VIA 1 CSV"
    VIA2_CSV = "VIA 2 CSV"
    VIA3_CSV = "VIA 3 CSV"
    VIA_COCO = "COCO exported by VIA"
    COCO = "COCO"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a file, and where.

    An error leaves something out; a warning does not; a note counts what is left out as asked, or
    says which of several readings was taken.

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
        place = [self.file, self.image, self.attribute and f"attribute '{self.attribute}'"]
        if self.region is not None:
            place.insert(2, f"region {self.region}")
        where = ", ".join(filter(None, place))
        remedy = f" ({self.remedy})" if self.remedy else ""
        return one_line(f"{self.severity}: {where}: {self.message}{remedy}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """A declared attribute: its type in VIA's words and, for a choice, option id -> description.

    What VIA gives to a new region: `default_value` for a text, `default_options` for a choice.
    """

    name: str
    type: str = "text"
    description: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    default_value: str = ""
    default_options: tuple[str, ...] = ()


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
    """The id of an image in a COCO file, and its (width, height) in pixels, None if not stated."""

    id: int | str
    size: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """The COCO annotation of an object. The regions that are made of it share it.

    Lists are those of the file and are not to be changed.

    Attributes:
        id: in the file, as text.
        category: the id of its category, as text; "" for none.
        box: x, y, width, height in continuous coordinates; None where there is none of any extent.
        area: in square pixels, None where it is not stated.
        mask: rings x0, y0, x1, y1, ... or a run-length encoding; None where there is only a box.
        keypoints: x, y, visibility of each keypoint of the category, in pixel indices; or none.
        is_crowd: whether it marks a group of objects, which is neither learnt nor counted as one.
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
    """One image entry. `size` is the file's length in bytes, None where VIA did not know it.

    The regions of COCO's crowds are in `crowds`: they are no objects.
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
    """All that was read from one file, and every problem found on the way.

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
