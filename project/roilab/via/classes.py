"""The class of every outline: its attribute's value, else the default, then the map."""

from collections.abc import Mapping

from roilab.errors import UserError
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
        The classes, without the regions that have none, and an error for each of these.

    Raises:
        UserError: the map renames a class that neither occurs nor is an option of the attribute.
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
    _check_map(annotations.file, class_map, occurring, declared)
    return classes, problems


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


def _check_map(
    file: str,
    class_map: Mapping[str, str | None],
    occurring: set[str],
    declared: Attribute | None,
) -> None:
    options = declared.options.items() if declared is not None else ()
    # An option that no region of this file uses is no slip: another split may use it.
    known = occurring | {description or option for option, description in options}
    unknown = sorted(set(class_map) - known)
    if unknown:
        raise UserError(
            f"class_map renames {', '.join(map(repr, unknown))}, which does not occur",
            file=file,
            key="class_map",
            found=", ".join(sorted(known)) or "no class at all",
            expected="classes that occur in the file",
        )
