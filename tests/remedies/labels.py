"""Remedies of labelling: which attribute is what, classes, keypoints and objects."""

from pathlib import Path
from typing import Any

from . import reading
from .cases import Wrong, add_cases, attempt
from .files import FAR, choice, point, polygon, skeleton, via_json, via_project


@attempt
def label(folder: Path, *regions: Any, bones: Any = None, **rules: Any) -> Wrong:
    """A file of an image with these regions is read and labelled, with a skeleton of these values.

    PET, which changes none, is the skeleton of a dog with nose and tail.
    """
    file = via_json(folder, list(regions))
    return reading.label(file, None if bones is None else skeleton(folder, **bones), **rules)


PET: dict[str, Any] = {}
OF_BOTH = {"name": "both", "classes": ["dog", "car"]}
PUPPIES = {"name": "puppy", "classes": ["puppy"]}
KIND = {"class_attribute": "kind"}
TIED = {**KIND, "instance_attribute": "id"}
PARTS = {"bones": PET, "keypoint_attribute": "part"}
SEEN = {"bones": PET, "visibility_attribute": "seen"}
DOG, CAT = polygon(kind="dog"), polygon(*FAR, kind="cat")
FAR_DOG, UNNAMED = polygon(*FAR, kind="dog"), polygon(*FAR, kind="")
DOG_1, NOSE = polygon(kind="dog", id="1"), point(9, 9, part="nose")
NOSE_1, NOSE_2 = point(9, 9, part="nose", id="1"), point(50, 9, part="nose", id="2")
BESIDE, BESIDE_1 = point(50, 9, part="nose"), point(50, 9, part="nose", id="1")
UNSEEN = point(9, 9, part="nose", seen="absent")
FLAT = (5, 5), (9, 9), (12, 12)
NAMES = ("ann", "bob", "cleo", "dan", "eve", "fay", "gus", "hal", "ida")
EACH_ANOTHER = [polygon((x, 5), (x + 5, 5), (x, 9), kind=name) for x, name in enumerate(NAMES)]
TWICE_TIED = [polygon(kind="dog", id="1", track="7"), point(9, 9, part="nose", id="1", track="7")]
TWO_NOSES = [point(x, 9, part="nose", kind="dog") for x in (9, 45)]


def path(*corners: tuple[int, int], **attributes: Any) -> dict[str, Any]:
    """A polyline."""
    region = polygon(*corners, **attributes)
    return {**region, "shape_attributes": {**region["shape_attributes"], "name": "polyline"}}


PATHS = {"bones": PET, "keypoint_vertices": "polyline"}
NO_CLASS = (
    "give default_class=NAME, the class of all regions, or class_attribute=NAME, or unlabelled=skip"
)
TIES = (
    "give instance_attribute=NAME; where points belong to the outline around them, "
    'instance_attribute=""'
)

