"""COCO data sets, with everything that training needs.

Outlines become polygons, boxes without an outline rectangles, labelled keypoints points, and the
regions of one annotation carry the same `instance`, so that a VIA project can be written of them.
The annotation itself (its own box, area, mask, and whether it is a crowd) is kept with its regions
as a `CocoAnnotation`. COCO's frames are VIA's: outlines and boxes are continuous, keypoints
are pixel indices.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from roilab.text import counted
from roilab.via import records
from roilab.via.formats import coco_values
from roilab.via.formats.coco_values import Row, id_text
from roilab.via.formats.source import SourceFile
from roilab.via.geometry import InvalidShape, are_coordinates, checked_path

Mask = Sequence[Sequence[float]] | Mapping[str, object]
Values = Mapping[str, records.Value]

_VISIBILITIES: Mapping[float, str] = {1: "occluded", 2: "visible"}


def detect(source: SourceFile) -> records.Container | None:
    """Whether this is a COCO data set (a list of COCO results is none)."""
    lists = (source.top.get(key) for key in ("images", "annotations"))
    return records.Container.COCO if all(isinstance(rows, list) for rows in lists) else None


def parse(source: SourceFile, container: records.Container) -> records.Annotations:
    """Read COCO instances or person keypoints."""
    reader = CocoReader(source, container)
    annotations = coco_values.rows_in(source.top["annotations"])
    reader.read_categories(coco_values.rows_in(source.top.get("categories")), annotations)
    reader.read_images(coco_values.rows_in(source.top["images"]), annotations)
    # An attribute that ties regions is added only where some need it.
    reader.is_tied = any(map(coco_values.may_have_several_regions, annotations))
    for row in annotations:
        reader.read_annotation(row)
    # Ids of annotations have to differ for other programs; they do not matter here.
    counts = Counter(id_text(row.get("id")) for row in annotations)
    if repeated := [key for key, count in counts.items() if count > 1 and key]:
        more = f", and {len(repeated) - 1} more ids repeat" if len(repeated) > 1 else ""
        message = f"{counts[repeated[0]]} annotations have the id {repeated[0]}{more}: all are read"
        reader.report("warning", message, "give every annotation an id of its own")
    return reader.annotations()


@dataclass(frozen=True, slots=True)
class Category:
    """A category's values for a region (none for an annotation without one), id and keypoints."""

    values: Values
    key: str = ""
    keypoints: tuple[str, ...] = ()


@dataclass(slots=True)
class CocoImageEntry:
    """An image and the regions read so far.

    `shapes` counts the refused ones as well; `annotations` is the number that ties regions.
    """

    record: records.ImageRecord
    reporter: records.Reporter
    regions: list[records.Region] = field(default_factory=list)
    crowds: list[records.Region] = field(default_factory=list)
    shapes: int = 0
    annotations: int = 0


