"""COCO json as VIA exports it, which is seldom sound, -> records."""

from collections.abc import Mapping, Sequence

from roilab.text import counted
from roilab.via.coco import CocoReader, is_coco
from roilab.via.coco_json import Category, Data, objects_of, text_of
from roilab.via.geometry import are_coordinates
from roilab.via.records import Annotations, Attribute, CocoAnnotation, Container, Value
from roilab.via.shapes import Point
from roilab.via.source_file import Document

_BY_VIA = "VIA project exported"
_SAME_REGION = ("image_id", "id", "segmentation", "bbox", "keypoints")
_SAVE_PROJECT = "in VIA, save the project, which holds everything, and read that"


def is_via_coco(document: Document) -> bool:
    """Whether VIA exported this COCO file."""
    info = document.top.get("info")
    description = info.get("description") if isinstance(info, Mapping) else None
    return is_coco(document) and isinstance(description, str) and description.startswith(_BY_VIA)


def parse_via_coco(document: Document) -> Annotations:
    """Read what VIA exports as COCO, mending what its exporter breaks.

    VIA writes a row for every choice attribute of a region, all with the category of the last; the
    option's description for a name, which is often empty; a point as keypoints without a name; and
    where all file names begin with a digit, no category ids and image ids made of that digit.
    """
    coco = _ViaCocoReader(document)
    rows = objects_of(document.top["annotations"])
    # Ids alone do not tell: another program may have left them out, or written the same for all.
    once = {repr([row.get(key) for key in _SAME_REGION]): row for row in rows}
    regions = list(once.values())
    coco.read_categories(objects_of(document.top.get("categories")), regions)
    remedy = f"{_SAVE_PROJECT}: the export numbers images by the digits their names begin with"
    coco.read_images(objects_of(document.top["images"]), regions, remedy)
    if len(once) < len(rows):
        count = counted(len(rows) - len(once), "row repeats", "rows repeat")
        message = f"{count} a region, one for each of its attributes"
        coco.report("warning", message + "; only the last attribute is known", _SAVE_PROJECT)
    for data in regions:
        coco.read_annotation(data)
    if coco.without_category:
        count = counted(coco.without_category, "region has", "regions have")
        message = f"{count} lost the class: the export has no id"
        remedy = f"{_SAVE_PROJECT}; or, where all are of one class, give default_class=NAME"
        coco.report("warning", f"{message} for it", remedy)
    return coco.annotations(Container.VIA_COCO)


class _ViaCocoReader(CocoReader):
    """The same for what VIA's exporter writes."""

    __slots__ = ("options", "without_category")

    def read_categories(self, categories: Sequence[Data], annotations: Sequence[Data]) -> None:
        """Note the options: `supercategory` is VIA's attribute, `name` the option's description."""
        self.options: list[Category] = []
        self.without_category = 0
        unnamed = 0
        for data in categories:
            attribute = text_of(data.get("supercategory")) or "class"
            name = text_of(data.get("name"))
            if not name:
                unnamed += 1
                same = sum(each.attribute == attribute for each in self.options)
                name = f"{attribute} {same + 1}"
            option = Category(attribute, name)
            if option not in self.options:
                self.options.append(option)
            if data.get("id") is not None:
                self.categories[text_of(data["id"])] = option
        if unnamed:
            count = counted(unnamed, "category without a name", "categories without a name")
            message = f"{count}, numbered by the attribute"
            self.report("warning", message, "describe the options in VIA, or read the project")
        found: dict[str, list[str]] = {}
        for option in self.options:
            found.setdefault(option.attribute, []).append(option.name)
        self.declared = {
            name: Attribute(name, "dropdown", options={each: each for each in options})
            for name, options in found.items()
        }

    def category_of(self, data: Data, image: str) -> Category | None:
        """The category; where the exporter wrote no id, the only one that there is."""
        if data.get("category_id") is None and len(self.options) == 1:
            return self.options[0]
        self.without_category += data.get("category_id") is None
        return super().category_of(data, image)

    def keypoints(
        self, data: Data, category: Category, image: object, number: str
    ) -> Sequence[float]:
        """A point of VIA: three numbers, the last of which means nothing."""
        flat = data.get("keypoints")
        if not isinstance(flat, list) or len(flat) < 2 or not are_coordinates(flat[:2]):
            return ()
        return [*flat[:2], 2]

    def points(
        self, category: Category, keypoints: Sequence[float]
    ) -> list[tuple[Point, Mapping[str, Value]]]:
        """The point, which has no name."""
        return [(Point(keypoints[0], keypoints[1]), {})]

    def exact(self, coco: CocoAnnotation) -> None:
        """Nothing: the box and the polygon of a rectangle, for one, are made by the exporter."""
