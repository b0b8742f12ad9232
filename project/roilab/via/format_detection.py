"""The containers that can be read: how each is recognised by its content, and how it is parsed.

A container of another kind is one more `Format` in `FORMATS`; nothing else has to change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from roilab.via import coco, csv_files, via3, via_coco
from roilab.via.entries import read_attributes, read_images
from roilab.via.records import Annotations, Container, ImageRecord, Problem
from roilab.via.source_file import Document


@dataclass(frozen=True, slots=True)
class Format:
    """One kind of container. `parse` is called only for documents that `recognise` accepts."""

    container: Container
    recognise: Callable[[Document], bool]
    parse: Callable[[Document], Annotations]


def find_format(document: Document) -> Format | None:
    """The first format that recognises the document."""
    return next((format for format in FORMATS if format.recognise(document)), None)


def _is_project(document: Document) -> bool:
    return isinstance(document.top.get("_via_img_metadata"), Mapping)


def _is_annotations(document: Document) -> bool:
    return bool(_entries(document))


def _is_via1(document: Document) -> bool:
    # Lists and objects of regions occur with both versions; only VIA 1 writes these two keys.
    entries = _entries(document)
    return any("fileref" in entry or "base64_img_data" in entry for entry in entries)


def _entries(document: Document) -> list[Mapping[str, object]]:
    """The values at the top level, an object or a list, that look like image entries."""
    values = document.data if isinstance(document.data, list) else document.top.values()
    return [v for v in values if isinstance(v, Mapping) and "filename" in v and "regions" in v]


def _by_key(document: Document) -> Mapping[str, object]:
    """The values at the top level under keys; in a list, under those that VIA would give them."""
    if not isinstance(document.data, list):
        return document.top
    entries: dict[str, object] = {}
    for number, entry in enumerate(document.data):
        key = f"entry {number}"
        if isinstance(entry, Mapping) and "filename" in entry:
            key = f"{entry['filename']}{entry.get('size', -1)}"
        entries[key if key not in entries else f"{key} {number}"] = entry
    return entries


def _parse_via1(document: Document) -> Annotations:
    return _parse_annotations(document, Container.VIA1_JSON)


def _parse_via2(document: Document) -> Annotations:
    return _parse_annotations(document, Container.VIA2_JSON)


def _parse_annotations(document: Document, container: Container) -> Annotations:
    problems: list[Problem] = []
    images = read_images(document.file, _by_key(document), problems)
    return Annotations(document.file, container, images, {}, {}, problems=tuple(problems))


def _parse_project(document: Document) -> Annotations:
    file, data = document.file, document.top
    problems: list[Problem] = []
    images = read_images(file, data["_via_img_metadata"], problems)
    images = _in_order(file, images, data.get("_via_image_id_list"), problems)
    declared = data.get("_via_attributes")
    region_attributes = read_attributes(file, declared, "region", problems)
    file_attributes = read_attributes(file, declared, "file", problems)
    return Annotations(
        file=file,
        container=Container.VIA2_PROJECT,
        images=images,
        region_attributes=region_attributes,
        file_attributes=file_attributes,
        default_path=_default_path(data.get("_via_settings")),
        problems=tuple(problems),
    )


def _in_order(
    file: str, images: Sequence[ImageRecord], ids: object, problems: list[Problem]
) -> tuple[ImageRecord, ...]:
    """The images in the order of the project's id list, then those that it does not name."""
    if not isinstance(ids, list):
        return tuple(images)
    by_key = {image.key: image for image in images}
    ordered: dict[str, ImageRecord] = {}
    for key in map(str, ids):
        if key in by_key:
            ordered[key] = by_key[key]
        else:
            problems.append(
                Problem(
                    severity="warning",
                    message="listed in _via_image_id_list but has no readable entry",
                    remedy="remove it from the list: VIA cannot open the project as it is",
                    file=file,
                    image=key,
                )
            )
    return tuple((ordered | by_key).values())


def _default_path(settings: object) -> str:
    core = settings.get("core") if isinstance(settings, Mapping) else None
    path = core.get("default_filepath") if isinstance(core, Mapping) else None
    return path if isinstance(path, str) else ""


# The order decides where two would accept a file: what says most about itself comes first.
FORMATS: Sequence[Format] = (
    Format(Container.VIA2_PROJECT, _is_project, _parse_project),
    Format(Container.VIA3_PROJECT, via3.is_project, via3.parse_project),
    Format(Container.VIA_COCO, via_coco.is_via_coco, via_coco.parse_via_coco),
    Format(Container.COCO, coco.is_coco, coco.parse_coco),
    Format(Container.VIA1_JSON, _is_via1, _parse_via1),
    Format(Container.VIA2_JSON, _is_annotations, _parse_via2),
    Format(Container.VIA3_CSV, via3.is_csv, via3.parse_csv),
    Format(Container.VIA1_CSV, csv_files.is_csv1, csv_files.parse_csv1),
    Format(Container.VIA2_CSV, csv_files.is_csv2, csv_files.parse_csv2),
)
