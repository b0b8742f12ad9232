"""COCO json, sound or as VIA exports it, translated to the image entries of a VIA 2 project.

Outlines become polygons, boxes without an outline rectangles, labelled keypoints points; what
belongs to one object carries the same `instance`. COCO's frames are VIA's: outlines and boxes are
continuous, keypoints are pixel indices.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roilab.via.document import Document
from roilab.via.entries import read_images
from roilab.via.records import Annotations, Attribute, Container, Problem, Severity
from roilab.via.roles import TAGS

Data = Mapping[str, object]
_BY_VIA = "VIA project exported"


def is_via_coco(document: Document) -> bool:
    """Whether VIA exported this COCO file."""
    info = document.top.get("info")
    description = info.get("description") if isinstance(info, Mapping) else None
    return is_coco(document) and isinstance(description, str) and description.startswith(_BY_VIA)


def is_coco(document: Document) -> bool:
    """Whether this is a COCO data set (a list of COCO results is none)."""
    return all(isinstance(document.top.get(key), list) for key in ("images", "annotations"))


def parse_coco(document: Document) -> Annotations:
    """Read COCO instances or person keypoints. Crowds have no place in VIA and are counted."""
    coco = _Coco(document)
    coco.read_categories(_dicts(document.top.get("categories")))
    annotations = _dicts(document.top["annotations"])
    coco.read_images(_dicts(document.top["images"]), annotations)
    # An attribute that ties regions is made only where some need it.
    coco.ties = any(_needs_tie(each) for each in annotations)
    for data in annotations:
        coco.read_annotation(data)
    return coco.annotations(Container.COCO, coco.declared())


def parse_via_coco(document: Document) -> Annotations:
    """Read what VIA exports as COCO, mending what its exporter breaks.

    VIA writes a row for every choice attribute of a region, all with the category of the last; the
    option's description for a name, which is often empty; a point as keypoints without a name; and
    where all file names begin with a digit, no category ids and image ids made of that digit.
    """
    coco = _ViaCoco(document)
    coco.read_categories(_dicts(document.top.get("categories")))
    rows = _dicts(document.top["annotations"])
    # Ids alone do not tell: another program may have left them out, or written the same for all.
    once = {repr([row.get(key) for key in _SAME_REGION]): row for row in rows}
    coco.read_images(_dicts(document.top["images"]), list(once.values()))
    if len(once) < len(rows):
        message = f"{len(rows) - len(once)} rows repeat a region, one for each of its attributes"
        coco.count("warning", message + "; only the last attribute is known", _SAVE_PROJECT)
    for data in once.values():
        coco.read_annotation(data)
    return coco.annotations(Container.VIA_COCO, coco.declared())


_SAME_REGION = ("image_id", "id", "segmentation", "bbox", "keypoints")
_SAVE_PROJECT = "in VIA, save the project, which holds everything, and read that"


@dataclass(slots=True)
class _Category:
    """A category: the attribute and the value that stand for it, and the names of its keypoints."""

    attribute: str
    name: str
    keypoints: tuple[str, ...] = ()


@dataclass(slots=True)
class _Coco:
    """Gathers image entries in VIA 2's layout, and what cannot be one."""

    document: Document
    categories: dict[str, _Category] = field(default_factory=dict)
    images: dict[str, dict[str, object]] = field(default_factory=dict)
    lost_images: set[str] = field(default_factory=set)
    regions: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    instances: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    ties: bool = False
    scores: bool = False
    crowds: int = 0
    holes: int = 0
    hole_pixels: int = 0

    def count(
        self, severity: Severity, message: str, remedy: str, image: str | None = None
    ) -> None:
        """Report what concerns the file or an image of it."""
        self.problems.append(Problem(severity, message, remedy, self.document.file, image))

    def read_categories(self, categories: Sequence[Data]) -> None:
        """Note what the category ids stand for."""
        for data in categories:
            name = _text(data.get("name"))
            names = data.get("keypoints")
            keypoints = tuple(map(_text, names)) if isinstance(names, list) else ()
            if not name:
                name = f"category {_text(data.get('id'))}"
                message = f"a category without a name is read as '{name}'"
                self.count("warning", message, "name it in the file")
            self.categories[_text(data.get("id"))] = _Category("class", name, keypoints)

    def read_images(self, images: Sequence[Data], annotations: Sequence[Data]) -> None:
        """Make an entry of each image, with its size among the attributes, as VIA does itself.

        Args:
            annotations: all of the file, to count those of images that cannot be told apart.
        """
        ids = Counter(_text(data.get("id")) for data in images)
        held = Counter(_text(data.get("image_id")) for data in annotations)
        for data in images:
            key, name = _text(data.get("id")), _text(data.get("file_name"))
            if ids[key] > 1:
                self.lost_images.add(key)
                message = (
                    f"{ids[key]} images have the id {key}; it cannot be told which of the "
                    f"{held[key]} annotations of this id is whose: all are left out"
                )
                self.count("error", message, self.remedy_of_ids(), name or None)
                continue
            sizes = {k: str(data[k]) for k in ("width", "height") if _is_size(data.get(k))}
            self.regions[key] = []
            self.images[key] = {
                "filename": name,
                "file_attributes": sizes,
                "regions": self.regions[key],
            }

    def remedy_of_ids(self) -> str:
        """What to do where two images have one id."""
        return "give every image an id of its own"

    def read_annotation(self, data: Data) -> None:
        """Make regions of an annotation, or report why not."""
        key, number = _text(data.get("image_id")), _text(data.get("id"))
        if key not in self.regions:
            if key not in self.lost_images:
                message = f"annotation {number} belongs to image {key}, which the file has not"
                self.count("error", message, "add the image, or remove the annotation")
            return
        image = str(self.images[key]["filename"])
        if data.get("iscrowd") in (1, "1", True):
            self.crowds += 1
            return
        category = self.category_of(data, image)
        if category is None:
            return
        values = {category.attribute: category.name} if category.name else {}
        self.instances[key] += 1
        if self.ties:
            values["instance"] = str(self.instances[key])
        if isinstance(data.get("score"), int | float):
            self.scores = True
            values["score"] = str(data["score"])
        shapes = self._shapes(data, image, number)
        points = self._points(data, category, image, number)
        for shape in shapes:
            self.add_region(key, shape, values)
        for shape, own in points:
            self.add_region(key, shape, {**values, **own})
        if not shapes and not points:
            message = f"annotation {number} has no outline, no box and no labelled keypoint"
            self.count("error", message, "annotate it again, or remove it", image)

    def add_region(self, key: str, shape: Data, values: Data) -> None:
        """Add a region to an image."""
        self.regions[key].append({"shape_attributes": shape, "region_attributes": values})

    def category_of(self, data: Data, image: str) -> _Category | None:
        """The category of an annotation; None, and a problem, where there is none."""
        key = _text(data.get("category_id"))
        if key not in self.categories:
            message = f"annotation {_text(data.get('id'))} has the unknown category {key}"
            self.count("error", message, "add the category, or remove the annotation", image)
            return None
        return self.categories[key]

    def _shapes(self, data: Data, image: str, number: str) -> list[Data]:
        """The polygons of an annotation, else the rectangle of its box."""
        outline = data.get("segmentation")
        rings: Sequence[object] = []
        if isinstance(outline, Mapping):
            rings = self._rings_of_rle(outline, image, number)
        elif isinstance(outline, list):
            flat = outline and not isinstance(outline[0], list)
            rings = [ring for ring in ([outline] if flat else outline) if ring != []]
        if rings:
            return [_polygon(ring) for ring in rings]
        box = data.get("bbox")
        if isinstance(box, list) and box:
            return [{"name": "rect", **dict(zip(("x", "y", "width", "height"), box, strict=False))}]
        return []

    def _rings_of_rle(self, outline: Data, image: str, number: str) -> Sequence[object]:
        if self.document.rings_of_rle is None:
            message = f"annotation {number} is a run-length encoded mask, which is not read here"
            self.count("error", message, "read it with roilab.data.read", image)
            return []
        try:
            rings, hole = self.document.rings_of_rle(outline)
        except ValueError as error:
            message = f"the mask of annotation {number} cannot be decoded: {error}"
            self.count("error", message, "write it again as COCO's run-length encoding", image)
            return []
        self.holes += hole > 0
        self.hole_pixels += hole
        return rings

    def _points(
        self, data: Data, category: _Category, image: str, number: str
    ) -> list[tuple[Data, Data]]:
        """The labelled keypoints of an annotation: shapes and their own values."""
        flat = data.get("keypoints")
        if not isinstance(flat, list) or not flat:
            return []
        if not category.keypoints or len(flat) != 3 * len(category.keypoints):
            message = f"annotation {number} has {len(flat)} numbers for keypoints"
            expected = f"three for each of the category's {len(category.keypoints)} keypoints"
            self.count("error", message, f"write {expected}", image)
            return []
        points: list[tuple[Data, Data]] = []
        for name, x, y, v in zip(
            category.keypoints, flat[::3], flat[1::3], flat[2::3], strict=True
        ):
            if v in (1, 2):
                seen = "visible" if v == 2 else "occluded"
                shape = {"name": "point", "cx": x, "cy": y}
                points.append((shape, {"keypoint": name, "visibility": seen}))
            elif v != 0:
                message = f"annotation {number}: the visibility of '{name}' is {v!r:.20}"
                self.count("error", message, "0, 1 or 2 is expected", image)
        return points

    def declared(self) -> dict[str, Attribute]:
        """The region attributes, tagged with their roles."""
        names = [category.name for category in self.categories.values()]
        joints = [name for each in self.categories.values() for name in each.keypoints]
        found = [_choice("class", "class", "what it is", names)]
        if self.ties:
            text = f"the same for all regions of one object {TAGS['instance']}"
            found.append(Attribute("instance", "text", text))
        if joints:
            found.append(_choice("keypoint", "keypoint", "which keypoint", joints))
            found.append(
                _choice("visibility", "visibility", "of the keypoint", ["visible", "occluded"])
            )
        if self.scores:
            found.append(Attribute("score", "text", f"of the prediction {TAGS['score']}"))
        return {attribute.name: attribute for attribute in found}

    def annotations(self, container: Container, declared: Mapping[str, Attribute]) -> Annotations:
        """The entries read, with every problem."""
        if self.crowds:
            message = f"{self.crowds} crowds are left out"
            self.count("warning", message, "VIA has none; train from the COCO file to use them")
        if self.holes:
            message = f"holes are filled (masks: {self.holes}, pixels: {self.hole_pixels})"
            self.count(
                "warning", message, "VIA has no holes; train from the COCO file to keep them"
            )
        images = read_images(self.document.file, self.images, self.problems)
        sizes = {name: Attribute(name) for name in ("width", "height")}
        occurring = {name for image in images for name in image.attributes}
        file_attributes = {name: sizes[name] for name in sizes if name in occurring}
        return Annotations(
            self.document.file,
            container,
            images,
            declared,
            file_attributes,
            problems=tuple(self.problems),
        )


