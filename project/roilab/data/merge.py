"""Several annotation files -> one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from roilab import via
from roilab.via import Annotations, Attribute, ImageRecord, Problem


def merge(sources: Sequence[Annotations], file: str) -> Annotations:
    """Join files into one. The result's problems are those of the sources and of joining them.

    Images are united; one that is in two files with the same regions is kept once. Attributes are
    united with their options. Where an option id is described differently in two files, the values
    of all files become the descriptions, which are what a person reads.

    Args:
        file: the path of the result.
    """
    problems = [problem for source in sources for problem in source.problems]
    declared = [via.with_declarations(source) for source in sources]
    clashing = _clashing([each.region_attributes for each in declared])
    for name in clashing:
        message = f"the options of '{name}' have different meanings: they are named by these"
        remedy = "see that the names are the same in all files"
        problems.append(Problem("warning", message, remedy, file, attribute=name))
    declared = [_by_description(each, clashing) for each in declared]
    images: dict[tuple[str, int | None], tuple[ImageRecord, str]] = {}
    for source in declared:
        problems += _add_images(images, source)
    paths = {source.default_path for source in sources}
    if len(paths) > 1:
        message = f"the default paths differ and are left out: {', '.join(sorted(paths))}"
        remedy = "give the folders of the images when they are read"
        problems.append(Problem("warning", message, remedy, file))
    united = Annotations(
        file=file,
        container=via.Container.VIA2_PROJECT,
        images=tuple(image for image, _ in images.values()),
        region_attributes=_united(file, [each.region_attributes for each in declared], problems),
        file_attributes=_united(file, [each.file_attributes for each in declared], problems),
        default_path=paths.pop() if len(paths) == 1 else "",
        problems=tuple(problems),
    )
    # A value of a file without declarations may be no option of the other file's attribute.
    return via.with_declarations(united)


def _add_images(
    images: dict[tuple[str, int | None], tuple[ImageRecord, str]], source: Annotations
) -> list[Problem]:
    problems = []
    same = 0
    for image in source.images:
        key = (image.filename, image.size)
        if key not in images:
            images[key] = image, source.file
            continue
        known, first = images[key]
        if (known.regions, known.attributes) == (image.regions, image.attributes):
            same += 1
            continue
        message = (
            f"annotated differently in {first} ({len(known.regions)} regions) and here "
            f"({len(image.regions)} regions): the first is kept"
        )
        remedy = "remove one of the two, or rename the image where it is another picture"
        problems.append(Problem("error", message, remedy, source.file, image.filename))
    if same:
        message = f"{same} images are in an earlier file with the same regions: they are kept once"
        problems.append(Problem("note", message, "nothing is lost", source.file))
    return problems


def _clashing(groups: Sequence[Mapping[str, Attribute]]) -> list[str]:
    """Attributes of which an option id has two meanings."""
    meanings: dict[tuple[str, str], set[str]] = {}
    for attributes in groups:
        for name, attribute in attributes.items():
            if attribute.type != "image":
                for option, description in attribute.options.items():
                    meanings.setdefault((name, option), set()).add(description or option)
    return sorted({name for (name, _), found in meanings.items() if len(found) > 1})


def _by_description(source: Annotations, names: Sequence[str]) -> Annotations:
    """The file with the values of these attributes, and their option ids, as their descriptions."""
    found = {
        name: source.region_attributes[name] for name in names if name in source.region_attributes
    }
    if not found:
        return source

    def named(name: str, value: via.Value) -> via.Value:
        options = found[name].options if name in found else {}
        if isinstance(value, str):
            return options.get(value) or value
        return tuple(dict.fromkeys(options.get(each) or each for each in value))

    images = tuple(
        replace(
            image,
            regions=tuple(
                replace(
                    region,
                    attributes={name: named(name, v) for name, v in region.attributes.items()},
                )
                for region in image.regions
            ),
        )
        for image in source.images
    )
    attributes = dict(source.region_attributes)
    for name, attribute in found.items():
        words = [description or option for option, description in attribute.options.items()]
        attributes[name] = replace(attribute, options={word: word for word in words})
    return replace(source, images=images, region_attributes=attributes)


def _united(
    file: str, groups: Sequence[Mapping[str, Attribute]], problems: list[Problem]
) -> dict[str, Attribute]:
    united: dict[str, Attribute] = {}
    for attributes in groups:
        for name, attribute in attributes.items():
            known = united.get(name)
            if known is None:
                united[name] = attribute
                continue
            # A JSON or a CSV says nothing of types: there the declaration of a project counts.
            kind = attribute.type if known.type == "text" else known.type
            if attribute.type not in ("text", kind):
                message = f"'{name}' is a {kind} in one file and a {attribute.type} in another"
                remedy = "declare it alike in VIA; it is taken for the first"
                problems.append(Problem("warning", message, remedy, file, attribute=name))
            united[name] = replace(
                known,
                type=kind,
                description=known.description or attribute.description,
                options={**attribute.options, **known.options},
            )
    return united
