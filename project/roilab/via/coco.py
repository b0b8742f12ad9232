"""A COCO data set -> records, with nothing lost that training needs.

Outlines become polygons, boxes without an outline rectangles, labelled keypoints points, and what
belongs to one annotation carries the same `instance`, so that a VIA project can be written of it.
The annotation itself (its own box, area, mask, and whether it is a crowd) goes along with its
regions as a `CocoAnnotation`. COCO's frames are VIA's: outlines and boxes are continuous, keypoints
are pixel indices.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roilab.text import counted
from roilab.via.attribute_roles import TAGS
from roilab.via.coco_json import (
    Category,
    Data,
    id_of,
    is_number,
    is_size,
    is_unnamed,
    keypoint_counts,
    links_of,
    needs_tie,
    objects_of,
    text_of,
)
from roilab.via.coco_shapes import ImageEntry, ShapeReader
from roilab.via.entries import warn_of_double_names
from roilab.via.records import (
    Annotations,
    Attribute,
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Container,
    ImageRecord,
    Region,
    Value,
)
from roilab.via.shapes import Area, Point, Rect
from roilab.via.source_file import Document

_WRONG_IDS = "give every image an id of its own"


def is_coco(document: Document) -> bool:
    """Whether this is a COCO data set (a list of COCO results is none)."""
    return all(isinstance(document.top.get(key), list) for key in ("images", "annotations"))


def parse_coco(document: Document) -> Annotations:
    """Read COCO instances or person keypoints."""
    coco = CocoReader(document)
    annotations = objects_of(document.top["annotations"])
    coco.read_categories(objects_of(document.top.get("categories")), annotations)
    coco.read_images(objects_of(document.top["images"]), annotations)
    # An attribute that ties regions is made only where some need it.
    coco.is_tied = any(map(needs_tie, annotations))
    for data in annotations:
        coco.read_annotation(data)
    coco.warn_of_repeated_ids(annotations)
    coco.declare()
    return coco.annotations(Container.COCO)


@dataclass(slots=True)
class CocoReader(ShapeReader):
    """Gathers images with their regions, and what cannot be one."""

    categories: dict[str, Category] = field(default_factory=dict)
    declared: dict[str, Attribute] = field(default_factory=dict)
    known: list[CocoCategory] = field(default_factory=list)
    images: dict[str, ImageEntry] = field(default_factory=dict)
    lost_images: set[str] = field(default_factory=set)
    lost_categories: set[str] = field(default_factory=set)
    seen: dict[object, str] = field(default_factory=dict)
    is_tied: bool = False
    has_scores: bool = False
    unusable_areas: int = 0

    def read_categories(self, categories: Sequence[Data], annotations: Sequence[Data]) -> None:
        """Note what the category ids stand for.

        Args:
            annotations: all of the file: how many keypoints they have where no category says so.
        """
        counts = keypoint_counts(annotations) if any(map(is_unnamed, categories)) else {}
        for data in categories:
            key, name = text_of(data.get("id")), text_of(data.get("name"))
            if not name:
                name = f"category {key}"
                message = f"a category without a name is read as '{name}'"
                self.report("warning", message, "name it in the file")
            names = data.get("keypoints")
            keypoints = tuple(map(text_of, names)) if isinstance(names, list) else ()
            is_named = bool(keypoints) or key not in counts
            if not is_named:
                keypoints = tuple(str(number) for number in range(1, counts[key] + 1))
                message = f"the category '{name}' does not name its keypoints: they are numbered"
                remedy = "name them in the category, or give skeleton=FILE with as many keypoints"
                self.report("warning", message, remedy)
            if repeated := [each for each, n in Counter(keypoints).items() if n > 1]:
                message = f"the category '{name}' names keypoints twice: {', '.join(repeated)}; "
                message += "only the first of a name is read"
                self.report("error", message, "give each keypoint of it a name of its own")
            self.categories[key] = Category("class", name, key, keypoints)
            links, unusable = links_of(data.get("skeleton"), keypoints)
            if keypoints and unusable:
                message = f"{counted(unusable, 'link')} of the category '{name}' left out: "
                message += f"a link is a pair of places among its {len(keypoints)} keypoints"
                self.report("warning", message, "write pairs of numbers, counted from 1")
            self.known.append(CocoCategory(id_of(data), name, keypoints, tuple(links), is_named))
        self._refuse_repeated_categories(annotations)
        same = Counter(each.name for each in self.known)
        for name, count in same.items():
            if count > 1:
                message = f"{count} categories are named '{name}': they are one class"
                self.report("warning", message, "give them different names, or make them one")
        if all(type(each.id) is int for each in self.known):
            self.known.sort(key=lambda each: each.id)

    def _refuse_repeated_categories(self, annotations: Sequence[Data]) -> None:
        """Refuse categories of one id and different names: their annotations are ambiguous."""
        names: dict[str, list[str]] = {}
        for each in self.known:
            names.setdefault(str(each.id), []).append(each.name)
        held = Counter(text_of(data.get("category_id")) for data in annotations)
        for key, found in names.items():
            if len(set(found)) > 1:
                self.lost_categories.add(key)
                message = (
                    f"{len(found)} categories have the id {key}: {', '.join(found)}; it cannot be "
                    f"told which of the {held[key]} annotations of this id is whose: all are left "
                    "out"
                )
                self.report("error", message, "give every category an id of its own")

    def read_images(
        self, images: Sequence[Data], annotations: Sequence[Data], remedy: str = _WRONG_IDS
    ) -> None:
        """Make an entry of each image, with its size among the attributes, as VIA does itself.

        Args:
            annotations: all of the file, to count those of images that cannot be told apart.
            remedy: what to do where two images have one id.
        """
        ids = Counter(text_of(data.get("id")) for data in images)
        held = Counter(text_of(data.get("image_id")) for data in annotations)
        for data in images:
            key, name = text_of(data.get("id")), text_of(data.get("file_name"))
            if ids[key] > 1:
                self.lost_images.add(key)
                message = (
                    f"{ids[key]} images have the id {key}; it cannot be told which of the "
                    f"{held[key]} annotations of this id is whose: all are left out"
                )
                self.report("error", message, remedy, name or None)
                continue
            if not name:
                self.lost_images.add(key)
                message = f"the image {key} has no file_name: it and its annotations are left out"
                self.report("error", message, "give it a file_name, or remove it")
                continue
            stated = {side: data[side] for side in ("width", "height") if is_size(data.get(side))}
            attributes = {side: str(value) for side, value in stated.items()}
            size = (stated["width"], stated["height"]) if len(stated) == 2 else None
            coco = CocoImage(id_of(data), size)  # type: ignore[arg-type] # they are sizes
            self.images[key] = ImageEntry(key, name, attributes, coco)

    def read_annotation(self, data: Data) -> None:
        """Make regions of an annotation, or report why not."""
        image = self._image_of(data)
        category = None if image is None else self.category_of(data, image.filename)
        if image is None or category is None:
            return
        number = text_of(data.get("id"))
        outlines = self.outlines(data, image, number)
        if outlines is None:
            return
        shapes, mask = outlines
        keypoints = self.keypoints(data, category, image, number)
        is_labelled = any(keypoints[2::3])
        box = self.box(data, image, number, bool(shapes) or is_labelled)
        if not shapes and box is not None:
            shapes = [Rect(*box)]
        if not shapes and not is_labelled:
            message = f"annotation {number} has no outline, no box and no labelled keypoint"
            self.report("error", message, "annotate it again, or remove it", image.filename)
            return
        area = data.get("area")
        has_area = is_number(area) and area > 0  # type: ignore[operator] # it is a number
        # VIA writes an empty list for a point.
        self.unusable_areas += area not in (None, []) and not has_area
        coco = CocoAnnotation(
            id=number,
            category=category.key,
            box=box,
            area=float(area) if has_area else None,  # type: ignore[arg-type]
            mask=mask,
            keypoints=keypoints,
            is_crowd=data.get("iscrowd") in (1, "1", True),
        )
        points: Sequence[tuple[Point, Mapping[str, Value]]] = ()
        if is_labelled and (self.document.keypoints_as_points or not shapes):
            points = self.points(category, keypoints)
        self._add_regions(image, coco, shapes, points, self._values(data, category, image))
        if shapes:
            self._warn_of_copy(image, coco, shapes)

    def _image_of(self, data: Data) -> ImageEntry | None:
        """The image of an annotation; None, and a problem, where there is none."""
        key = text_of(data.get("image_id"))
        image = self.images.get(key)
        if image is None and key not in self.lost_images:
            number = text_of(data.get("id"))
            message = f"annotation {number} belongs to image {key}, which the file has not"
            self.report("error", message, "add the image, or remove the annotation")
        return image

    def category_of(self, data: Data, image: str) -> Category | None:
        """The category of an annotation; None, and a problem, where its id is that of none."""
        if data.get("category_id") is None:
            return Category("class", "")
        key = text_of(data["category_id"])
        if key in self.lost_categories:
            return None
        if key not in self.categories:
            message = f"annotation {text_of(data.get('id'))} has the unknown category {key}"
            self.report("error", message, "add the category, or remove the annotation", image)
            return None
        return self.categories[key]

    def _values(self, data: Data, category: Category, image: ImageEntry) -> Mapping[str, Value]:
        """The attributes of an annotation's regions; the same mapping where they are the same."""
        image.annotations += 1
        values = category.values
        if self.is_tied:
            values = {**values, "instance": str(image.annotations)}
        if is_number(data.get("score")):
            self.has_scores = True
            values = {**values, "score": str(data["score"])}
        return values

    def _add_regions(
        self,
        image: ImageEntry,
        coco: CocoAnnotation,
        shapes: Sequence[Area],
        points: Sequence[tuple[Point, Mapping[str, Value]]],
        values: Mapping[str, Value],
    ) -> None:
        exact = self.exact(coco)
        if coco.is_crowd:
            image.crowds += [
                Region(at, shape, values, coco)
                for at, shape in enumerate(shapes, len(image.crowds))
            ]
            return
        start = image.shapes
        image.regions += [
            Region(at, shape, values, exact) for at, shape in enumerate(shapes, start)
        ]
        start += len(shapes)
        image.regions += [
            Region(at, point, {**values, **own}, exact)
            for at, (point, own) in enumerate(points, start)
        ]
        image.shapes = start + len(points)

    def exact(self, coco: CocoAnnotation) -> CocoAnnotation | None:
        """The region keeps all of its annotation."""
        return coco

    def _warn_of_copy(
        self, image: ImageEntry, coco: CocoAnnotation, shapes: Sequence[Area]
    ) -> None:
        """Two annotations of one category and outline are two objects, which is seldom meant."""
        if coco.is_crowd or coco.mask is None:
            return
        key = (image.key, coco.category, tuple(shapes))
        first = self.seen.setdefault(key, coco.id)
        if first is not coco.id:
            message = f"annotation {coco.id} has the outline and the category of annotation {first}"
            remedy = "remove one of the two: both are taken for objects"
            self.report("warning", message, remedy, image.filename)

    def warn_of_repeated_ids(self, annotations: Sequence[Data]) -> None:
        """Ids of annotations have to differ for other programs; they do not matter here."""
        counts = Counter(text_of(data.get("id")) for data in annotations)
        repeated = {key: count for key, count in counts.items() if count > 1 and key}
        if repeated:
            key, count = next(iter(repeated.items()))
            more = f", and {len(repeated) - 1} more ids repeat" if len(repeated) > 1 else ""
            message = f"{count} annotations have the id {key}{more}: all are read"
            self.report("warning", message, "give every annotation an id of its own")

    def declare(self) -> None:
        """Declare the region attributes, tagged with their roles."""
        names = [category.name for category in self.categories.values()]
        joints = [name for each in self.categories.values() for name in each.keypoints]
        found = [_choice("class", "class", "what it is", names)]
        if self.is_tied:
            text = f"the same for all regions of one object {TAGS['instance']}"
            found.append(Attribute("instance", "text", text))
        if joints:
            found.append(_choice("keypoint", "keypoint", "which keypoint", joints))
            found.append(
                _choice("visibility", "visibility", "of the keypoint", ["visible", "occluded"])
            )
        if self.has_scores:
            found.append(Attribute("score", "text", f"of the prediction {TAGS['score']}"))
        self.declared = {attribute.name: attribute for attribute in found}

    def annotations(self, container: Container) -> Annotations:
        """The images read, with every problem."""
        if self.holes:
            message = f"holes are filled (masks: {self.holes}, pixels: {self.hole_pixels}), since "
            message += "polygons have none; training takes the masks as they are"
            self.report("note", message, "")
        if self.unusable_areas:
            count = counted(self.unusable_areas, "annotation")
            message = f"the area of {count} is no positive number: "
            message += "that of the outline, or else of the box, is taken"
            remedy = "write it in square pixels, or leave it out: keypoints are measured by it"
            self.report("warning", message, remedy)
        images = [
            ImageRecord(
                key=each.key,
                filename=each.filename,
                size=None,
                regions=tuple(each.regions),
                attributes=each.attributes,
                crowds=tuple(each.crowds),
                coco=each.coco if container is Container.COCO else None,
            )
            for each in self.images.values()
        ]
        warn_of_double_names(self.document.file, images, self.problems)
        occurring = {name for image in images for name in image.attributes}
        sizes = [name for name in ("width", "height") if name in occurring]
        return Annotations(
            self.document.file,
            container,
            tuple(images),
            self.declared,
            {name: Attribute(name) for name in sizes},
            problems=tuple(self.problems),
            categories=tuple(self.known),
        )


def _choice(name: str, role: str, text: str, values: Sequence[str]) -> Attribute:
    return Attribute(name, "dropdown", f"{text} {TAGS[role]}", {each: each for each in values})
