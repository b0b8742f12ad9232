"""COCO json as VIA exports it, which is seldom sound."""

from collections.abc import Sequence

from roilab.text import counted
from roilab.via.formats import coco
from roilab.via.formats.coco import Category, CocoImageEntry, CocoReader, Values
from roilab.via.formats.coco_values import Row, id_text, rows_in
from roilab.via.formats.source import SourceFile, mapping
from roilab.via.geometry import are_coordinates
from roilab.via.records import Annotations, Attribute, Container, Point

_SAME_REGION = ("image_id", "id", "segmentation", "bbox", "keypoints")
_SAVE_PROJECT = "in VIA, save the project, which holds everything, and read that"


def detect(source: SourceFile) -> Container | None:
    """Whether VIA exported this COCO file."""
    text = mapping(source.top.get("info")).get("description")
    is_by_via = isinstance(text, str) and text.startswith("VIA project exported")
    return Container.VIA_COCO if is_by_via and coco.detect(source) else None


def parse(source: SourceFile, container: Container) -> Annotations:
    """Read what VIA exports as COCO, and repair what its exporter breaks.

    VIA writes a row for every choice attribute of a region, all with the category of the last; the
    option's description for a name, which is often empty; a point as keypoints without a name; and
    where all file names begin with a digit, no category ids, and image ids that are that digit.
    """
    reader = _ViaCocoReader(source, container)
    rows = rows_in(source.top["annotations"])
    # Ids are not enough: another program may have left them out, or written the same for all.
    by_region = {repr([row.get(key) for key in _SAME_REGION]): row for row in rows}
    regions = list(by_region.values())
    reader.read_categories(rows_in(source.top.get("categories")), regions)
    remedy = f"{_SAVE_PROJECT}: the export numbers images by the digits their names begin with"
    reader.read_images(rows_in(source.top["images"]), regions, remedy)
    if len(regions) < len(rows):
        count = counted(len(rows) - len(regions), "row repeats", "rows repeat")
        message = f"{count} a region, one for each of its attributes"
        reader.report("warning", message + "; only the last attribute is known", _SAVE_PROJECT)
    for row in regions:
        reader.read_annotation(row)
    if reader.without_category:
        count = counted(reader.without_category, "region has", "regions have")
        message = f"{count} lost the class: the export has no id"
        remedy = f"{_SAVE_PROJECT}; or, where all are of one class, give default_class=NAME"
        reader.report("warning", f"{message} for it", remedy)
    return reader.annotations()


class _ViaCocoReader(CocoReader):
    """The reader for what VIA exports. `options`: attribute and option -> their category."""

    __slots__ = ("options", "without_category")

    def read_categories(self, categories: Sequence[Row], annotations: Sequence[Row]) -> None:
        """Read the options: `supercategory` is VIA's attribute, `name` their description."""
        self.options: dict[tuple[str, str], Category] = {}
        self.without_category = 0
        unnamed = 0
        for row in categories:
            attribute = id_text(row.get("supercategory")) or "class"
            name = id_text(row.get("name"))
            if not name:
                unnamed += 1
                same = sum(option[0] == attribute for option in self.options)
                name = f"{attribute} {same + 1}"
            option = self.options.setdefault((attribute, name), Category({attribute: name}))
            if row.get("id") is not None:
                self.categories[id_text(row["id"])] = option
        if unnamed:
            count = counted(unnamed, "category without a name", "categories without a name")
            message = f"{count}, numbered by the attribute"
            self.report("warning", message, "describe the options in VIA, or read the project")

    def declared(self) -> dict[str, Attribute]:
        """The attributes of the options."""
        names: dict[str, dict[str, str]] = {}
        for attribute, name in self.options:
            names.setdefault(attribute, {})[name] = name
        return {name: Attribute(name, "dropdown", options=names[name]) for name in names}

    def category_of(self, row: Row, image: CocoImageEntry, number: str) -> Category | None:
        """The category; where the exporter wrote no id, the only one that there is."""
        if row.get("category_id") is None and len(self.options) == 1:
            return next(iter(self.options.values()))
        self.without_category += row.get("category_id") is None
        return super().category_of(row, image, number)

    def read_keypoints(
        self, row: Row, category: Category, image: CocoImageEntry, number: str
    ) -> Sequence[float]:
        """A point of VIA: three numbers, the last of which means nothing."""
        flat = row.get("keypoints")
        if not isinstance(flat, list) or len(flat) < 2 or not are_coordinates(flat[:2]):
            return ()
        return [*flat[:2], 2]

    def points(self, category: Category, keypoints: Sequence[float]) -> list[tuple[Point, Values]]:
        """The point, which has no name."""
        return [(Point(keypoints[0], keypoints[1]), {})]
