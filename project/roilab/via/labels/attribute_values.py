"""The attributes of a file: which occur, where, and with which values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from roilab.text import first_of
from roilab.via.records import Annotations, Attribute, ImageRecord, Region, Shape, Value

# The kinds of shape that hold keypoints: points always, one kind of path where the user says so.
Kinds = tuple[type[Shape], ...]

_SAMPLES = 4


def keypoint_regions(
    annotations: Annotations, kinds: Kinds
) -> Iterator[tuple[ImageRecord, Region]]:
    """The regions that hold keypoints, with their images."""
    for image in annotations.images:
        for region in image.regions:
            if isinstance(region.shape, kinds):
                yield image, region


def outline_regions(annotations: Annotations, kinds: Kinds) -> Iterator[tuple[ImageRecord, Region]]:
    """The regions that outline objects, which are all the others, with their images."""
    for image in annotations.images:
        for region in image.regions:
            if not isinstance(region.shape, kinds):
                yield image, region


def described(value: str, attribute: Attribute | None) -> str:
    """A value as a person reads it: the option's description where there is one, else the value.

    The "description" of an image attribute's option is a picture, which nobody reads.
    """
    if attribute is None or attribute.type == "image":
        return value
    return attribute.options.get(value) or value


def single(region: Region, name: str | None) -> str:
    """The one value that a region has for an attribute; "" for none or for several ticks."""
    value: Value = region.attributes.get(name, "") if name is not None else ""
    if isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else ""


def attributes_in_use(regions: Iterable[tuple[ImageRecord, Region]]) -> dict[str, list[str]]:
    """Attribute name -> the different values that occur; always empty attributes are left out."""
    found: dict[str, dict[str, None]] = {}
    for _, region in regions:
        for name, value in region.attributes.items():
            for each in (value,) if isinstance(value, str) else value:
                if each:
                    found.setdefault(name, {})[each] = None
    return {name: list(values) for name, values in found.items()}


def folded(name: str) -> str:
    """A name without differences of case and white space."""
    return " ".join(name.casefold().split())


def listed(names: Iterable[str]) -> str:
    """Names for a message, in quotation marks."""
    return ", ".join(map(repr, names))


def with_samples(found: Mapping[str, Sequence[str]]) -> str:
    """Attributes and some of their values, for a message."""
    listed = []
    for name, values in found.items():
        listed.append(f"{name} ({first_of(list(map(repr, values)), _SAMPLES)})")
    return "; ".join(listed) or "none"