class _ViaCoco(_Coco):
    """The same for what VIA's exporter writes."""

    __slots__ = ("known",)

    def read_categories(self, categories: Sequence[Data]) -> None:
        """Note the options: `supercategory` is VIA's attribute, `name` the option's description."""
        self.known: list[_Category] = []
        unnamed = 0
        for data in categories:
            attribute = _text(data.get("supercategory")) or "class"
            name = _text(data.get("name"))
            if not name:
                unnamed += 1
                same = sum(each.attribute == attribute for each in self.known)
                name = f"{attribute} {same + 1}"
            if all((each.attribute, each.name) != (attribute, name) for each in self.known):
                self.known.append(_Category(attribute, name))
            if data.get("id") is not None:
                self.categories[_text(data["id"])] = _Category(attribute, name)
        if unnamed:
            message = f"{unnamed} categories have no name: they are numbered by their attribute"
            self.count("warning", message, "describe the options in VIA, or read the project")

    def remedy_of_ids(self) -> str:
        """What to do where two images have one id."""
        return f"{_SAVE_PROJECT}: the export numbers images by the digits their names begin with"

    def category_of(self, data: Data, image: str) -> _Category | None:
        """The category; where the exporter wrote no id, the only one that there is."""
        if data.get("category_id") is not None:
            return super().category_of(data, image)
        if len(self.known) == 1:
            return self.known[0]
        message = f"region {_text(data.get('id'))} has lost its class: the export has no id for it"
        self.count("error", message, _SAVE_PROJECT, image)
        return _Category("class", "")

    def _points(
        self, data: Data, category: _Category, image: str, number: str
    ) -> list[tuple[Data, Data]]:
        """A point of VIA: three numbers, the last of which means nothing."""
        flat = data.get("keypoints")
        if not isinstance(flat, list) or len(flat) < 2:
            return []
        return [({"name": "point", "cx": flat[0], "cy": flat[1]}, {})]

    def declared(self) -> dict[str, Attribute]:
        """The attributes that were exported."""
        options: dict[str, list[str]] = {}
        for category in self.known:
            options.setdefault(category.attribute, []).append(category.name)
        return {
            name: Attribute(name, "dropdown", options={each: each for each in found})
            for name, found in options.items()
        }


def _needs_tie(data: Data) -> bool:
    outline = data.get("segmentation")
    parts = len(outline) if isinstance(outline, list) and _nested(outline) else 1
    # How many parts a run-length encoded mask has is not known before it is decoded.
    return bool(data.get("keypoints")) or parts > 1 or isinstance(outline, Mapping)


def _nested(outline: Sequence[object]) -> bool:
    return bool(outline) and isinstance(outline[0], list)


def _choice(name: str, role: str, text: str, values: Sequence[str]) -> Attribute:
    return Attribute(name, "dropdown", f"{text} {TAGS[role]}", {each: each for each in values})


def _polygon(ring: object) -> Data:
    """A ring x0, y0, x1, y1, ... as VIA's polygon; the reader of shapes refuses what is none."""
    if not isinstance(ring, list | tuple):
        return {"name": "polygon"}
    return {"name": "polygon", "all_points_x": list(ring[::2]), "all_points_y": list(ring[1::2])}


def _dicts(rows: object) -> list[Data]:
    """The rows that are objects; one that is none has no place, and becomes one without keys."""
    found = rows if isinstance(rows, list) else []
    return [row if isinstance(row, Mapping) else {} for row in found]


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()
