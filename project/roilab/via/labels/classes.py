"""The class of every outline, by attribute, default and map; the context of its image."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from roilab.errors import argument
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import records
from roilab.via.geometry import kind_of, why_flat
from roilab.via.labels.label_rules import (
    LabelRules,
    Roles,
    described,
    folded,
    listed,
    outline_regions,
)

# (image key, region index) -> class name; None where the class is dropped as asked.
Classes = Mapping[tuple[str, int], str | None]


@dataclass(frozen=True, slots=True)
class ImageContext:
    """One image and all that is known about its file. What is left out goes to the `reporter`."""

    annotations: records.Annotations
    image: records.ImageRecord
    rules: LabelRules
    roles: Roles
    skeleton: Skeleton | None
    classes: Classes
    reporter: records.Reporter

    def own_class(self, region: records.Region) -> str | None:
        """The one class that a region names itself, before the map; None for none or several."""
        names = _names(region, self.roles, self.annotations)
        return names[0] if len(names) == 1 else None

    def is_flat(self, region: records.Region) -> bool:
        """Whether an outline encloses no area, which is an error."""
        reason = why_flat(region.shape)  # type: ignore[arg-type] # no point
        if reason:
            message = f"the {kind_of(region.shape)} encloses no area: {reason}"
            self.reporter.error(message, "draw it again, or delete it", region.index)
        return bool(reason)


def name_classes(
    annotations: records.Annotations,
    roles: Roles,
    rules: LabelRules,
    reporter: records.Reporter,
) -> Classes:
    """Name the class of every region that is an outline.

    The `reporter` gets an error for each region that cannot have a class and is left out, a note
    with the number of those dropped as asked, and warnings about names that may be mistyped.
    """
    classes: dict[tuple[str, int], str | None] = {}
    occurring: Counter[str] = Counter()
    skipped = 0
    for image, region in outline_regions(annotations, roles.kinds):
        names = _names(region, roles, annotations)
        name = names[0] if names else rules.default_class
        if len(names) > 1 or not (name or rules.unlabelled == "skip"):
            message = "the region has no class"
            remedy = "label it in VIA, or give default_class=NAME, or unlabelled=skip"
            if names:
                message = f"the region has several classes: {', '.join(names)}"
                remedy = "give it one in VIA"
            of_image = replace(reporter, image=image.filename)
            of_image.error(message, remedy, region.index, roles.label)
            continue
        classes[image.key, region.index] = None if name is None else rules.mapped(name)
        if name is None:
            skipped += 1
        else:
            occurring[name] += 1
    if rules.default_class is not None:
        occurring[rules.default_class] += 0
    declared = annotations.region_attributes.get(roles.label or "")
    for remark in _remarks(skipped, occurring, rules, declared):
        reporter.report(*remark, attribute=roles.label)
    return classes


def _names(region: records.Region, roles: Roles, annotations: records.Annotations) -> list[str]:
    """The classes that a region names, as a person reads them."""
    if roles.flags:
        return [name for name in roles.flags if region.attributes.get(name)]
    if roles.label is None:
        return []
    value = region.attributes.get(roles.label, "")
    declared = annotations.region_attributes.get(roles.label)
    values = (value,) if isinstance(value, str) else value
    return [described(text, declared) for text in values if text]


def _remarks(
    skipped: int,
    occurring: Mapping[str, int],
    rules: LabelRules,
    declared: records.Attribute | None,
) -> Iterator[tuple[records.Severity, str, str]]:
    """Severity, message and remedy for regions that are left out because the user said so, and for
    names that do not occur, become one, or look like one.
    """
    if skipped:
        message = f"skipped: {counted(skipped, 'region')} without a class"
        remedy = "label them in VIA if they should count"
        yield "note", message, remedy
    for name in sorted(occurring):
        if name in rules.class_map and not rules.class_map[name]:
            message = f"dropped as asked: {counted(occurring[name], 'region')} of class '{name}'"
            remedy = f"leave out {argument('class_map', {name: None})} to keep them"
            yield "note", message, remedy
    options: dict[str, list[str]] = defaultdict(list)
    for option in declared.options if declared is not None else ():
        options[described(option, declared)].append(option)
    # A typing error, or a class that only another split has: only the user knows.
    known = occurring.keys() | options.keys()
    if unknown := sorted(rules.class_map.keys() - known):
        message = f"a class that is renamed does not occur: {listed(unknown)}"
        remedy = f"the file has {', '.join(sorted(known)) or 'no class at all'}"
        yield "warning", message, remedy
    for old, new in sorted(rules.class_map.items()):
        both_occur = old in occurring and new in occurring.keys() - rules.class_map
        if new and both_occur and folded(old) != folded(new):
            message = f"'{old}' becomes one class with '{new}', which occurs as well"
            same = argument("class_map", {new: new})
            remedy = f"add {same} if that is meant, else choose another name"
            yield "warning", message, remedy
    for name, ids in sorted(options.items()):
        if len(ids) > 1 and name in occurring:
            message = f"the options {listed(ids)} are one class: all are described as '{name}'"
            remedy = "describe them differently in VIA, or remove all but one"
            yield "warning", message, remedy
    alike: dict[str, set[str]] = defaultdict(set)
    for name in occurring:
        if label := rules.mapped(name):
            alike[folded(label)].add(label)
    for labels in alike.values():
        if len(labels) > 1:
            message = f"the classes {listed(sorted(labels))} differ only by case or white space"
            remedy = 'make them one with class_map={"OLD": "NEW"}'
            yield "warning", message, remedy