# Which attribute is what.
ROLES = {
    'give class_attribute=NAME; class_attribute=["A", "B"] where each is a class of its own; '
    'class_attribute="" default_class=NAME where none is the class': [
        label(polygon(kind="dog", colour=""), polygon(*FAR, kind="", colour="red"), **rules)
        for rules in (
            {},
            {**KIND, "unlabelled": "skip"},
            {"class_attribute": ("kind", "colour")},
            {"class_attribute": "", "default_class": "dog"},
        )
    ],
    "give class_attribute=NAME if it is another": [
        label(polygon(label="dog", id="1"), **rules)
        for rules in ({}, {"class_attribute": "id"}, {"class_attribute": "label"})
    ],
    "give class_attribute=NAME if one of them holds the class": [
        label(polygon(dog="dog"), polygon(*FAR, cat="cat"), **rules)
        for rules in ({}, {"class_attribute": "dog", "unlabelled": "skip"})
    ],
    'give instance_attribute="" if each region is an object': [
        label(polygon(kind="dog", instance="1"), **rules)
        for rules in ({}, {**KIND, "instance_attribute": ""})
    ],
    'where it is no class, give class_attribute="" default_class=NAME; where it is, {}': [
        label(*EACH_ANOTHER, **rules)
        for rules in ({}, {"class_attribute": "", "default_class": "dog"}, KIND)
    ],
    "leave out {}": [
        label(polygon(), default_class="dog", **rules)
        for rules in ({"instance_attribute": "id"}, {})
    ],
    "give default_class=NAME as well": [
        label(polygon(), **KIND, **rules) for rules in ({}, {"default_class": "dog"})
    ],
    NO_CLASS: [
        label(polygon(), **rules)
        for rules in ({}, {"default_class": "dog"}, {"unlabelled": "skip"})
    ],
    "give keypoint_attribute=NAME": [
        label(DOG, point(9, 9, part="nose", other="tail"), **rules)
        for rules in ({"bones": PET}, PARTS)
    ],
    "name the points, or the skeleton's": [
        label(DOG, point(9, 9, part="ear"), bones=PET),
        label(DOG, point(9, 9, part="ear"), bones={"keypoints": ["ear", "tail"]}),
        label(DOG, NOSE, bones=PET),
    ],
    'give visibility_attribute=NAME; where none of them is, visibility_attribute=""': [
        label(DOG, point(9, 9, part="nose", seen="visible", state="occluded"), **rules)
        for rules in ({"bones": PET}, SEEN, {**SEEN, "visibility_attribute": ""})
    ],
    TIES: [
        label(*TWICE_TIED, bones=PET, **KIND, **rules)
        for rules in ({}, {"instance_attribute": "id"}, {"instance_attribute": ""})
    ],
    "give {} or {} if it is one of them": [
        label(DOG, point(9, 9, part="nose", seen="yes"), bones=PET, **rules)
        for rules in ({}, {"visibility_attribute": "seen"})
    ],
    "give the points an attribute in VIA that names each, then skeleton=FILE": [
        label(DOG, point(9, 9)),
        label(DOG, NOSE, bones=PET),
    ],
    # A name that COCO's skeleton has not, which the data commands take where it fits.
    "give skeleton=FILE to read them; roilab data skeleton proposes one": [
        label(DOG, point(9, 9, part="tail"), bones=bones) for bones in (None, PET)
    ],
    "rename a class with {}, or name yours in the skeleton file": [
        label(polygon(kind="puppy"), bones=PET),
        label(polygon(kind="puppy"), bones=PET, class_map={"puppy": "dog"}),
        label(polygon(kind="puppy"), bones=PUPPIES),
    ],
    "mark them as points, or, where a path has them as vertices, give "
    "keypoint_vertices=polyline or keypoint_vertices=polygon": [
        label(DOG, bones=PET),
        label(DOG, path((9, 9), (20, 20), kind=""), **PATHS),
        label(DOG, NOSE, bones=PET),
    ],
}
# The class given as another attribute; a class that points carry as well.
OTHERS = {
    NO_CLASS: [label(DOG, instance_attribute="kind"), label(DOG, **KIND)],
    TIES: [
        label(DOG, FAR_DOG, *TWO_NOSES, bones=PET, **rules)
        for rules in ({}, {"instance_attribute": ""})
    ],
}


@attempt
def options(folder: Path, **options: str) -> Wrong:
    """A project that declares the options of a choice is labelled."""
    attributes = {"kind": choice(**options)}
    return reading.label(via_project(folder, [polygon(kind="1")], attributes=attributes))


# Classes.
CLASSES = {
    "give it one in VIA": [
        label(polygon(kind=ticks)) for ticks in ({"dog": True, "cat": True}, {"dog": True})
    ],
    "label it in VIA, or give default_class=NAME, or unlabelled=skip": [
        label(DOG, UNNAMED),
        label(DOG, UNNAMED, default_class="cat"),
        label(DOG, UNNAMED, unlabelled="skip"),
        label(DOG, CAT),
    ],
    "label them in VIA if they should count": [
        label(DOG, other, unlabelled="skip") for other in (UNNAMED, CAT)
    ],
    "leave out {} to keep them": [label(DOG, class_map={"dog": None}), label(DOG)],
    "the file has {}": [label(DOG, class_map={name: "animal"}) for name in ("dgo", "dog")],
    "add {} if that is meant, else choose another name": [
        label(DOG, CAT, class_map=class_map)
        for class_map in ({"dog": "cat"}, {"dog": "cat", "cat": "cat"}, {"dog": "animal"})
    ],
    "describe them differently in VIA, or remove all but one": [
        options(**names)
        for names in ({"1": "dog", "2": "dog"}, {"1": "dog", "2": "cat"}, {"1": "dog"})
    ],
    'make them one with class_map={"OLD": "NEW"}': [
        label(DOG, polygon(*FAR, kind="Dog"), **rules)
        for rules in ({}, {"class_map": {"Dog": "dog"}})
    ],
}

