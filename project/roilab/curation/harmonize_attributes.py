"""Attributes of annotation files: one name for each role in all files, the class as one choice."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from roilab import via
from roilab.errors import UserError, argument
from roilab.skeleton import Skeleton
from roilab.via.labels import label_rules
from roilab.via.records import TAGS

# Role -> the key of `via.LabelRules` that names its attribute.
_KEYS = {role: f"{role}_attribute" for role in ("class", "keypoint", "instance", "visibility")}
# More different texts than this are no classes if they are more than half of all.
_MANY = 50

Values = Mapping[str, via.Value]


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
    """The files with one attribute name for each role: that of the first file that has the role.

    Where points are tied to their object by an attribute in one file and by their place in another,
    the other gets the attribute as well. Files that agree are not changed.

    Args:
        sources: with all their attributes declared.
        rules: the attributes that they name count in the files that have them.

    Raises:
        UserError: it is unclear which attribute of a file plays a role that another file has,
            or an attribute or its name has two roles.
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
    for file in files:
        for (role, name), (other, other_name) in combinations(file.names.items(), 2):
            if name == other_name:
                raise UserError(
                    f"the attribute '{name}' is both the {role} and the {other}",
                    file=file.annotations.file,
                    found=f"one attribute, '{name}'",
                    expected="an attribute for each role",
                    remedy=f"give the {other} an attribute of its own in VIA",
                )
    for (role, name), (other, other_name) in combinations(names.items(), 2):
        if name == other_name:
            raise UserError(
                f"the attribute '{name}' is the {role} of one file and the {other} of another",
                file=", ".join(source.file for source in sources),
                remedy="rename it in one of the files",
            )
    tags = {role for file in files for role in label_rules.tagged(file.declared)}
    return [_renamed(file, names, tags) for file in files]


def own_rules(annotations: via.Annotations, rules: via.LabelRules) -> via.LabelRules:
    """The rules without attributes that a file lacks; the file declares all that it has."""
    known = {"", *annotations.region_attributes}  # "" says that no attribute has the role

    def own(value: Any) -> Any:
        if isinstance(value, str | None):
            return value if value in known else None
        return tuple(name for name in value if name in known) or None

    return replace(rules, **{key: own(getattr(rules, key)) for key in _KEYS.values()})


def _source(
    annotations: via.Annotations, rules: via.LabelRules, skeleton: Skeleton | None
) -> _Source:
    """A file with the roles that it shows by itself, and one attribute for all that are a class."""
    own = own_rules(annotations, rules)
    try:
        # Regions without a class keep none: a default lets the other roles be found.
        roles = via.roles_of(annotations, replace(own, default_class=""), skeleton)
        flags = roles.flags
        values = (roles.label, roles.keypoint, roles.instance, roles.visibility)
        names = dict(zip(_KEYS, values, strict=True))
    except UserError:
        # Whether that matters depends on the other files.
        tagged = label_rules.tagged(annotations.region_attributes)
        names = {role: tagged.get(role) for role in _KEYS}
        flags = own.class_flags
        named = {role: getattr(own, key) for role, key in _KEYS.items()}
        names |= {role: name for role, name in named.items() if isinstance(name, str)}
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
    on_points = list(label_rules.keypoint_regions(file.annotations, kinds))
    if role == "instance" and on_points and skeleton is not None and "class" in file.names:
        file.annotations = _tied(file, name, skeleton)
        file.names[role] = name
        return
    outlines = list(label_rules.outline_regions(file.annotations, kinds))
    regions = {"class": outlines, "keypoint": on_points, "instance": on_points}
    in_use = label_rules.attributes_in_use(regions.get(role, ()))
    used = {*file.names.values(), label_rules.tagged(file.declared).get("score")}
    candidates = {key: values for key, values in in_use.items() if key not in used}
    if candidates:
        remedy = (
            f"give {argument(_KEYS[role], 'NAME')}, or rename the attribute of this file to "
            f"'{name}'"
        )
        if skeleton is None and role != "class":
            remedy = (
                f"give skeleton=FILE; where that is not enough, {argument(_KEYS[role], 'NAME')}"
            )
        raise UserError(
            f"cannot tell which attribute is the {role}, '{name}' in {first.annotations.file}",
            file=file.annotations.file,
            key=_KEYS[role],
            found=label_rules.with_samples(candidates),
            expected="one of these",
            remedy=remedy,
        )
    if role == "instance" and skeleton is None and on_points:
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
    ties = {
        (image.record.key, index): {name: str(number)}
        for image in labelled.images
        for number, instance in enumerate(image.instances, start=1)
        for index in instance.regions
    }
    return with_values(
        file.annotations,
        {**file.declared, name: via.Attribute(name)},
        lambda image, region: {**region.attributes, **ties.get((image.key, region.index), {})},
    )


