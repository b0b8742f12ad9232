"""The class of every outline: its attribute's value, else the default, then the map."""

from collections.abc import Mapping

from roilab.via.records import Annotations, Attribute, Problem, Region
from roilab.via.values import all_regions, described

# (image key, region index) -> class name; None where the class is dropped by the map.
Classes = Mapping[tuple[str, int], str | None]


def name_classes(
    annotations: Annotations,
    attribute: str | None,
    default: str | None,
    class_map: Mapping[str, str | None],
) -> tuple[Classes, list[Problem]]:
    """Name the class of every region that is not a point.

    Args:
        attribute: the attribute that holds the class; None where every region takes the default.
        default: the class of regions without one, before the map.
        class_map: new names; None or "" drops a class.

    Returns:
        The classes, without the regions that have none, an error for each of these, and a warning
        where the map renames a class that neither occurs nor is an option of the attribute.
    """
    declared = annotations.region_attributes.get(attribute or "")
    classes: dict[tuple[str, int], str | None] = {}
    problems = []
    occurring = {default} if default is not None else set()
    for image, region in all_regions(annotations, points=False):
        names = _ticked(region, attribute, declared)
        if len(names) > 1 or not (names or default):
            problems.append(_unclear(annotations.file, image.filename, region, attribute, names))
            continue
        name = names[0] if names else str(default)
        occurring.add(name)
        classes[image.key, region.index] = (class_map.get(name, name)) or None
    unused = _unused_names(annotations.file, class_map, occurring, declared)
    return classes, problems + unused


def class_value(region: Region, attribute: str | None, declared: Attribute | None) -> str | None:
    """The one class that a region names itself, as a person reads it; None for none or several."""
    names = _ticked(region, attribute, declared)
    return names[0] if len(names) == 1 else None


def _ticked(region: Region, attribute: str | None, declared: Attribute | None) -> list[str]:
    value = region.attributes.get(attribute, "") if attribute is not None else ""
    values = (value,) if isinstance(value, str) else value
    return [described(each, declared) for each in values if each]


def _unclear(
    file: str, image: str, region: Region, attribute: str | None, names: list[str]
) -> Problem:
    if names:
        message = f"several classes are ticked: {', '.join(names)}"
        remedy = "tick one"
    else:
        message = "the region has no class"
        remedy = "label it in VIA, or give default_class"
    return Problem("error", message, remedy, file, image, region.index, attribute)


def _unused_names(
    file: str,
    class_map: Mapping[str, str | None],
    occurring: set[str],
    declared: Attribute | None,
) -> list[Problem]:
    """A slip of the pen, or a class that only another split has: a warning, since only the user
    can tell.
    """
    options = declared.options.items() if declared is not None else ()
    known = occurring | {description or option for option, description in options}
    unknown = sorted(set(class_map) - known)
    if not unknown:
        return []
    message = f"class_map renames {', '.join(map(repr, unknown))}, which does not occur"
    remedy = f"the file has {', '.join(sorted(known)) or 'no class at all'}"
    return [Problem("warning", message, remedy, file)]