# Regions, points and what they belong to.
BY_ID = {"bones": PET, "instance_attribute": "id"}
BOTH, FIRST = {"1": True, "2": True}, {"1": True}
OTHERS["tick one object"] = [label(polygon(kind="dog", id=ids), **BY_ID) for ids in (BOTH, FIRST)]
OBJECTS = {
    "tick one object": [
        label(polygon(kind="dog", id=FIRST), point(9, 9, part="nose", id=ids), **BY_ID)
        for ids in (BOTH, FIRST)
    ],
    "draw it again, or delete it": [label(polygon(*FLAT, kind="dog")), label(DOG), label()],
    "give both one class, or the objects different values": [
        label(DOG_1, polygon(*FAR, **second), **TIED)
        for second in (
            {"kind": "cat", "id": "1"},
            {"kind": "dog", "id": "1"},
            {"kind": "cat", "id": "2"},
        )
    ],
    "set '{}'": [label(DOG_1, point(9, 9, part="nose", id=tie), **BY_ID) for tie in ("", "1")],
    "tie it to a {}, or name the class in the file of skeleton '{}'": [
        label(
            polygon(kind=kind, id="1"),
            polygon(*FAR, kind="dog", id="2"),
            NOSE_1,
            bones=bones,
            instance_attribute="id",
        )
        for kind, bones in (("car", PET), ("dog", PET), ("car", OF_BOTH))
    ],
    "keep the object's class to keep it": [
        label(DOG_1, NOSE_1, bones=PET, **TIED, **rules)
        for rules in ({"class_map": {"dog": None}}, {})
    ],
    "correct the object's outline first": [
        label(polygon(*corners, kind="dog", id="1"), NOSE_1, bones=PET, **TIED)
        for corners in (FLAT, ())
    ],
    "delete one where it is double, or give instance_attribute=NAME": [
        label(DOG_1, polygon(kind="dog", id="2"), NOSE, bones=PET, **KIND),
        label(DOG_1, NOSE, bones=PET, **KIND),
        label(DOG_1, polygon(kind="dog", id="2"), NOSE_1, bones=PET, **TIED),
    ],
    "draw the object's outline around it, or give instance_attribute=NAME": [
        label(DOG, BESIDE, bones=PET),
        label(FAR_DOG, BESIDE, bones=PET),
        label(DOG_1, BESIDE_1, bones=PET, **TIED),
    ],
    "outline the objects, or give instance_attribute=NAME": [
        label(NOSE_1, NOSE_2, **PARTS),
        label(NOSE_1, NOSE_2, **PARTS, instance_attribute="id"),
        label(DOG, FAR_DOG, NOSE_1, NOSE_2, **PARTS, **KIND),
    ],
    "delete one of the two, or name it as what it is": [
        label(DOG, NOSE, *(point(20, 20, part=part) for part in others), bones=PET)
        for others in (["nose"], [], ["tail"])
    ],
    "outline the object; {} have these keypoints": [
        label(NOSE, *outlines, bones={"classes": ["dog", "cat"]})
        for outlines in ([], [polygon(kind="cat")])
    ],
    "outline the object, or delete its points": [
        label(*regions, bones=PET) for regions in ([UNSEEN], [UNSEEN, DOG], [])
    ],
    "outline it if it should count for boxes and masks": [
        label(NOSE, *outlines, bones=PET) for outlines in ([], [DOG])
    ],
    "draw a vertex for each of {}, in this order": [
        label(path(*corners), **PATHS) for corners in (((5, 5), (9, 9), (12, 3)), ((5, 5), (9, 9)))
    ],
    "use a name of skeleton '{}': {}": [
        label(DOG, NOSE, point(12, 12, part=part), bones=PET) for part in ("ear", "tail")
    ],
    "tick at most one": [
        label(DOG, point(9, 9, part="nose", seen=ticks), **SEEN)
        for ticks in ({"visible": True, "occluded": True}, {"visible": True})
    ],
    "use one of {}": [
        label(DOG, point(9, 9, part="nose", seen=seen), **SEEN)
        for seen in ("perhaps", "occluded", "yes")
    ],
}
add_cases(__name__, ROLES, OTHERS, CLASSES, OBJECTS)
