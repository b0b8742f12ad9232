"""Labelled VIA images -> COCO json: instances, and person keypoints where there is a skeleton."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from roilab import via
from roilab.curation.harmonize_attributes import declared_classes
from roilab.data.coco import dataset_to_coco
from roilab.data.records import detectron2_record
from roilab.data.usable_images import fit_instances
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.text import counted
from roilab.via.formats.via2_json import is_index

# Width and height of an image; a UserError says why they are unknown.
SizeOf = Callable[[via.ImageRecord], tuple[int, int]]

_POINTS = "keypoints without an outline"
_BOXES_REMEDY = "outline them if they should count for boxes"
_VALUES_REMEDY = "COCO has none, keep the VIA file"
# Kind of outline -> noun, its change, and a remedy.
_COUNTED = {
    via.Rect: ("rectangle", "written as polygons of the same outline", ""),
    via.Circle: ("circle", "written as polygons within half a pixel", ""),
    via.Ellipse: ("ellipse", "written as polygons within half a pixel", ""),
    via.Polyline: ("polyline", "written as polygons, closed", ""),
}


def annotations_to_coco(
    annotations: via.Annotations,
    rules: via.LabelRules,
    skeleton: Skeleton | None,
    size_of: SizeOf,
    progress: Callable[[Sequence[via.LabelledImage]], Iterable[via.LabelledImage]] = iter,
) -> tuple[dict[str, Any], tuple[via.Problem, ...]]:
    """COCO json data; and the problems of the file, of labelling it, and what COCO does not hold.

    COCO has one class and one list of outlines an object. It does not hold other attributes of
    regions and images, scores, declarations, or shapes: a rectangle or polyline becomes a polygon,
    a curve a polygon within half a pixel, and an object of keypoints only gets the box around them.
    An image whose size is unknown is left out, and an object that lies outside its image, as in
    training. `file_name` is the record's file name.

    The categories are the options of the class attribute, in their order, used or not, so that the
    parts of one file agree; then other classes that occur. Images, annotations and categories are
    numbered from 1, whatever ids a COCO file gave them; its info, licenses and supercategories are
    lost, and the links of a category are those of the skeleton (see `lost_links`).

    Args:
        rules: what the attributes are.
        skeleton: of the keypoints.
        size_of: sizes of images; asked first is the file itself, which names sizes where it was
            COCO before.
        progress: wraps the images.

    Raises:
        UserError: an attribute has to be named or does not occur.
    """
    labelled = via.build_instances(annotations, rules, skeleton)
    roles = via.roles_of(annotations, rules, skeleton)
    declared = declared_classes(annotations, roles.label, rules.class_map)
    classes = tuple(dict.fromkeys((*declared, *labelled.classes)))
    records: list[dict[str, Any]] = []
    problems = list(labelled.problems)
    changed: Counter[object] = Counter()
    held = {roles.label, *roles.flags, roles.keypoint, roles.instance, roles.visibility}
    values = 0  # that the document does not hold
    renumbered = 0
    file = labelled.file
    for whole in progress(labelled.images):
        record = whole.record
        try:
            size = _stated_size(record) or size_of(record)
        except UserError as error:
            reason = error.message + (f": {error.found}" if error.found else "")
            message = f"left out, since COCO needs its size: {reason}"
            repair_remedy = "repair the image file, or remove the image from the annotations"
            remedy = error.remedy or repair_remedy
            problems.append(via.Problem("error", message, remedy, file, record.filename))
            continue
        image, left_out = fit_instances(file, whole, *size)
        problems += left_out
        # Those of a COCO file stay what they are.
        drawn = [instance for instance in image.instances if instance.coco is None]
        changed.update(type(shape) for instance in drawn for shape in instance.outlines)
        changed[_POINTS] += sum(not instance.outlines for instance in image.instances)
        in_document = {"width", "height"} if _stated_size(record) else set()
        values += _count_lost(record.attributes, in_document)
        values += sum(_count_lost(region.attributes, held) for region in record.regions)
        number = len(records) + 1
        renumbered += record.key != str(number)
        records.append(detectron2_record(number, record.filename, image, classes, skeleton, size))
    unused = [name for name in classes if name not in labelled.classes]
    if annotations.container is not via.Container.COCO:
        renumbered = 0
    problems += _notes(file, changed, values, unused, renumbered)
    return dataset_to_coco(records, classes, skeleton), tuple(problems)


def _notes(
    file: str, changed: Counter[object], values: int, unused: Sequence[str], renumbered: int
) -> list[via.Problem]:
    """Notes that count what COCO cannot hold, such as `changed` outlines, see `_COUNTED`."""
    boxes = "with a box made up around keypoints, for want of an outline"
    rows = [
        *((changed[kind], *texts) for kind, texts in _COUNTED.items()),
        (changed[_POINTS], "object", boxes, _BOXES_REMEDY),
        (values, "attribute value", "not kept", _VALUES_REMEDY),
        (renumbered, "image", "with another id, distinguished by file names", ""),
    ]
    notes = [
        via.Problem("note", f"{text}: {counted(count, noun)}", remedy, file)
        for count, noun, text, remedy in rows
        if count
    ]
    if unused:
        message = f"categories that are declared and have no object: {', '.join(unused)}"
        notes.append(via.Problem("note", message, "", file))
    return notes


def lost_links(categories: Iterable[via.CocoCategory], skeleton: Skeleton | None) -> int:
    """The number of links in the categories that the skeleton does not have."""
    kept = {frozenset(link) for link in skeleton.links} if skeleton is not None else set()
    return sum(frozenset(link) not in kept for category in categories for link in category.links)


def _count_lost(attributes: Mapping[str, via.Value], held: Set[str | None]) -> int:
    """The number of values that are set, without those that the document holds."""
    return sum(bool(value) for name, value in attributes.items() if name not in held)


def _stated_size(record: via.ImageRecord) -> tuple[int, int] | None:
    """(width, height) by the attributes of an image that was in a COCO file; None for none."""

    def side(name: str) -> int:
        text = record.attributes.get(name, "")
        return int(text) if isinstance(text, str) and is_index(text) else 0

    width, height = side("width"), side("height")
    return (width, height) if width > 0 and height > 0 else None
