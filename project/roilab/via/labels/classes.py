"""The class of every outline: its attribute's value, else the default, then the map."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from roilab.errors import argument
from roilab.text import counted
from roilab.via.labels.attribute_values import Kinds, described, folded, listed, outline_regions
from roilab.via.records import Annotations, Attribute, Problem, Region, Severity

# (image key, region index) -> class name; None where the class is dropped as asked.
Classes = Mapping[tuple[str, int], str | None]
Unlabelled = Literal["error", "skip"]


def name_classes(
    annotations: Annotations,
    kinds: Kinds,
    attribute: str | None,
    flags: Sequence[str],
    default: str | None,
    class_map: Mapping[str, str | None],
    unlabelled: Unlabelled,
) -> tuple[Classes, list[Problem]]:
    """Name the class of every region that is an outline.

    Args:
        kinds: the shapes that are keypoints instead.
        attribute: the attribute that holds the class; None where every region takes the default.
        flags: attributes of which each is a class by its name, instead of `attribute`.
        default: the class of regions without one, before the map.
        class_map: new names; None or "" drops a class.
        unlabelled: what becomes of a region without a class where there is no default.

    Returns:
        The classes, without the regions that cannot have one, an error for each of these, a note
        with the number of those dropped as asked, and a warning about names that may be slips.
    """
    declared = annotations.region_attributes.get(attribute or "")
    classes: dict[tuple[str, int], str | None] = {}
    problems: list[Problem] = []
    occurring: Counter[str] = Counter()
    skipped = 0
    for image, region in outline_regions(annotations, kinds):
        names = _names(region, attribute, flags, declared)
        if len(names) > 1 or not (names or default or unlabelled == "skip"):
            problems.append(_unclear(annotations.file, image.filename, region, attribute, names))
            continue
        name = names[0] if names else default
        if name is None:
            skipped += 1
            classes[image.key, region.index] = None
        else:
            occurring[name] += 1
            classes[image.key, region.index] = class_map.get(name, name) or None
    about = _About(annotations.file, attribute)
    if default is not None:
        occurring[default] += 0
    problems += about.dropped(skipped, occurring, class_map)
    problems += about.unused_names(occurring, class_map, declared)
    problems += about.collisions(occurring, class_map, declared)
    return classes, problems


def class_value(
    region: Region, attribute: str | None, flags: Sequence[str], declared: Attribute | None
) -> str | None:
    """The one class that a region names itself, as a person reads it; None for none or several."""
    names = _names(region, attribute, flags, declared)
    return names[0] if len(names) == 1 else None


def _names(
    region: Region, attribute: str | None, flags: Sequence[str], declared: Attribute | None
) -> list[str]:
    if flags:
        return [name for name in flags if region.attributes.get(name)]
    value = region.attributes.get(attribute, "") if attribute is not None else ""
    values = (value,) if isinstance(value, str) else value
    return [described(each, declared) for each in values if each]


def _unclear(
    file: str, image: str, region: Region, attribute: str | None, names: list[str]
) -> Problem:
    if names:
        message = f"the region has several classes: {', '.join(names)}"
        remedy = "give it one in VIA"
    else:
        message = "the region has no class"
        remedy = "label it in VIA, or give default_class=NAME, or unlabelled=skip"
    return Problem("error", message, remedy, file, image, region.index, attribute)


class _About:
    """Problems that concern the class names of a file as a whole."""

    def __init__(self, file: str, attribute: str | None) -> None:
        self.file, self.attribute = file, attribute

    def _problem(self, severity: Severity, message: str, remedy: str) -> Problem:
        return Problem(severity, message, remedy, self.file, attribute=self.attribute)

    def dropped(
        self, skipped: int, occurring: Mapping[str, int], class_map: Mapping[str, str | None]
    ) -> Iterable[Problem]:
        """Regions that are left out because the user said so."""
        if skipped:
            message = f"skipped: {counted(skipped, 'region')} without a class"
            yield self._problem("note", message, "label them in VIA if they shall count")
        for name in sorted(occurring):
            if name in class_map and not class_map[name]:
                regions = counted(occurring[name], "region")
                message = f"dropped as asked: {regions} of class '{name}'"
                remedy = f"leave out {argument('class_map', {name: None})} to keep them"
                yield self._problem("note", message, remedy)

    def unused_names(
        self,
        occurring: Mapping[str, int],
        class_map: Mapping[str, str | None],
        declared: Attribute | None,
    ) -> Iterable[Problem]:
        """A slip of the pen, or a class that only another split has: only the user can tell."""
        options = declared.options if declared is not None else {}
        known = {*occurring, *(described(option, declared) for option in options)}
        unknown = sorted(set(class_map) - known)
        if unknown:
            message = f"a class that is renamed does not occur: {listed(unknown)}"
            remedy = f"the file has {', '.join(sorted(known)) or 'no class at all'}"
            yield self._problem("warning", message, remedy)

    def collisions(
        self,
        occurring: Mapping[str, int],
        class_map: Mapping[str, str | None],
        declared: Attribute | None,
    ) -> Iterable[Problem]:
        """Names that become one, or that look like one."""
        for old, new in sorted(class_map.items()):
            both_occur = old in occurring and new in occurring.keys() - class_map
            if new and both_occur and folded(old) != folded(new):
                message = f"'{old}' becomes one class with '{new}', which occurs as well"
                same = argument("class_map", {new: new})
                remedy = f"add {same} if that is meant, else choose another name"
                yield self._problem("warning", message, remedy)
        names: dict[str, list[str]] = {}
        for option in declared.options if declared is not None else ():
            names.setdefault(described(option, declared), []).append(option)
        for name, ids in sorted(names.items()):
            if len(ids) > 1 and name in occurring:
                message = f"the options {listed(ids)} are one class: all are described as '{name}'"
                remedy = "describe them differently in VIA, or remove all but one"
                yield self._problem("warning", message, remedy)
        alike: dict[str, set[str]] = {}
        for name in occurring:
            kept = class_map.get(name, name)
            if kept:
                alike.setdefault(folded(kept), set()).add(kept)
        for found in alike.values():
            if len(found) > 1:
                message = f"the classes {listed(sorted(found))} differ only by case or white space"
                remedy = 'make them one with class_map={"OLD": "NEW"}'
                yield self._problem("warning", message, remedy)
