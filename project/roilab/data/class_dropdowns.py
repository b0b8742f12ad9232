"""The attributes of a file by the roles that they play, and the class as a choice of VIA's."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from roilab import via
from roilab.via.labels.attributes import described

Values = Mapping[str, via.Value]
# More different texts than this are no classes if they are more than half of all.
_MANY = 50


def with_values(
    annotations: via.Annotations,
    declared: Mapping[str, via.Attribute],
    change: Callable[[Values], Values],
) -> via.Annotations:
    """The file with changed values of every region, and the attributes that declare them."""
    images = tuple(
        replace(
            image,
            regions=tuple(
                replace(region, attributes=change(region.attributes)) for region in image.regions
            ),
        )
        for image in annotations.images
    )
    return replace(annotations, images=images, region_attributes=declared)


def declared_classes(
    annotations: via.Annotations, attribute: str | None, class_map: Mapping[str, str | None]
) -> list[str]:
    """The classes that the file declares as options, in their order, after the map."""
    declared = annotations.region_attributes.get(attribute or "")
    options = declared.options if declared is not None else ()
    names = [described(option, declared) for option in options]
    return list(dict.fromkeys(new for name in names if (new := class_map.get(name, name))))


def with_united_class(
    annotations: via.Annotations, flags: Sequence[str]
) -> tuple[via.Annotations, str]:
    """The file with one attribute instead of several that are a class each, and its name.

    Args:
        flags: the attributes, whose names are the classes.
    """
    others = annotations.region_attributes.keys() - set(flags)
    names = ("class", "label", "category", *(f"class {n}" for n in range(2, len(others) + 3)))
    name = next(each for each in names if each not in others)
    several = any(
        sum(bool(region.attributes.get(flag)) for flag in flags) > 1
        for image in annotations.images
        for region in image.regions
    )

    def united(values: Values) -> Values:
        found = tuple(flag for flag in flags if values.get(flag))
        kept = {each: value for each, value in values.items() if each not in flags}
        return kept | {name: found if several else "".join(found)}

    declared = {
        each: attribute
        for each, attribute in annotations.region_attributes.items()
        if each not in flags
    }
    kind = "checkbox" if several else "dropdown"
    declared[name] = via.Attribute(name, kind, options={flag: flag for flag in flags})
    return with_values(annotations, declared, united), name


def with_class_choice(annotations: via.Annotations, attribute: str) -> via.Annotations:
    """The file with a class that is text as a dropdown: VIA exports no other to COCO.

    Options without a description are described by their id, which is what VIA writes to COCO. Text
    of many different values, such as a transcript, stays what it is.
    """
    declared = annotations.region_attributes.get(attribute, via.Attribute(attribute))
    if declared.type == "image":
        return annotations
    values = Counter(
        value
        for image in annotations.images
        for region in image.regions
        if (value := region.attributes.get(attribute))
    )
    options = {option: text or option for option, text in declared.options.items()}
    chosen = replace(declared, options=options)
    words = {value for value in values if isinstance(value, str)}
    is_free = len(values) > _MANY and 2 * len(values) > values.total()
    if declared.type == "text" and words == values.keys() and not is_free:
        default = declared.default_value
        words |= {default} - {""}
        options |= {word: word for word in sorted(words) if word not in options}
        defaults = declared.default_options or ((default,) if default else ())
        chosen = replace(chosen, type="dropdown", default_value="", default_options=defaults)
    return replace(
        annotations, region_attributes={**annotations.region_attributes, attribute: chosen}
    )
