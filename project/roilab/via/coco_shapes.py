"""The outline, the box and the keypoints of a COCO annotation, and why one cannot be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roilab.via.coco_json import Category, Data, as_polygon
from roilab.via.geometry import InvalidShape, are_coordinates, read_shape
from roilab.via.records import CocoImage, Problem, Region, Severity, Value
from roilab.via.shapes import Area, Point, Polygon
from roilab.via.source_file import Document

Mask = Sequence[Sequence[float]] | Mapping[str, object]
Box = tuple[float, float, float, float]
_VISIBILITIES: Mapping[float, str] = {1: "occluded", 2: "visible"}


@dataclass(slots=True)
class ImageEntry:
    """An image entry that is being put together. `shapes` counts the refused ones as well."""

    key: str
    filename: str
    attributes: Mapping[str, Value]
    coco: CocoImage
    regions: list[Region] = field(default_factory=list)
    crowds: list[Region] = field(default_factory=list)
    shapes: int = 0
    annotations: int = 0


@dataclass(slots=True)
class ShapeReader:
    """Reads where the objects of a file are, and reports what cannot be read.

    `holes` counts the masks that have some, which polygons have not.
    """

    document: Document
    problems: list[Problem] = field(default_factory=list)
    holes: int = 0
    hole_pixels: int = 0

    def report(
        self,
        severity: Severity,
        message: str,
        remedy: str,
        image: str | None = None,
        region: int | None = None,
    ) -> None:
        """Add a problem of the file, of an image, or of a region of it."""
        self.problems.append(Problem(severity, message, remedy, self.document.file, image, region))

    def outlines(
        self, data: Data, image: ImageEntry, number: str
    ) -> tuple[list[Area], Mask | None] | None:
        """The polygons of an annotation, and its mask; None, and a problem, where all are unsound.

        Rings that cannot be used are left out of both.
        """
        outline = data.get("segmentation")
        if isinstance(outline, Mapping):
            found = self._rings_of_rle(outline, image.filename, number)
            if found is None:
                return None
            return [Polygon(tuple(ring[::2]), tuple(ring[1::2])) for ring in found], outline
        if outline is not None and not isinstance(outline, list):
            message = f"the segmentation of annotation {number} is {outline!r:.40}"
            remedy = "write a list of polygons, or a run-length encoded mask"
            self.report("error", message, remedy, image.filename)
            return None
        parts: Sequence[object] = outline or ()
        # VIA writes one polygon without a list around it.
        rings = [outline] if parts and not isinstance(parts[0], list) else parts
        rings = [ring for ring in rings if ring != []]
        shapes: list[Area] = []
        sound: list[Sequence[float]] = []
        for ring in rings:
            try:
                shapes.append(read_shape(as_polygon(ring)))  # type: ignore[arg-type] # no point
                sound.append(ring)  # type: ignore[arg-type] # else it was refused
            except InvalidShape as reason:
                message = f"annotation {number}: {reason}"
                remedy = "draw its outline again, or remove it"
                self.report("error", message, remedy, image.filename, image.shapes)
                image.shapes += 1
        if rings and not sound:
            return None
        return shapes, sound or None

    def _rings_of_rle(
        self, outline: Data, image: str, number: str
    ) -> Sequence[Sequence[float]] | None:
        if self.document.rings_of_rle is None:
            message = f"annotation {number} is a run-length encoded mask, which is not read here"
            self.report("error", message, "read it with roilab.data.read", image)
            return None
        try:
            rings, hole = self.document.rings_of_rle(outline)
        except ValueError as error:
            message = f"the mask of annotation {number} cannot be decoded: {error}"
            self.report("error", message, "write it again as COCO's run-length encoding", image)
            return None
        self.holes += hole > 0
        self.hole_pixels += hole
        return rings

    def box(self, data: Data, image: ImageEntry, number: str, is_shown: bool) -> Box | None:
        """The box of an annotation; None, and a problem, where it cannot be one.

        Args:
            is_shown: whether an outline or keypoints show where the object is.
        """
        box = data.get("bbox")
        if box is None or box == []:
            return None
        if isinstance(box, list) and len(box) == 4 and are_coordinates(box):
            if box[2] > 0 and box[3] > 0:
                return (box[0], box[1], box[2], box[3])
            found = f"without extent ({box[2]:g} x {box[3]:g})"
        else:
            found = f"no x, y, width and height, but {box!r:.60}"
        message = f"the bbox of annotation {number} is {found}"
        if is_shown:
            message += ": the box around its outline or keypoints is taken"
        remedy = "write x, y, width and height, or leave the bbox out"
        self.report("warning" if is_shown else "error", message, remedy, image.filename)
        return None

    def keypoints(
        self, data: Data, category: Category, image: ImageEntry, number: str
    ) -> Sequence[float]:
        """The keypoints of an annotation, x, y, visibility of each; none where they are unsound."""
        flat = data.get("keypoints")
        if flat is None or flat == []:
            return ()
        if not isinstance(flat, list) or not are_coordinates(flat):
            message = f"the keypoints of annotation {number} are {flat!r:.60}"
            remedy = "write a list of numbers, three for each keypoint"
            self.report("error", message, remedy, image.filename)
            return ()
        names = category.keypoints
        if not any(flat[2::3]) and not names:
            return ()
        if len(flat) != 3 * len(names):
            message = f"annotation {number} has {len(flat)} numbers for keypoints"
            remedy = f"write three for each of the category's {len(names)} keypoints"
            self.report("error", message, remedy, image.filename)
            return ()
        wrong = [at for at, v in enumerate(flat[2::3]) if v not in (0, 1, 2)]
        if wrong:
            flat = list(flat)
            for at in wrong:
                message = f"annotation {number}: the visibility of '{names[at]}' is "
                message += f"{flat[3 * at + 2]!r:.20}"
                self.report("error", message, "0, 1 or 2 is expected", image.filename)
                flat[3 * at + 2] = 0
        return flat

    def points(
        self, category: Category, keypoints: Sequence[float]
    ) -> list[tuple[Point, Mapping[str, Value]]]:
        """Points of the labelled keypoints, and the values that only they have."""
        each = zip(
            category.keypoints, keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True
        )
        return [
            (Point(x, y), {"keypoint": name, "visibility": _VISIBILITIES[v]})
            for name, x, y, v in each
            if v
        ]
