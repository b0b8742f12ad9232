"""The projects and CSV files of VIA 3.

Both hold views, attributes by number, and metadata: shapes and values of a view. What belongs to
time (video frames, temporal segments) has no place in records and is counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roilab.errors import UserError
from roilab.text import counted
from roilab.via.formats.source import (
    REMEDY_OF_REPEATED,
    Reporter,
    SourceFile,
    load_json,
    mapping,
    warn_of_double_names,
)
from roilab.via.formats.via2_csv import lines_of, long_cells, nonempty_rows
from roilab.via.formats.via2_json import read_values, report_nameless, unknown_shape, value_text
from roilab.via.geometry import InvalidShape, Numbered, Path, checked_path, checked_shape, kind_of
from roilab.via.records import (
    Annotations,
    Attribute,
    Circle,
    Container,
    Ellipse,
    ImageRecord,
    Point,
    Polygon,
    Polyline,
    Problem,
    Rect,
    Region,
    Shape,
    Value,
)

_TITLE = "# Exported using VGG Image Annotator"
_CSV_COLUMNS = (
    "metadata_id",
    "file_list",
    "flags",
    "temporal_coordinates",
    "spatial_coordinates",
    "metadata",
)
# VIA 3 numbers the types of files, attributes and shapes (src/js of VIA 3.0.10).
_IMAGE, _INLINE = 2, 4
_NO_IMAGES = {"4": "a video", "8": "a sound"}
_TYPES = {1: "text", 2: "checkbox", 3: "radio", 4: "dropdown", 5: "image"}
_NUMBERED: Mapping[int, tuple[type[Numbered], tuple[str, ...]]] = {
    1: (Point, ("cx", "cy")),
    2: (Rect, ("x", "y", "width", "height")),
    3: (Circle, ("cx", "cy", "r")),
    4: (Ellipse, ("cx", "cy", "rx", "ry")),
}
_PATHS: Mapping[int, type[Path]] = {5: Polyline, 6: Polyline, 7: Polygon}
_EXTREME_RECTANGLE, _EXTREME_CIRCLE = 8, 9
_LIMIT = 1e9  # of coordinates that are calculated with


def detect(source: SourceFile) -> Container | None:
    """The kind of a project or CSV of VIA 3."""
    keys = ("project", "metadata", "view")
    if all(isinstance(source.top.get(key), Mapping) for key in keys):
        return Container.VIA3_PROJECT
    return Container.VIA3_CSV if source.text.lstrip().startswith(_TITLE) else None


def parse(source: SourceFile, container: Container) -> Annotations:
    """Read the images of a project or CSV of VIA 3."""
    is_project = container is Container.VIA3_PROJECT
    return _parse_project(source) if is_project else _parse_csv(source)


def _parse_project(source: SourceFile) -> Annotations:
    top = source.top
    files, views = mapping(top.get("file")), mapping(top.get("view"))
    config = mapping(mapping(top.get("config")).get("file"))
    prefixes = mapping(config.get("loc_prefix"))
    project = _Project(source.file)
    project.declare(mapping(top.get("attribute")))
    order = mapping(top["project"]).get("vid_list", top.get("vid_list"))
    ids = [str(vid) for vid in order] if isinstance(order, list) else []
    by_id = {str(vid): view for vid, view in views.items()}
    by_fid = {str(fid): file for fid, file in files.items()}
    for vid in dict.fromkeys([*ids, *by_id]):
        fids = mapping(by_id.get(vid)).get("fid_list")
        fids = list(map(str, fids)) if isinstance(fids, list) else []
        unknown = [fid for fid in fids if fid not in by_fid]
        shown = [mapping(by_fid.get(fid)) for fid in fids]
        project.add_view(vid, shown, prefixes, unknown)
    for mid, metadata in mapping(top["metadata"]).items():
        data = mapping(metadata)
        vid, values = str(data.get("vid")), data.get("av", {})
        project.add_metadata(str(mid), vid, data.get("z"), data.get("xy"), values)
    # Old projects have one path for all local files.
    path = prefixes.get("1", config.get("path"))
    return project.annotations(Container.VIA3_PROJECT, path if isinstance(path, str) else "")


def _parse_csv(source: SourceFile) -> Annotations:
    project = _Project(source.file)
    lines = lines_of(source.text)
    _refuse_other_columns(source.file, lines)
    for line in lines:
        name, _, value = line.lstrip("# ").partition("=")
        if line.startswith("#") and name.strip() in ("ATTRIBUTE", "ATTRIBUTES"):
            declared = mapping(_json(value))
            # Older files give the names only.
            project.declare(
                {aid: {"aname": a} if isinstance(a, str) else a for aid, a in declared.items()}
            )
    # A comment is kept as an empty line, so that the numbers of the lines stay right.
    data = ["" if line.startswith("#") else line for line in lines]
    with long_cells():
        for number, cells in nonempty_rows(data, ",", len(_CSV_COLUMNS)):
            if len(cells) != len(_CSV_COLUMNS):
                message = f"line {number} has {len(cells)} cells, expected {len(_CSV_COLUMNS)}"
                project.error(message, "correct the line, or export it again from VIA")
                continue
            mid, files, _, times, shape, values = cells
            names = _json(files)
            names = [str(name) for name in names] if isinstance(names, list) else [files]
            vid = "\n".join(names)
            if vid not in project.images and vid not in project.left_out:
                project.add_view(vid, [{"fname": name, "type": _IMAGE} for name in names], {})
            held = project.cell_values(values, mid, names)
            project.add_metadata(mid, vid, _json(times), _json(shape), held)
    return project.annotations(Container.VIA3_CSV, "")


def _refuse_other_columns(file: str, lines: Sequence[str]) -> None:
    """Refuse what VIA 3 exports under the same title with other columns.

    Raises:
        UserError: the header names columns that are not those of regions.
    """
    stated = (line.lstrip("# ").partition("=") for line in lines if line.startswith("#"))
    header = next((value.strip() for key, _, value in stated if key.strip() == "CSV_HEADER"), None)
    if header is None or header.split(",") == list(_CSV_COLUMNS):
        return
    is_temporal = "temporal_segment_start" in header
    raise UserError(
        "VIA 3's CSV of temporal segments: times in a video or sound, and no regions of images"
        if is_temporal
        else "the columns of the CSV are not those of VIA 3",
        file=file,
        key="CSV_HEADER",
        found=header,
        expected=",".join(_CSV_COLUMNS),
        remedy="there is nothing in it to train on: save frames of the video as images, and "
        "annotate regions of these in VIA"
        if is_temporal
        else "export the file again from VIA, or give VIA's project",
    )


@dataclass(slots=True)
class _Image:
    """The image of a view, to which metadata are added. `count` has the refused regions as well."""

    filename: str
    regions: list[Region] = field(default_factory=list)
    attributes: dict[str, Value] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    count: int = 0


@dataclass(slots=True)
class _Project:
    """Collects images with their regions, and what cannot be one.

    Attributes:
        images, left_out: view id -> its image, and the name of what is shown instead of one.
        names: attribute id -> name.
        ticked: ids of the attributes that are checkboxes.
        dropped: image and reason -> how many metadata are left out.
    """

    file: str
    images: dict[str, _Image] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    region_attributes: dict[str, Attribute] = field(default_factory=dict)
    file_attributes: dict[str, Attribute] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    ticked: set[str] = field(default_factory=set)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def error(self, message: str, remedy: str, image: str | None = None) -> None:
        """Report what the file, or an image of it, loses."""
        self.problems.append(Problem("error", message, remedy, self.file, image))

    def declare(self, declared: Mapping[str, object]) -> None:
        """Add the declarations of attributes, which VIA 3 refers to by number."""
        for aid, declaration in declared.items():
            data = mapping(declaration)
            name = str(data.get("aname", "")).strip() or aid
            if name in self.names.values():
                message = f"two attributes are called '{name}'"
                name = f"{name} ({aid})"
                message += f", one is read as '{name}'"
                self.problems.append(Problem("warning", message, "rename it in VIA", self.file))
            self.names[aid] = name
            number = data.get("type")
            kind = _TYPES.get(number, "text") if isinstance(number, int) else "text"
            if kind == "checkbox":
                self.ticked.add(aid)
            default = data.get("default_option_id")
            is_of_regions = str(data.get("anchor_id", "XY1")).endswith("XY1")
            group = self.region_attributes if is_of_regions else self.file_attributes
            options = mapping(data.get("options"))
            if name:
                group[name] = Attribute(
                    name=name,
                    type=kind,
                    description=value_text(data.get("desc")),
                    options={value_text(key): value_text(value) for key, value in options.items()},
                    default_options=() if default in (None, "") else (value_text(str(default)),),
                )

    def add_view(
        self,
        vid: str,
        files: Sequence[Mapping[str, object]],
        prefixes: Mapping[str, object],
        unknown: Sequence[str] = (),
    ) -> None:
        """Add the image of a view, if it shows one.

        Args:
            unknown: ids among those of the view's files that the project does not have.
        """
        named = [_filename(file, prefixes) for file in files]
        kind = files[0].get("type") if files else None
        remedy = "make a view of each image in VIA 3"
        if unknown:
            reason = f"view {vid} shows file {', '.join(unknown)}, which the project does not have"
            named, remedy = [name for name in named if name], "add the file in VIA 3"
        elif len(files) != 1:
            reason = f"the view shows {len(files)} files"
        elif str(kind) in _NO_IMAGES:
            reason = f"the view shows no image but {_NO_IMAGES[str(kind)]}"
        elif kind not in (_IMAGE, str(_IMAGE)):
            reason = f"the view shows a file of unknown type {kind!r:.40}"
        else:
            self.images[vid] = _Image(named[0].strip())
            return
        self.left_out[vid] = ", ".join(named) or f"view {vid}"
        self.error(reason, remedy, self.left_out[vid])

    def cell_values(self, cell: str, mid: str, names: Sequence[str]) -> object:
        """The values in a cell of a CSV; a key that it repeats is reported."""
        try:
            values, repeated = load_json(cell)
        except (ValueError, RecursionError):
            return cell
        for key in repeated:
            message = f"annotation '{mid}': {key}; only the last is read"
            self.error(message, REMEDY_OF_REPEATED, ", ".join(names))
        return values

    def add_metadata(self, mid: str, vid: str, times: object, shape: object, held: object) -> None:
        """Add a region, or attributes of an image, or count what is neither.

        Args:
            mid, vid: ids of the metadata and of their view.
            times, shape, held: the JSON data of times, coordinates and attribute values.
        """
        image = self.images.get(vid)
        if image is None:
            where = self.left_out.get(vid)
            self.dropped[where or "", "of what is left out" if where else "without a view"] += 1
            return
        if not isinstance(times, list) or not all(type(time) in (int, float) for time in times):
            if times is not None:
                message = f"the times of annotation '{mid}' are no list of numbers: {times!r:.60}"
                self.error(message, "annotate it again in VIA", image.filename)
                return
        elif times:
            self.dropped[image.filename, "of a time, not of an image"] += 1
            return
        if not isinstance(held, Mapping):
            message = f"the values of annotation '{mid}' are no object: {held!r:.60}"
            self.error(message, "annotate it again in VIA", image.filename)
            return
        if shape == [] or shape is None:
            reporter = Reporter(image.problems, self.file, image.filename)
            image.attributes |= self._values(held, "file_attributes", reporter)
            return
        suffix = f" (metadata '{mid}')"
        reporter = Reporter(image.problems, self.file, image.filename, suffix)
        index = image.count
        image.count += 1
        try:
            checked = _shape(shape)
        except InvalidShape as reason:
            reporter.error(str(reason), "draw the region again in VIA, or delete it", index)
        else:
            values = self._values(held, "region_attributes", reporter, index)
            image.regions.append(Region(index, checked, values))

    def _values(
        self,
        held: Mapping[str, object],
        key: str,
        reporter: Reporter,
        region: int | None = None,
    ) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for aid, value in held.items():
            name = self.names.get(aid, aid)
            if name and aid in self.ticked and isinstance(value, str):
                options = (option.strip() for option in value.split(","))
                values[name] = tuple(dict.fromkeys(filter(None, options)))
            else:
                values |= read_values({name: value}, key, reporter, region)
        return values

    def annotations(self, container: Container, default_path: str) -> Annotations:
        """The images read, with every problem."""
        for (where, reason), count in self.dropped.items():
            message = f"{counted(count, 'annotation')} {reason}"
            self.error(message, "annotate them as regions of images", where or None)
        images = []
        for vid, image in self.images.items():
            if not image.filename:
                report_nameless(Reporter(self.problems, self.file, vid))
                continue
            self.problems += image.problems
            Reporter(self.problems, self.file, image.filename).warn_of_copies(image.regions)
            regions, attributes = tuple(image.regions), image.attributes
            images.append(ImageRecord(vid, image.filename, None, regions, attributes))
        warn_of_double_names(self.file, images, self.problems)
        return Annotations(
            self.file,
            container,
            tuple(images),
            self.region_attributes,
            self.file_attributes,
            default_path,
            tuple(self.problems),
        )


def _filename(file: Mapping[str, object], prefixes: Mapping[str, object]) -> str:
    """The name, path or URL of a file. A local one has its folder in the prefix, or nowhere."""
    source, location = file.get("src"), file.get("loc")
    if isinstance(source, str) and source.strip() and str(location) != str(_INLINE):
        prefix = prefixes.get(str(location)) if str(location) != "1" else ""
        return (prefix if isinstance(prefix, str) else "") + source
    return str(file.get("fname") or "")


def _shape(data: object) -> Shape:
    """The shape of VIA 3's list [number, coordinate, ...].

    Raises:
        InvalidShape: no known shape, or numbers that do not make one.
    """
    if not isinstance(data, list) or not data:
        raise unknown_shape(f"{data!r:.40}")
    number, coordinates = data[0], data[1:]
    if not isinstance(number, int):
        raise unknown_shape(f"{number!r:.40}")
    if number in _NUMBERED:
        kind, fields = _NUMBERED[number]
        if len(coordinates) > len(fields):
            message = f"a {kind_of(kind)} of {len(coordinates)} coordinates, expected {len(fields)}"
            raise InvalidShape(message)
        return checked_shape(kind, dict(zip(fields, coordinates, strict=False)))
    xs, ys = coordinates[0::2], coordinates[1::2]
    if number in _PATHS:
        return checked_path(_PATHS[number], xs, ys)
    # Neither text nor NaN, and small enough to calculate with.
    sound = len(xs) == len(ys) and all(
        type(value) in (int, float) and abs(value) < _LIMIT for value in coordinates
    )
    count = f"{len(coordinates)} extreme coordinates"
    if number == _EXTREME_RECTANGLE:
        if not sound or not 2 <= len(xs) <= 4:
            raise InvalidShape(f"a rect of {count}, expected 4 points")
        x, y = min(xs), min(ys)
        rect = {"x": x, "y": y, "width": max(xs) - x, "height": max(ys) - y}
        return checked_shape(Rect, rect)
    if number == _EXTREME_CIRCLE:
        if not sound or len(xs) != 3:
            raise InvalidShape(f"a circle of {count}, expected 3 points")
        return checked_shape(Circle, _circle(xs, ys))
    raise unknown_shape(f"shape {number}")


def _circle(xs: Sequence[float], ys: Sequence[float]) -> dict[str, float]:
    """The circle through three points; one without extent where they lie on one line."""
    bx, by = xs[1] - xs[0], ys[1] - ys[0]
    cx, cy = xs[2] - xs[0], ys[2] - ys[0]
    cross = 2 * (bx * cy - by * cx)
    if not cross:
        return {"cx": xs[0], "cy": ys[0], "r": 0}
    b, c = bx * bx + by * by, cx * cx + cy * cy
    ux, uy = (cy * b - by * c) / cross, (bx * c - cx * b) / cross
    return {"cx": xs[0] + ux, "cy": ys[0] + uy, "r": (ux * ux + uy * uy) ** 0.5}


def _json(cell: str) -> object:
    """The JSON value of a cell; for other text the cell itself, which its reader refuses."""
    try:
        return load_json(cell)[0]
    except (ValueError, RecursionError):
        return cell
