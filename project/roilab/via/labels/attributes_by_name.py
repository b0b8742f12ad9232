"""The attributes of class, instance and score, by the user's word, their names and values."""

from collections.abc import Collection, Mapping, Sequence, Set

from roilab.errors import UserError, argument
from roilab.via.labels.label_rules import (
    Kinds,
    LabelRules,
    described,
    folded,
    listed,
    outline_regions,
    some,
    with_samples,
)
from roilab.via.records import Annotations, Problem

# An attribute of the first names is the class beside attributes of the others, which RoILab's
# predictions and trackers write. Two of the first stay two possible answers.
_CLASS_NAMES = frozenset({"class", "label", "name", "names", "category", "type", "object"})
_OTHER_NAMES = frozenset({"instance", "id", "track", "score"})
# What says that an attribute applies.
_YES = frozenset({"1", "true", "yes"})
# An inferred attribute has too many values for a class from this share of the objects on; of a few
# objects all may differ, unless every value has a number.
_MANY_CLASSES = 0.75
_FEW_OBJECTS = 8


def must_occur(annotations: Annotations, key: str, name: str, used: dict[str, list[str]]) -> None:
    """Refuse the name of an attribute, given under a key of `LabelRules`, that no region has.

    Raises:
        UserError: it is neither in a region nor declared; `used` lists what to choose from.
    """
    # An attribute that is always empty occurs: nothing may be occluded, for one. A file in which
    # nothing is annotated cannot show whether the name is right.
    regions = [region for image in annotations.images for region in image.regions]
    occurs = any(name in region.attributes for region in regions)
    if not regions or occurs or name in annotations.region_attributes:
        return
    expected = "a region attribute"
    if used:
        expected = f"one of these instead of '{name}'"
        remedy = f"give {argument(key, 'NAME')}"
    elif key == "class_attribute":
        # Another file of the same training may need the name, so that it stays.
        remedy = "give default_class=NAME as well"
    else:
        remedy = f"leave out {argument(key, name)}"
    raise UserError(
        f"no region has the attribute '{name}'",
        file=annotations.file,
        key=key,
        found=with_samples(used),
        expected=expected,
        remedy=remedy,
    )


def score_attribute(outlines: Mapping[str, list[str]], known: Set[str | None]) -> str | None:
    """The attribute called score that holds numbers from 0 to 1, as a model's are."""
    for name, values in outlines.items():
        if folded(name) == "score" and name not in known and all(map(_is_score, values)):
            return name
    return None


def _is_score(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False


def class_by_name(
    file: str, possible: Collection[str], score: str | None, problems: list[Problem]
) -> str | None:
    """The one attribute with a class's name, where all others have a name of another role.

    None as well for a single attribute without a score beside it, which is the class by any name.
    """
    classes = [name for name in possible if folded(name) in _CLASS_NAMES]
    others = {name for name in possible if folded(name) in _OTHER_NAMES}
    if len(classes) != 1 or len(others) != len(possible) - 1:
        return None
    if not others and not score:
        return None
    if others:
        message = f"the class is '{classes[0]}' by its name, not {listed(sorted(others))}"
        remedy = "give class_attribute=NAME if it is another"
        problems.append(Problem("note", message, remedy, file, attribute=classes[0]))
    return classes[0]


def instance_by_name(file: str, possible: Collection[str], problems: list[Problem]) -> str | None:
    """The attribute that is called instance: predictions that are saved hold one."""
    names = [name for name in possible if folded(name) == "instance"]
    if len(names) != 1:
        return None
    message = f"regions of an image with the same '{names[0]}' are one object, by its name"
    remedy = 'give instance_attribute="" if each region is an object'
    problems.append(Problem("note", message, remedy, file, attribute=names[0]))
    return names[0]


def class_attribute(
    annotations: Annotations,
    rules: LabelRules,
    outlines: dict[str, list[str]],
    label: str | None,
    unused: Collection[str],
    problems: list[Problem],
) -> tuple[str | None, tuple[str, ...]]:
    """The attribute that holds the class, else the attributes that are a class each.

    A `label` of "" says that there is none; `unused` attributes of the outlines play no other part.
    """
    flags = rules.class_flags
    kinds = rules.kinds
    may_lack = rules.may_lack_class
    for name in (*flags, label) if label else flags:
        # Sets are mixed from files with and without the attribute; what has none is then covered.
        if outlines or not may_lack:
            must_occur(annotations, "class_attribute", name, outlines)
    if label or flags:
        return label, flags
    possible: dict[str, list[str]] = {}
    if label is None:
        possible = {name: values for name, values in outlines.items() if name in unused}
    if len(possible) == 1:
        return next(iter(possible)), ()
    if not possible and (may_lack or not any(outline_regions(annotations, kinds))):
        return None, ()
    if possible and _are_flags(annotations, kinds, possible):
        message = f"the attributes {listed(possible)} are read as a class each, by their names"
        remedy = "give class_attribute=NAME if one of them holds the class"
        problems.append(Problem("note", message, remedy, annotations.file))
        return None, tuple(possible)
    if possible:
        message = "several attributes could be the class"
        samples = with_samples(possible)
        expected = "one of these"
        remedy = (
            'give class_attribute=NAME; class_attribute=["A", "B"] where each is a class of its '
            'own; class_attribute="" default_class=NAME where none is the class'
        )
    else:
        message = "no attribute of the regions can be the class"
        samples = with_samples(outlines) if outlines else "regions without attributes"
        expected = "an attribute that names the class"
        remedy = (
            "give default_class=NAME, the class of all regions, or class_attribute=NAME, or "
            "unlabelled=skip"
        )
    file = annotations.file
    key = "class_attribute"
    raise UserError(message, file=file, key=key, found=samples, expected=expected, remedy=remedy)


def _are_flags(
    annotations: Annotations, kinds: Kinds, possible: Mapping[str, Sequence[str]]
) -> bool:
    """Whether each attribute is a class: its value repeats its name, or every region ticks one."""

    def repeats(name: str, value: str) -> bool:
        described_as = described(value, annotations.region_attributes.get(name))
        return folded(name) in (folded(value), folded(described_as))

    pairs = [(name, value) for name, values in possible.items() for value in values]
    others = [value for name, value in pairs if not repeats(name, value)]
    if not others:
        return True
    if not all(folded(value) in _YES for value in others):
        return False
    return all(
        sum(bool(region.attributes.get(name)) for name in possible) == 1
        for _, region in outline_regions(annotations, kinds)
    )


def doubts(
    annotations: Annotations,
    kinds: Kinds,
    label: str,
    values: Sequence[str],
    of_points: Sequence[str],
) -> list[Problem]:
    """A warning where an inferred class attribute looks like the name of objects or of points."""
    declared = annotations.region_attributes.get(label)
    count = sum(1 for _ in outline_regions(annotations, kinds))
    few = count < _FEW_OBJECTS and not all(set(value) & set("0123456789") for value in values)
    is_choice = declared is not None and declared.type != "text"
    # VIA gives the default of an attribute to every region.
    if len(values) == 1 and values[0] in of_points and len(of_points) > 1:
        what = f"names points: {some(of_points)}"
    elif len(values) > 1 and not few and not is_choice and len(values) > _MANY_CLASSES * count:
        what = f"has {len(values)} values for {count} objects: {some(values)}"
    else:
        return []
    message = f"'{label}' is taken for the class, and {what}"
    remedy = (
        'where it is no class, give class_attribute="" default_class=NAME; where it is, '
        f"{argument('class_attribute', label)}"
    )
    return [Problem("warning", message, remedy, annotations.file, attribute=label)]