def _renamed(file: _Source, names: Mapping[str, str], tags: set[str]) -> via.Annotations:
    """The file with these names of roles, and with the tags of the roles that any file tags."""
    new = {name: names[role] for role, name in file.names.items()}
    for old, name in new.items():
        if name != old and name in file.declared and name not in new:
            raise UserError(
                f"'{old}' would be '{name}', as in the first file, but that is another attribute",
                file=file.annotations.file,
                found=f"both '{old}' and '{name}'",
                remedy=f"rename '{name}' in this file",
            )
    renamed = {old: new.get(old, old) for old in file.declared}
    attributes = {name: replace(file.declared[old], name=name) for old, name in renamed.items()}
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
        lambda _, region: {new.get(old, old): value for old, value in region.attributes.items()},
    )


def with_values(
    annotations: via.Annotations,
    declared: Mapping[str, via.Attribute],
    change: Callable[[via.ImageRecord, via.Region], Values],
) -> via.Annotations:
    """The file with changed values of every region, and the attributes that declare them."""
    images = []
    for image in annotations.images:
        regions = [replace(region, attributes=change(image, region)) for region in image.regions]
        images.append(replace(image, regions=tuple(regions)))
    return replace(annotations, images=tuple(images), region_attributes=declared)


def declared_classes(
    annotations: via.Annotations, attribute: str | None, class_map: Mapping[str, str | None]
) -> list[str]:
    """The classes that the file declares as options, in their order, after the map."""
    declared = annotations.region_attributes.get(attribute or "")
    options = declared.options if declared is not None else ()
    names = [label_rules.described(option, declared) for option in options]
    mapped = [class_map.get(name, name) for name in names]
    return list(dict.fromkeys(name for name in mapped if name))


def with_united_class(
    annotations: via.Annotations, flags: Sequence[str]
) -> tuple[via.Annotations, str]:
    """The file with one attribute instead of several that are a class each, and its name.

    Args:
        flags: the attributes, whose names are the classes.
    """
    others = [name for name in annotations.region_attributes if name not in flags]
    names = ("class", "label", "category", *(f"class {n}" for n in range(2, len(others) + 3)))
    name = next(candidate for candidate in names if candidate not in others)
    regions = [region for image in annotations.images for region in image.regions]
    # Whether a region has two of the classes, which a dropdown cannot hold.
    several = any(
        sum(bool(region.attributes.get(flag)) for flag in flags) > 1 for region in regions
    )

    def united(_: via.ImageRecord, region: via.Region) -> Values:
        values = region.attributes
        ticked = tuple(flag for flag in flags if values.get(flag))
        kept = {attribute: value for attribute, value in values.items() if attribute not in flags}
        return kept | {name: ticked if several else "".join(ticked)}

    declared = {old: annotations.region_attributes[old] for old in others}
    options = {flag: flag for flag in flags}
    kind = "checkbox" if several else "dropdown"
    declared[name] = via.Attribute(name, kind, options=options)
    return with_values(annotations, declared, united), name


def with_class_dropdown(annotations: via.Annotations, attribute: str) -> via.Annotations:
    """The file with a class that is text as a dropdown: VIA exports no other to COCO.

    Options without a description are described by their id, which is what VIA writes to COCO. Text
    of many different values, such as a transcript, stays what it is.
    """
    declared = annotations.region_attributes.get(attribute, via.Attribute(attribute))
    if declared.type == "image":
        return annotations
    regions = [region for image in annotations.images for region in image.regions]
    values = Counter(filter(None, (region.attributes.get(attribute) for region in regions)))
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
    attributes = {**annotations.region_attributes, attribute: chosen}
    return replace(annotations, region_attributes=attributes)


def with_class_choice(
    annotations: via.Annotations, rules: via.LabelRules, skeleton: Skeleton | None
) -> tuple[via.Annotations, list[via.Problem]]:
    """The file with all attributes declared, and its class as a dropdown; a note where it has none.

    VIA exports only dropdowns to COCO.
    """
    declared = via.with_declarations(annotations)
    if not declared.region_attributes:
        return declared, []
    attribute = rules.class_attribute
    if not isinstance(attribute, str) or attribute not in declared.region_attributes:
        try:
            roles = via.roles_of(annotations, rules, skeleton)
        except UserError as error:
            message = f"the class does not become a dropdown of VIA: {error.message}"
            remedy = "give class_attribute=NAME, or make it a dropdown in VIA to export COCO there"
            return declared, [via.Problem("note", message, remedy, annotations.file)]
        attribute = roles.label
        if roles.flags:
            declared, attribute = with_united_class(declared, roles.flags)
    if attribute:
        declared = with_class_dropdown(declared, attribute)
    return declared, []