@dataclass(slots=True)
class CocoReader:
    """Collects images with their regions, and reports what cannot be read.

    Attributes:
        categories, images: by their ids, as text; None for those whose annotations are left out,
            which is reported once.
        known: the categories, for the records.
        outlines: image, category and outline -> the first annotation that has them.
        is_tied: whether regions get an attribute that ties those of an annotation together.
        counts: of annotations with a score, of those whose area is no positive number, of masks
            with holes, which polygons do not have, and of the pixels of these holes.
    """

    source: SourceFile
    container: records.Container
    problems: list[records.Problem] = field(default_factory=list)
    categories: dict[str, Category | None] = field(default_factory=dict)
    known: list[records.CocoCategory] = field(default_factory=list)
    images: dict[str, CocoImageEntry | None] = field(default_factory=dict)
    outlines: dict[object, str] = field(default_factory=dict)
    is_tied: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def report(self, severity: records.Severity, message: str, remedy: str) -> None:
        """Add a problem of the file as a whole."""
        records.Reporter(self.problems, self.source.file).report(severity, message, remedy)

    def read_categories(self, categories: Sequence[Row], annotations: Sequence[Row]) -> None:
        """Read what the category ids stand for; `annotations` tell the number of keypoints."""
        counts = coco_values.keypoint_counts(annotations)
        names_by_id: dict[str, list[str]] = {}
        for row in categories:
            key = id_text(row.get("id"))
            category = self._read_category(row, key, counts.get(key, 0))
            names_by_id.setdefault(key, []).append(category.name)
        rows = Counter(id_text(row.get("category_id")) for row in annotations)
        for key, same_id in names_by_id.items():
            if len(set(same_id)) > 1:
                self.categories[key] = None
                names = ", ".join(same_id)
                message = f"{len(same_id)} categories have the id {key}: {names}"
                remedy = "give every category an id of its own"
                self.report("error", f"{message}; {_unclear(rows[key])}", remedy)
        for name, count in Counter(category.name for category in self.known).items():
            if count > 1:
                message = f"{count} categories are named '{name}': they are one class"
                self.report("warning", message, "give them different names, or make them one")

    def _read_category(self, row: Row, key: str, count: int) -> records.CocoCategory:
        """Read a category whose annotations have `count` keypoints each, 0 for none."""
        name = id_text(row.get("name"))
        if not name:
            name = f"category {key}"
            message = f"a category without a name is read as '{name}'"
            self.report("warning", message, "name it in the file")
        names = row.get("keypoints")
        keypoints = tuple(map(id_text, names)) if isinstance(names, list) else ()
        is_named = bool(keypoints) or not count
        if not is_named:
            keypoints = tuple(str(number) for number in range(1, count + 1))
            message = f"the category '{name}' does not name its keypoints: they are numbered"
            remedy = "name them in the category, or give skeleton=FILE with as many keypoints"
            self.report("warning", message, remedy)
        repeated = [text for text, times in Counter(keypoints).items() if times > 1]
        if repeated:
            message = (
                f"the category '{name}' names keypoints twice: {', '.join(repeated)}; "
                "only the first of a name is read"
            )
            self.report("error", message, "give each keypoint of it a name of its own")
        links, unusable = coco_values.links_of(row.get("skeleton"), keypoints)
        if keypoints and unusable:
            message = (
                f"{counted(unusable, 'link')} of the category '{name}' left out: "
                f"a link is a pair of places among its {len(keypoints)} keypoints"
            )
            self.report("warning", message, "write pairs of numbers, counted from 1")
        self.categories[key] = Category({"class": name}, key, keypoints)
        id_in_file = coco_values.id_of(row)
        category = records.CocoCategory(id_in_file, name, keypoints, links, is_named)
        self.known.append(category)
        return category

    def read_images(
        self,
        images: Sequence[Row],
        annotations: Sequence[Row],
        remedy: str = "give every image an id of its own",
    ) -> None:
        """Read the images, with the size of each among its attributes, as VIA does itself.

        Where two have one id, their `annotations` are counted, and `remedy` says what to do.
        """
        ids = Counter(id_text(row.get("id")) for row in images)
        rows = Counter(id_text(row.get("image_id")) for row in annotations)
        for row in images:
            key = id_text(row.get("id"))
            name = id_text(row.get("file_name"))
            reporter = records.Reporter(self.problems, self.source.file, name or None)
            self.images[key] = None
            if ids[key] > 1:
                message = f"{ids[key]} images have the id {key}; {_unclear(rows[key])}"
                reporter.error(message, remedy)
            elif not name:
                message = f"the image {key} has no file_name: it and its annotations are left out"
                reporter.error(message, "give it a file_name, or remove it")
            else:
                sides = {side: row.get(side) for side in ("width", "height")}
                lengths = {side: n for side, n in sides.items() if type(n) is int and n > 0}
                size = (lengths["width"], lengths["height"]) if len(lengths) == 2 else None
                attributes = {side: str(length) for side, length in lengths.items()}
                is_coco = self.container is not records.Container.VIA_COCO
                coco = records.CocoImage(coco_values.id_of(row), size) if is_coco else None
                record = records.ImageRecord(key, name, None, (), attributes, coco=coco)
                self.images[key] = CocoImageEntry(record, reporter)

    def read_annotation(self, row: Row) -> None:
        """Add the regions of an annotation, or report why it has none."""
        number = id_text(row.get("id"))
        key = id_text(row.get("image_id"))
        if key not in self.images:
            message = f"annotation {number} belongs to image {key}, which the file does not have"
            self.report("error", message, "add the image, or remove the annotation")
        image = self.images.get(key)
        category = None if image is None else self.category_of(row, image, number)
        if image is None or category is None:
            return
        outlines = self._read_outlines(row, image, number)
        if outlines is None:
            return
        shapes, mask = outlines

        keypoints = self.read_keypoints(row, category, image, number)
        is_labelled = any(keypoints[2::3])
        is_located = bool(shapes) or is_labelled
        box = coco_values.checked_box(row.get("bbox"), is_located, image.reporter, number)
        if not shapes and box is not None:
            shapes = [records.Rect(*box)]
        if not shapes and not is_labelled:
            message = f"annotation {number} has no outline, no box and no labelled keypoint"
            image.reporter.error(message, "annotate it again, or remove it")
            return

        area = row.get("area")
        usable_area = float(area) if coco_values.is_finite_number(area) and area > 0 else None
        # VIA writes an empty list for a point.
        self.counts["areas"] += usable_area is None and area not in (None, [])
        is_crowd = row.get("iscrowd") in (1, "1", True)
        coco = records.CocoAnnotation(
            number, category.key, box, usable_area, mask, keypoints, is_crowd
        )

        values = self._values(row, category, image)
        drawn: list[tuple[records.Shape, Values]] = [(shape, values) for shape in shapes]
        if is_crowd:
            image.crowds += _regions(drawn, len(image.crowds), coco)
            return
        if is_labelled and (self.source.keypoints_as_points or not shapes):
            drawn += [(point, {**values, **own}) for point, own in self.points(category, keypoints)]
        kept = coco if self.container is not records.Container.VIA_COCO else None
        image.regions += _regions(drawn, image.shapes, kept)
        image.shapes += len(drawn)
        if shapes and mask is not None:
            outline = (image.record.key, category.key, tuple(shapes))
            self._warn_of_double(outline, number, image.reporter)

    def _warn_of_double(self, outline: object, number: str, reporter: records.Reporter) -> None:
        """Warn of two annotations of one category and outline: two objects are seldom meant."""
        if outline not in self.outlines:
            self.outlines[outline] = number
            return
        first = self.outlines[outline]
        message = f"annotation {number} has the outline and the category of annotation {first}"
        reporter.report("warning", message, "remove one of the two: both are taken for objects")

    def category_of(self, row: Row, image: CocoImageEntry, number: str) -> Category | None:
        """The category of an annotation; None, and a problem, if its id is unknown."""
        if row.get("category_id") is None:
            return Category({})
        key = id_text(row["category_id"])
        if key not in self.categories:
            message = f"annotation {number} has the unknown category {key}"
            image.reporter.error(message, "add the category, or remove the annotation")
        return self.categories.get(key)

    def _read_outlines(
        self, row: Row, image: CocoImageEntry, number: str
    ) -> tuple[list[records.Area], Mask | None] | None:
        """The polygons of an annotation, and its mask; None, and a problem, if all are unsound.

        Rings that cannot be used are left out of both.
        """
        outline = row.get("segmentation")
        if isinstance(outline, Mapping):
            decoded = self._read_rle(outline, image.reporter, number)
            return None if decoded is None else (decoded, outline)
        if outline is not None and not isinstance(outline, list):
            message = f"the segmentation of annotation {number} is {outline!r:.40}"
            image.reporter.error(message, "write a list of polygons, or a run-length encoded mask")
            return None
        rings = outline or []
        if rings and not isinstance(rings[0], list):  # VIA writes one polygon without a list
            rings = [rings]
        rings = [ring for ring in rings if ring != []]
        sound: list[Sequence[float]] = []
        shapes: list[records.Area] = []
        for ring in rings:
            try:
                if not isinstance(ring, list) or len(ring) % 2 or not are_coordinates(ring):
                    raise InvalidShape(
                        f"a ring of its segmentation is {ring!r:.60}, expected numbers in pairs"
                    )
                shapes.append(checked_path(records.Polygon, ring[::2], ring[1::2]))
                sound.append(ring)
            except InvalidShape as reason:
                message = f"annotation {number}: {reason}"
                image.reporter.error(message, "draw its outline again, or remove it", image.shapes)
                image.shapes += 1
        if rings and not sound:
            return None
        return shapes, sound or None

    def _read_rle(
        self, outline: Row, reporter: records.Reporter, number: str
    ) -> list[records.Area] | None:
        if self.source.rings_of_rle is None:
            message = f"annotation {number} is a run-length encoded mask, which is not read here"
            remedy = "read it with roilab.data.mask_to_polygons.read_annotations"
            reporter.error(message, remedy)
            return None
        try:
            rings, hole = self.source.rings_of_rle(outline)
        except ValueError as error:
            message = f"the mask of annotation {number} cannot be decoded: {error}"
            reporter.error(message, "write it again as COCO's run-length encoding")
            return None
        self.counts["holes"] += hole > 0
        self.counts["hole pixels"] += hole
        return [records.Polygon(tuple(ring[::2]), tuple(ring[1::2])) for ring in rings]

    def read_keypoints(
        self, row: Row, category: Category, image: CocoImageEntry, number: str
    ) -> Sequence[float]:
        """The keypoints of an annotation, x, y, visibility of each; none if they are unsound."""
        flat = row.get("keypoints")
        names = category.keypoints
        return coco_values.checked_keypoints(flat, names, image.reporter, number)

    def points(
        self, category: Category, keypoints: Sequence[float]
    ) -> list[tuple[records.Point, Values]]:
        """Points of the labelled keypoints, and the values that only they have."""
        columns = keypoints[::3], keypoints[1::3], keypoints[2::3]
        return [
            (records.Point(x, y), {"keypoint": name, "visibility": _VISIBILITIES[v]})
            for name, x, y, v in zip(category.keypoints, *columns, strict=True)
            if v
        ]

    def _values(self, row: Row, category: Category, image: CocoImageEntry) -> Values:
        """The attributes of an annotation's regions; the same mapping where they are the same."""
        image.annotations += 1
        values = category.values
        if self.is_tied:
            values = {**values, "instance": str(image.annotations)}
        if coco_values.is_finite_number(row.get("score")):
            self.counts["scores"] += 1
            values = {**values, "score": str(row["score"])}
        return values

    def declared(self) -> dict[str, records.Attribute]:
        """The region attributes, tagged with their roles."""
        categories = {str(category.id): category for category in self.known}.values()
        classes = [category.name for category in categories]
        keypoints = [name for category in categories for name in category.keypoints]
        attributes = [_attribute("class", "what it is", classes)]
        if self.is_tied:
            attributes.append(_attribute("instance", "the same for all regions of one object"))
        if keypoints:
            attributes.append(_attribute("keypoint", "which keypoint", keypoints))
            attributes.append(_attribute("visibility", "of the keypoint", ["visible", "occluded"]))
        if self.counts["scores"]:
            attributes.append(_attribute("score", "of the prediction"))
        return {attribute.name: attribute for attribute in attributes}

    def annotations(self) -> records.Annotations:
        """The images read, with every problem."""
        if self.counts["holes"]:
            message = (
                f"holes are filled (masks: {self.counts['holes']}, pixels: "
                f"{self.counts['hole pixels']}), since polygons have none; "
                "training takes the masks as they are"
            )
            self.report("note", message, "")
        if self.counts["areas"]:
            message = (
                f"the area of {counted(self.counts['areas'], 'annotation')} is no positive number: "
                "that of the outline, or else of the box, is taken"
            )
            remedy = "write it in square pixels, or leave it out: keypoints are measured by it"
            self.report("warning", message, remedy)
        images = tuple(
            replace(image.record, regions=tuple(image.regions), crowds=tuple(image.crowds))
            for image in self.images.values()
            if image is not None
        )
        declared = self.declared()
        if all(type(category.id) is int for category in self.known):
            self.known.sort(key=lambda category: category.id)
        occurring = {name for image in images for name in image.attributes}
        return records.Annotations(
            self.source.file,
            self.container,
            images,
            declared,
            {side: records.Attribute(side) for side in ("width", "height") if side in occurring},
            problems=tuple(self.problems),
            categories=tuple(self.known),
        )


def _unclear(count: int) -> str:
    return f"it is unclear which of the {count} annotations of this id is whose: all are left out"


def _regions(
    drawn: Sequence[tuple[records.Shape, Values]], start: int, coco: records.CocoAnnotation | None
) -> list[records.Region]:
    return [records.Region(at, *content, coco) for at, content in enumerate(drawn, start)]


def _attribute(role: str, text: str, values: Sequence[str] | None = None) -> records.Attribute:
    options = {value: value for value in values or ()}
    kind = "text" if values is None else "dropdown"
    return records.Attribute(role, kind, f"{text} {records.TAGS[role]}", options)
