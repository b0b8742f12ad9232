"""The class of every outline: its attribute's value, else the default, then the map."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from roilab.errors import argument
from roilab.text import counted
from roilab.via.labels.attribute_roles import Roles
from roilab.via.labels.label_rules import LabelRules, described, folded, listed, outline_regions
from roilab.via.records import Annotations, Attribute, Problem, Region, Severity

# (image key, region index) -> class name; None where the class is dropped as asked.
Classes = Mapping[tuple[str, int], str | None]


def name_classes(
    annotations: Annotations, roles: Roles, rules: LabelRules
) -> tuple[Classes, list[Problem]]:
    """Name the class of every region that is an outline.

    Returns:
        The classes, without the regions that cannot have one, an error for each of these, a note
        with the number of those dropped as asked, and warnings about names that may be mistyped.
    """
    declared = annotations.region_attributes.get(roles.label or "")
    classes: dict[tuple[str, int], str | None] = {}
    problems: list[Problem] = []
    occurring: Counter[str] = Counter()
    skipped = 0
    for image, region in outline_regions(annotations, roles.kinds):
        names = _names(region, roles, declared)
        if len(names) > 1 or not (names or rules.default_class or rules.unlabelled == "skip"):
            message = "the region has no class"
            remedy = "label it in VIA, or give default_class=NAME, or unlabelled=skip"
            if names:
                message = f"the region has several classes: {', '.join(names)}"
                remedy = "give it one in VIA"
            place = (annotations.file, image.filename, region.index, roles.label)
            problems.append(Problem("error", message, remedy, *place))
            continue
        name = names[0] if names else rules.default_class
        if name is None:
            skipped += 1
            classes[image.key, region.index] = None
        else:
            occurring[name] += 1
            classes[image.key, region.index] = rules.mapped(name)
    if rules.default_class is not None:
        occurring[rules.default_class] += 0
    problem = partial(Problem, file=annotations.file, attribute=roles.label)
    problems += _dropped(problem, skipped, occurring, rules)
    problems += _unused_names(problem, occurring, rules, declared)
    problems += _collisions(problem, occurring, rules, declared)
    return classes, problems


def class_value(region: Region, roles: Roles, declared: Attribute | None) -> str | None:
    """The one class that a region names itself, as a person reads it; None for none or several."""
    names = _names(region, roles, declared)
    return names[0] if len(names) == 1 else None


def _names(region: Region, roles: Roles, declared: Attribute | None) -> list[str]:
    if roles.flags:
        return [name for name in roles.flags if region.attributes.get(name)]
    value = region.attributes.get(roles.label, "") if roles.label is not None else ""
    values = (value,) if isinstance(value, str) else value
    return [described(text, declared) for text in values if text]


# A problem that concerns the class names of a file as a whole: of severity, message and remedy.
_FileProblem = Callable[[Severity, str, str], Problem]


def _dropped(
    problem: _FileProblem, skipped: int, occurring: Mapping[str, int], rules: LabelRules
) -> Iterator[Problem]:
    """Regions that are left out because the user said so."""
    if skipped:
        message = f"skipped: {counted(skipped, 'region')} without a class"
        yield problem("note", message, "label them in VIA if they should count")
    for name in sorted(occurring):
        if name in rules.class_map and not rules.class_map[name]:
            message = f"dropped as asked: {counted(occurring[name], 'region')} of class '{name}'"
            remedy = f"leave out {argument('class_map', {name: None})} to keep them"
            yield problem("note", message, remedy)


def _unused_names(
    problem: _FileProblem,
    occurring: Mapping[str, int],
    rules: LabelRules,
    declared: Attribute | None,
) -> Iterator[Problem]:
    """A typing error, or a class that only another split has: only the user knows."""
    options = declared.options if declared is not None else {}
    known = {*occurring, *(described(option, declared) for option in options)}
    if unknown := sorted(set(rules.class_map) - known):
        message = f"a class that is renamed does not occur: {listed(unknown)}"
        remedy = f"the file has {', '.join(sorted(known)) or 'no class at all'}"
        yield problem("warning", message, remedy)


def _collisions(
    problem: _FileProblem,
    occurring: Mapping[str, int],
    rules: LabelRules,
    declared: Attribute | None,
) -> Iterator[Problem]:
    """Names that become one, or that look like one."""
    for old, new in sorted(rules.class_map.items()):
        both_occur = old in occurring and new in occurring.keys() - rules.class_map
        if new and both_occur and folded(old) != folded(new):
            message = f"'{old}' becomes one class with '{new}', which occurs as well"
            same = argument("class_map", {new: new})
            remedy = f"add {same} if that is meant, else choose another name"
            yield problem("warning", message, remedy)
    options: dict[str, list[str]] = {}
    for option in declared.options if declared is not None else ():
        options.setdefault(described(option, declared), []).append(option)
    for name, ids in sorted(options.items()):
        if len(ids) > 1 and name in occurring:
            message = f"the options {listed(ids)} are one class: all are described as '{name}'"
            remedy = "describe them differently in VIA, or remove all but one"
            yield problem("warning", message, remedy)
    alike: dict[str, set[str]] = {}
    for name in occurring:
        if label := rules.mapped(name):
            alike.setdefault(folded(label), set()).add(label)
    for labels in alike.values():
        if len(labels) > 1:
            message = f"the classes {listed(sorted(labels))} differ only by case or white space"
            remedy = 'make them one with class_map={"OLD": "NEW"}'
            yield problem("warning", message, remedy)
