"""One annotation file from several: images, attributes and options of all."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from roilab import via
from roilab.curation.harmonize_attributes import harmonize_attributes, with_values
from roilab.image_files import ImageFolder
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via import Annotations, Attribute, ImageRecord, Problem, Region
from roilab.via.records import image_key

_AS_READ = via.LabelRules()
_DECIMALS = 2  # VIA keeps three, but a corner may be the sum of two rounded numbers
_ONE_OF_SEVERAL = {"dropdown", "radio"}
# An image's name and its size in bytes; None where that is unknown.
_Key = tuple[str, int | None]


def merge_annotations(
    sources: Sequence[Annotations],
    file: str,
    rules: via.LabelRules = _AS_READ,
    skeleton: Skeleton | None = None,
    progress: Callable[[Sequence[ImageRecord]], Iterable[ImageRecord]] = iter,
) -> Annotations:
    """Join files into one, whose problems are those of the sources and of joining them.

    The attributes that are class, keypoint, instance and visibility get the names that they have in
    the first file (see `harmonize_attributes`). Images are united; one that is in two files with
    the same regions is kept once, and one without a size is the one of the same name. Attributes
    are united with their options. Where option ids of two files do not mean the same, the values of
    all files become the descriptions, which are what a person reads.

    Args:
        file: the path of the result.
        rules: what the attributes are where that is unclear; see `harmonize_attributes`.
        skeleton: of the keypoints, to know their attributes.
        progress: wraps the images of each file.

    Raises:
        UserError: see `harmonize_attributes`.
    """
    problems = [problem for source in sources for problem in source.problems]
    declared = harmonize_attributes(
        [via.with_declarations(source) for source in sources], rules, skeleton
    )
    clashing = _clashing([source.region_attributes for source in declared])
    for name in clashing:
        message = f"the options of '{name}' have different meanings: they are named by these"
        remedy = "see that the names are the same in all files"
        problems.append(Problem("warning", message, remedy, file, attribute=name))
    described = [_by_description(source.region_attributes, clashing) for source in declared]
    attributes = _united(file, described, problems)
    declared = [_converted(source, clashing, attributes) for source in declared]

    sizes: dict[str, set[int]] = defaultdict(set)  # file name -> those that are stated anywhere
    for source in declared:
        for image in source.images:
            if image.size is not None:
                sizes[image.filename].add(image.size)
    images: dict[_Key, tuple[ImageRecord, str]] = {}
    for source in declared:
        problems += _add_images(images, source, sizes, progress)
    # A file without a default path (JSON, CSV) does not contradict one that has it.
    paths = {source.default_path for source in sources if source.default_path}
    if len(paths) > 1:
        message = f"the default paths differ and are left out: {', '.join(sorted(paths))}"
        remedy = "give the folders of the images when they are read"
        problems.append(Problem("warning", message, remedy, file))
    united = Annotations(
        file=file,
        container=via.Container.VIA2_PROJECT,
        images=tuple(image for image, _ in images.values()),
        region_attributes=attributes,
        file_attributes=_united(file, [source.file_attributes for source in declared], problems),
        default_path=paths.pop() if len(paths) == 1 else "",
        problems=tuple(problems),
    )
    # A value of a file without declarations may be no option of the other file's attribute.
    return via.with_declarations(united)


def with_file_sizes(
    annotations: Annotations,
    folder: ImageFolder,
    progress: Callable[[Sequence[ImageRecord]], Iterable[ImageRecord]] = iter,
) -> tuple[Annotations, list[Problem]]:
    """The file with all sizes of image files in bytes, by which VIA knows images."""
    images = []
    for image in progress(annotations.images):
        path = folder.find(image.filename, None) if image.size is None else None
        if path is None:
            images.append(image)
        else:
            size = path.stat().st_size
            images.append(replace(image, size=size, key=image_key(image.filename, size)))
    problems = []
    missing = sum(image.size is None for image in images)
    if missing:
        message = f"the sizes of {counted(missing, 'image')} stay unknown: no file in {folder}"
        remedy = "give the folder that holds them, VIA knows images by name and size"
        problems.append(Problem("warning", message, remedy, annotations.file))
    return replace(annotations, images=tuple(images)), problems


def _add_images(
    images: dict[_Key, tuple[ImageRecord, str]],
    source: Annotations,
    sizes: Mapping[str, set[int]],
    progress: Callable[[Sequence[ImageRecord]], Iterable[ImageRecord]],
) -> list[Problem]:
    """Add a file's images to `images`, each with the first file that has it; returns the problems.

    `sizes` is file name -> the sizes in bytes that any file states for it.
    """
    problems = []
    keys = {image.key for image, _ in images.values()}
    same = 0
    for image in progress(source.images):
        stated = sizes[image.filename]
        if image.size is None and len(stated) == 1:
            image = replace(image, size=next(iter(stated)))
        elif image.size is None and stated:
            message = (
                f"its size is not stated, and {len(stated)} images of other sizes have its name"
            )
            remedy = "remove it if it is one of them"
            problems.append(Problem("warning", message, remedy, source.file, image.filename))
        key = (image.filename, image.size)
        if key not in images:
            # COCO's keys are ids, which two files have alike.
            new = replace(image, key=image_key(image.filename, image.size, keys))
            keys.add(new.key)
            images[key] = new, source.file
            continue
        known, first = images[key]
        if _says_the_same(known, image):
            same += 1
            continue
        here, there = (counted(len(entry.regions), "region") for entry in (image, known))
        message = f"annotated differently in {first} ({there}) and here ({here}): the first is kept"
        remedy = "remove one of the two, or rename the image where it is another picture"
        problems.append(Problem("error", message, remedy, source.file, image.filename))
    if same:
        message = f"kept once: {counted(same, 'image')} of an earlier file with the same regions"
        problems.append(Problem("note", message, "", source.file))
    return problems


def _says_the_same(one: ImageRecord, other: ImageRecord) -> bool:
    """Whether two entries have the same regions and attributes, in files of any kind.

    A rectangle is the polygon of its corners, as VIA exports it to COCO, where the size of the
    image stands among its attributes.
    """
    if len(one.regions) != len(other.regions):
        return False
    shared = one.attributes.keys() & other.attributes.keys()
    own = (one.attributes.keys() ^ other.attributes.keys()) - {"width", "height"}
    if own or any(one.attributes[name] != other.attributes[name] for name in shared):
        return False
    return all(
        _values(a) == _values(b) and (a.shape == b.shape or _ring(a.shape) == _ring(b.shape))
        for a, b in zip(one.regions, other.regions, strict=True)
    )


def _values(region: Region) -> dict[str, via.Value]:
    return {name: value for name, value in region.attributes.items() if value}


def _ring(shape: via.Shape) -> tuple[via.XY, ...] | via.Shape:
    """Vertices of a rectangle or polygon, comparable whatever its first vertex and direction."""
    if not isinstance(shape, via.Rect | via.Polygon):
        return shape
    ring = [(round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in via.outline(shape)]
    if not ring:
        return shape
    start = ring.index(min(ring))
    forward = (*ring[start:], *ring[:start])
    return min(forward, (forward[0], *reversed(forward[1:])))


def _clashing(groups: Sequence[Mapping[str, Attribute]]) -> list[str]:
    """Attributes whose option ids have several meanings, or whose meanings several sets of ids."""
    meanings: dict[tuple[str, str], set[str]] = defaultdict(set)  # of an option id of an attribute
    ids: dict[tuple[str, str], set[frozenset[str]]] = defaultdict(set)  # of a meaning
    for attributes in groups:
        for name, attribute in attributes.items():
            if attribute.type == "image":
                continue
            of_meaning: dict[str, set[str]] = defaultdict(set)
            for option, description in attribute.options.items():
                meanings[name, option].add(description or option)
                of_meaning[description or option].add(option)
            for meaning, options in of_meaning.items():
                ids[name, meaning].add(frozenset(options))
    clashing = {name for (name, _), several in meanings.items() if len(several) > 1}
    clashing |= {name for (name, _), several in ids.items() if len(several) > 1}
    return sorted(clashing)


def _by_description(
    attributes: Mapping[str, Attribute], names: Sequence[str]
) -> dict[str, Attribute]:
    """The attributes; the option ids of the named ones become the descriptions of the options."""
    described = dict(attributes)
    for name in attributes.keys() & set(names):
        attribute = attributes[name]
        words = _words(attribute)
        defaults = tuple(words.get(option, option) for option in attribute.default_options)
        options = {word: word for word in words.values()}
        described[name] = replace(attribute, options=options, default_options=defaults)
    return described


def _words(attribute: Attribute) -> dict[str, str]:
    """Option id -> its description, else the id itself."""
    return {option: text or option for option, text in attribute.options.items()}


def _converted(
    source: Annotations, names: Sequence[str], united: Mapping[str, Attribute]
) -> Annotations:
    """The file with its values as the united attributes hold them.

    The values of the named attributes become descriptions. Where an attribute became a checkbox,
    values become ticks; where it ceased to be one, a single tick becomes a value.
    """
    declared = source.region_attributes
    words = {name: _words(declared[name]) for name in declared.keys() & set(names)}
    old_checkboxes, new_checkboxes = (
        {name for name, attribute in attributes.items() if attribute.type == "checkbox"}
        for attributes in (declared, united)
    )
    to_ticks = new_checkboxes - old_checkboxes
    to_text = old_checkboxes - new_checkboxes

    def typed(name: str, value: via.Value) -> via.Value:
        known = words.get(name, {})
        if isinstance(value, str):
            text = known.get(value, value)
            return tuple(filter(None, [text])) if name in to_ticks else text
        ticks = tuple(dict.fromkeys(known.get(option, option) for option in value))
        # Several ticks are more than one value can hold: they stay, and are a problem when read.
        return "".join(ticks) if name in to_text and len(ticks) <= 1 else ticks

    return with_values(
        source,
        declared,
        lambda _, region: {name: typed(name, value) for name, value in region.attributes.items()},
    )


def _united(
    file: str, groups: Sequence[Mapping[str, Attribute]], problems: list[Problem]
) -> dict[str, Attribute]:
    """All attributes; adds a warning to the problems for each that has two types."""
    united: dict[str, Attribute] = {}
    for name, attribute in itertools.chain(*(attributes.items() for attributes in groups)):
        known = united.setdefault(name, attribute)
        # A JSON or a CSV says nothing of types: there the declaration of a project counts.
        kind = attribute.type if known.type == "text" else known.type
        if attribute.type not in ("text", kind) and {attribute.type, kind} != _ONE_OF_SEVERAL:
            message = f"'{name}' is a {kind} in one file and a {attribute.type} in another"
            remedy = "declare it alike in VIA; it is taken for the first"
            problems.append(Problem("warning", message, remedy, file, attribute=name))
        text = known.description or attribute.description
        options = {**attribute.options, **known.options}
        united[name] = replace(known, type=kind, description=text, options=options)
    return united
