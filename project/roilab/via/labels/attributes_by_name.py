"""Attributes that the user names, and those of class, instance and score by names and values."""

from collections.abc import Collection, Mapping, Sequence, Set

from roilab.errors import UserError, argument
from roilab.via.labels.label_rules import (
    Kinds,
    described,
    folded,
    listed,
    outline_regions,
    with_samples,
)
from roilab.via.records import Annotations, Reporter

# An attribute of the first names is the class beside attributes of the others, which RoILab's
# predictions and trackers write. Two of the first stay two possible answers.
_CLASS_NAMES = frozenset({"class", "label", "name", "names", "category", "type", "object"})
_OTHER_NAMES = frozenset({"instance", "id", "track", "score"})
# What says that an attribute applies.
_YES = frozenset({"1", "true", "yes"})


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


def class_by_name(possible: Collection[str], score: str | None, reporter: Reporter) -> str | None:
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
        reporter.report("note", message, remedy, attribute=classes[0])
    return classes[0]


def instance_by_name(possible: Collection[str], reporter: Reporter) -> str | None:
    """The attribute that is called instance: predictions that are saved hold one."""
    names = [name for name in possible if folded(name) == "instance"]
    if len(names) != 1:
        return None
    message = f"regions of an image with the same '{names[0]}' are one object, by its name"
    remedy = 'give instance_attribute="" if each region is an object'
    reporter.report("note", message, remedy, attribute=names[0])
    return names[0]


def are_flags(
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
