"""Label rules, the roles of attributes that follow from them, and what both concern in a file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from roilab.errors import UserError, argument
from roilab.text import first_of
from roilab.via import records

# The kinds of shape that hold keypoints: points always, one kind of path where the user says so.
Kinds = tuple[type[records.Shape], ...]
# A region with its image.
Placed = tuple[records.ImageRecord, records.Region]
_SAMPLES = 4
_CHOICES: Mapping[str, tuple[str | None, ...]] = {
    "unlabelled": ("error", "skip"),
    "keypoint_vertices": ("polygon", "polyline", None),
}


@dataclass(frozen=True, slots=True)
class LabelRules:
    """Rules by which attributes become classes and keypoints. None: inferred if unambiguous.

    Attributes:
        class_attribute: the region attribute that names the class; "": none does; several names:
            each of these attributes is a class of its own, in the regions that have a value of it.
        class_map: renames and merges classes; mapping a class to None drops its instances.
        default_class: the class of regions that carry no class.
        keypoint_attribute: the attribute of `point` regions that names the keypoint.
        instance_attribute: the attribute that ties points (and further polygons) to their object;
            "": none does.
        visibility_attribute: marks a point as occluded; without it, or with "", every point is
            visible.
        unlabelled: what becomes of a region that carries no class where there is no default_class.
        keypoint_vertices: the regions of this shape are no outlines: each holds all keypoints of an
            object, a vertex for each, in the skeleton's order.
    """

    class_attribute: str | Sequence[str] | None = None
    class_map: Mapping[str, str | None] = field(default_factory=dict)
    default_class: str | None = None
    keypoint_attribute: str | None = None
    instance_attribute: str | None = None
    visibility_attribute: str | None = None
    unlabelled: Literal["error", "skip"] = "error"
    keypoint_vertices: Literal["polygon", "polyline"] | None = None

    def __post_init__(self) -> None:
        # From a config it is a DictConfig, or None.
        object.__setattr__(self, "class_map", dict(self.class_map or {}))
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                texts = [choice for choice in choices if choice is not None]
                remedy = f"give {' or '.join(argument(key, text) for text in texts)}, or none"
                expected = " or ".join(texts)
                value = getattr(self, key)
                raise UserError(
                    "no such choice", key=key, found=value, expected=expected, remedy=remedy
                )

    @property
    def class_flags(self) -> tuple[str, ...]:
        """The attributes of which each is a class, where several are named."""
        several = not isinstance(self.class_attribute, str | None)
        return tuple(self.class_attribute or ()) if several else ()

    @property
    def kinds(self) -> Kinds:
        """The shapes that hold keypoints."""
        paths = {"polygon": (records.Polygon,), "polyline": (records.Polyline,), None: ()}
        return (records.Point, *paths[self.keypoint_vertices])

    @property
    def may_lack_class(self) -> bool:
        """Whether a region without a class is no mistake."""
        return self.default_class is not None or self.unlabelled == "skip"

    def mapped(self, name: str) -> str | None:
        """The class that a class name stands for; None if it is dropped."""
        return self.class_map.get(name, name) or None


@dataclass(slots=True)
class Roles:
    """Names of attributes; None where the file has no such attribute, or none was named.

    Attributes:
        kinds: the shapes that hold keypoints; all others are outlines.
        score: the attribute of a model's scores, which plays no part.
        flags: attributes of which each is a class of its own, by its name; without a `label`.
        problems: what the user should know about roles that were inferred.
    """

    label: str | None = None
    keypoint: str | None = None
    instance: str | None = None
    visibility: str | None = None
    kinds: Kinds = (records.Point,)
    score: str | None = None
    flags: tuple[str, ...] = ()
    problems: tuple[records.Problem, ...] = ()

    @property
    def names(self) -> set[str | None]:
        """The attributes that play a role."""
        return {self.label, *self.flags, self.keypoint, self.instance, self.visibility, self.score}


def tagged(declared: Mapping[str, records.Attribute]) -> dict[str, str]:
    """Role -> the name of the attribute whose description has the role's tag."""
    return {
        role: name
        for role, tag in records.TAGS.items()
        for name, attribute in declared.items()
        if attribute.description.endswith(tag)
    }


def keypoint_regions(annotations: records.Annotations, kinds: Kinds) -> Iterator[Placed]:
    """The regions that hold keypoints, with their images."""
    pairs = ((image, region) for image in annotations.images for region in image.regions)
    return (pair for pair in pairs if isinstance(pair[1].shape, kinds))


def outline_regions(annotations: records.Annotations, kinds: Kinds) -> Iterator[Placed]:
    """The regions that outline objects, which are all the others, with their images."""
    pairs = ((image, region) for image in annotations.images for region in image.regions)
    return (pair for pair in pairs if not isinstance(pair[1].shape, kinds))


def attributes_in_use(regions: Iterable[Placed]) -> dict[str, list[str]]:
    """Attribute name -> the different values that occur; always empty attributes are left out."""
    by_name: dict[str, dict[str, None]] = {}
    for _, region in regions:
        for name, value in region.attributes.items():
            for text in (value,) if isinstance(value, str) else value:
                if text:
                    by_name.setdefault(name, {})[text] = None
    return {name: list(values) for name, values in by_name.items()}


def described(value: str, attribute: records.Attribute | None) -> str:
    """A value as a person reads it: the option's description where there is one, else the value.

    The "description" of an image attribute's option is a picture, which nobody reads.
    """
    if attribute is None or attribute.type == "image":
        return value
    return attribute.options.get(value) or value


def single(region: records.Region, name: str | None) -> str:
    """The one value that a region has for an attribute; "" for none or for several ticks."""
    value = region.attributes.get(name, "") if name is not None else ""
    if isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else ""


def folded(name: str) -> str:
    """A name without differences of case and white space."""
    return " ".join(name.casefold().split())


def listed(names: Iterable[str]) -> str:
    """Names for a message, in quotation marks."""
    return ", ".join(map(repr, names))


def some(values: Sequence[str]) -> str:
    """The first of some values for a message, in quotation marks."""
    return first_of(list(map(repr, values)), _SAMPLES)


def with_samples(attributes: Mapping[str, Sequence[str]]) -> str:
    """Attributes and some of their values, for a message."""
    samples = [f"{name} ({some(values)})" for name, values in attributes.items()]
    return "; ".join(samples) or "none"
