"""Attributes of annotation files: one name a role in all of them, and the class as one choice."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from roilab import via
from roilab.errors import UserError, argument
from roilab.skeleton import Skeleton
from roilab.via.labels.attribute_roles import tagged
from roilab.via.labels.label_rules import (
    attributes_in_use,
    described,
    keypoint_regions,
    outline_regions,
    with_samples,
)
from roilab.via.records import TAGS

# Role -> the key of `via.LabelRules` that names its attribute.
_KEYS = {role: f"{role}_attribute" for role in ("class", "keypoint", "instance", "visibility")}


@dataclass(slots=True)
class _Source:
    """A file, its own rules, and what is known of its roles: role -> the name of the attribute."""

    annotations: via.Annotations
    rules: via.LabelRules
    names: dict[str, str]

    @property
    def declared(self) -> Mapping[str, via.Attribute]:
        return self.annotations.region_attributes


def harmonize_attributes(
    sources: Sequence[via.Annotations], rules: via.LabelRules, skeleton: Skeleton | None
) -> list[via.Annotations]:
    """The files with one attribute name a role: that of the first file that has the role.

    Where points are tied to their object by an attribute in one file and by their place in another,
    the other gets the attribute as well. Files that agree are not changed.

    Args:
        sources: with all their attributes declared.
        rules: the attributes that they name count in the files that have them.

    Raises:
        UserError: it is unclear which attribute of a file plays a role that another file has,
            or a name has two roles.
    """
    files = [_source(source, rules, skeleton) for source in sources]
    names: dict[str, str] = {}
    for role in _KEYS:
        first = next((file for file in files if role in file.names), None)
        if first is None:
            continue
        names[role] = first.names[role]
        for file in files:
            if role not in file.names:
                _complete(file, role, names[role], first, skeleton)
    for role, name in names.items():
        other = next((key for key in names if key != role and names[key] == name), None)
        if other is not None:
            raise UserError(
                f"the attribute '{name}' is the {role} of one file and the {other} of another",
                file=", ".join(source.file for source in sources),
                remedy="rename it in one of the files",
            )
    tags = {role for file in files for role in tagged(file.declared)}
    return [_renamed(file, names, tags) for file in files]


def own_rules(annotations: via.Annotations, rules: via.LabelRules) -> via.LabelRules:
    """The rules without the attributes that a file has not; it declares all that it has."""

    def own(name: str | None) -> str | None:
        # "" says that no attribute has the role, in every file.
        return name if name == "" or name in annotations.region_attributes else None

    names: dict[str, Any] = {
        key: own(getattr(rules, key)) for role, key in _KEYS.items() if role != "class"
    }
    label = rules.class_attribute
    flags = tuple(filter(own, rules.class_flags)) or None
    return replace(rules, class_attribute=own(label) if isinstance(label, str) else flags, **names)


def _source(
    annotations: via.Annotations, rules: via.LabelRules, skeleton: Skeleton | None
) -> _Source:
    own = own_rules(annotations, rules)
    try:
        # Regions without a class keep none: a default lets the other roles be found.
        roles = via.roles_of(annotations, replace(own, default_class=""), skeleton)
        flags = roles.flags
        values = (roles.label, roles.keypoint, roles.instance, roles.visibility)
        names = dict(zip(_KEYS, values, strict=True))
    except UserError:
        # Whether that matters depends on the other files.
        tags, flags = tagged(annotations.region_attributes), own.class_flags
        named = {role: getattr(own, key) for role, key in _KEYS.items()}
        names = {
            role: name if isinstance(name, str) else tags.get(role) for role, name in named.items()
        }
    if flags:
        annotations, names["class"] = with_united_class(annotations, flags)
        own = replace(own, class_attribute=names["class"])
    return _Source(annotations, own, {role: name for role, name in names.items() if name})


def _complete(
    file: _Source, role: str, name: str, first: _Source, skeleton: Skeleton | None
) -> None:
    """Find the attribute of a role, called `name` in the first file, or see that none is needed."""
    if name in file.declared and name not in file.names.values():
        file.names[role] = name
        return
    if getattr(file.rules, _KEYS[role]) == "":
        return
    kinds = file.rules.kinds
    points = attributes_in_use(keypoint_regions(file.annotations, kinds))
    if role == "class":
        candidates = attributes_in_use(outline_regions(file.annotations, kinds))
    elif role == "instance" and any(keypoint_regions(file.annotations, kinds)):
        if skeleton is not None and "class" in file.names:
            file.annotations = _tied(file, name, skeleton)
            file.names[role] = name
            return
        candidates = points
    else:
        candidates = points if role == "keypoint" else {}
    for name_of_role in file.names.values():
        candidates.pop(name_of_role, None)
    if candidates:
        raise UserError(
            f"cannot tell which attribute is the {role}, '{name}' in {first.annotations.file}",
            file=file.annotations.file,
            key=_KEYS[role],
            found=with_samples(candidates),
            expected="one of these",
            remedy=f"give {argument(_KEYS[role], 'NAME')}, or rename the attribute of this file to "
            f"'{name}'"
            if skeleton is not None or role == "class"
            else f"give skeleton=FILE; where that is not enough, {argument(_KEYS[role], 'NAME')}",
        )
    if role == "instance" and skeleton is None and any(keypoint_regions(file.annotations, kinds)):
        # Untied, they would belong to no object beside points that are tied.
        raise UserError(
            f"the points are not tied to their objects by an attribute, as they are by '{name}' "
            f"in {first.annotations.file}",
            file=file.annotations.file,
            key="skeleton",
            expected="the skeleton, to tie them as well",
            remedy="give skeleton=FILE",
        )


def _tied(file: _Source, name: str, skeleton: Skeleton) -> via.Annotations:
    """The file with an instance attribute, a number for each object of an image."""
    labelled = via.build_instances(file.annotations, file.rules, skeleton)
    images = []
    for image in labelled.images:
        ties = {
            index: {name: str(number)}
            for number, instance in enumerate(image.instances, start=1)
            for index in instance.regions
        }
        regions = tuple(
            replace(region, attributes={**region.attributes, **ties.get(region.index, {})})
            for region in image.record.regions
        )
        images.append(replace(image.record, regions=regions))
    declared = {**file.declared, name: via.Attribute(name)}
    return replace(file.annotations, images=tuple(images), region_attributes=declared)


def _renamed(file: _Source, names: Mapping[str, str], tags: set[str]) -> via.Annotations:
    """The file with the wanted names, and with the tags of the roles that any file tags."""
    new = {name: names[role] for role, name in file.names.items()}
    for old, name in new.items():
        if name != old and name in file.declared and name not in new:
            raise UserError(
                f"'{old}' would be '{name}', as in the first file, but that is another attribute",
                file=file.annotations.file,
                found=f"both '{old}' and '{name}'",
                remedy=f"rename '{name}' in this file",
            )
    attributes = {}
    for old, declared in file.declared.items():
        name = new.get(old, old)
        attributes[name] = replace(declared, name=name)
    for role in tags & file.names.keys():
        declared = attributes[names[role]]
        if not declared.description.endswith(TAGS[role]):
            text = f"{declared.description} {TAGS[role]}".strip()
            attributes[names[role]] = replace(declared, description=text)
    if attributes == file.declared:
        return file.annotations
    return with_values(
        file.annotations,
        attributes,
        lambda values: {new.get(old, old): value for old, value in values.items()},
    )


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
    name = next(candidate for candidate in names if candidate not in others)
    several = any(
        sum(bool(region.attributes.get(flag)) for flag in flags) > 1
        for image in annotations.images
        for region in image.regions
    )

    def united(values: Values) -> Values:
        ticked = tuple(flag for flag in flags if values.get(flag))
        kept = {attribute: value for attribute, value in values.items() if attribute not in flags}
        return kept | {name: ticked if several else "".join(ticked)}

    declared = {
        old: attribute
        for old, attribute in annotations.region_attributes.items()
        if old not in flags
    }
    kind = "checkbox" if several else "dropdown"
    declared[name] = via.Attribute(name, kind, options={flag: flag for flag in flags})
    return with_values(annotations, declared, united), name


def with_class_dropdown(annotations: via.Annotations, attribute: str) -> via.Annotations:
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
