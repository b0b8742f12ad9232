"""The projects and CSV files of VIA 3, translated to the image entries of a VIA 2 project.

Both hold views, attributes by number, and metadata: shapes and values of a view. What belongs to
time (video frames, temporal segments) has no place here and is counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from roilab.errors import UserError
from roilab.text import counted
from roilab.via.csv_files import lines_of, long_cells, rows_of
from roilab.via.entries import KNOWN_AS, read_attributes, read_images
from roilab.via.geometry import InvalidShape
from roilab.via.records import Annotations, Attribute, Container, Problem, Severity
from roilab.via.source_file import Document
from roilab.via.strict_json import REMEDY_OF_REPEATED, load_json

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
_SHAPES: Mapping[int, tuple[str, tuple[str, ...]]] = {
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
}
_LIMIT = 1e9
_LINE, _POLYLINE, _POLYGON, _EXTREME_RECTANGLE, _EXTREME_CIRCLE = 5, 6, 7, 8, 9


def is_project(document: Document) -> bool:
    """Whether this is a VIA 3 project."""
    return all(
        isinstance(document.top.get(key), Mapping) for key in ("project", "metadata", "view")
    )


def is_csv(document: Document) -> bool:
    """Whether this is a CSV of VIA 3."""
    return document.text.lstrip().startswith(_TITLE)


def parse_project(document: Document) -> Annotations:
    """Read the images of a VIA 3 project."""
    top = document.top
    files, views = _mapping(top.get("file")), _mapping(top.get("view"))
    config = _mapping(_mapping(top.get("config")).get("file"))
    prefixes = _mapping(config.get("loc_prefix"))
    project = _Project(document.file)
    project.declare(_mapping(top.get("attribute")))
    order = _mapping(top["project"]).get("vid_list", top.get("vid_list"))
    ids = [str(vid) for vid in order] if isinstance(order, list) else []
    by_id = {str(vid): view for vid, view in views.items()}
    by_fid = {str(fid): file for fid, file in files.items()}
    for vid in dict.fromkeys([*ids, *by_id]):
        fids = _mapping(by_id.get(vid)).get("fid_list")
        fids = list(map(str, fids)) if isinstance(fids, list) else []
        unknown = [fid for fid in fids if fid not in by_fid]
        found = [_mapping(by_fid.get(fid)) for fid in fids]
        project.add_view(vid, found, prefixes, unknown)
    for mid, data in _mapping(top["metadata"]).items():
        project.add_metadata(str(mid), _mapping(data))
    # Old projects have one path for all local files.
    path = prefixes.get("1", config.get("path"))
    return project.annotations(Container.VIA3_PROJECT, path if isinstance(path, str) else "")


def parse_csv(document: Document) -> Annotations:
    """Read the images of a CSV of VIA 3."""
    project = _Project(document.file)
    lines = lines_of(document.text)
    _refuse_other_columns(document.file, lines)
    for line in lines:
        name, _, value = line.lstrip("# ").partition("=")
        if line.startswith("#") and name.strip() in ("ATTRIBUTE", "ATTRIBUTES"):
            declared = _mapping(_json(value))
            # Older files give the names only.
            project.declare(
                {aid: {"aname": a} if isinstance(a, str) else a for aid, a in declared.items()}
            )
    # A comment is kept as an empty line, so that the numbers of the lines stay right.
    data = ["" if line.startswith("#") else line for line in lines]
    with long_cells():
        for number, cells in rows_of(data, ",", len(_CSV_COLUMNS)):
            if len(cells) != len(_CSV_COLUMNS):
                message = f"line {number} has {len(cells)} cells, expected {len(_CSV_COLUMNS)}"
                project.problem("error", message, "mend the line, or export it again from VIA")
                continue
            mid, files, _, times, shape, values = cells
            names = _json(files)
            names = [str(name) for name in names] if isinstance(names, list) else [files]
            vid = "\n".join(names)
            if vid not in project.images and vid not in project.left_out:
                project.add_view(vid, [{"fname": name, "type": _IMAGE} for name in names], {})
            row = {"vid": vid, "z": _json(times), "xy": _json(shape)}
            project.add_metadata(mid, row | {"av": project.values_of(values, mid, names)})
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
class _Project:
    """Gathers image entries in VIA 2's layout, and what cannot be one."""

    file: str
    images: dict[str, dict[str, object]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, dict[str, Attribute]] = field(
        default_factory=lambda: {"region": {}, "file": {}}
    )
    problems: list[Problem] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    ticked: set[str] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)

    def problem(
        self, severity: Severity, message: str, remedy: str, image: str | None = None
    ) -> None:
        """Report what concerns the file or an image of it."""
        self.problems.append(Problem(severity, message, remedy, self.file, image))

    def declare(self, declared: Mapping[str, object]) -> None:
        """Translate attributes: VIA 3 calls them by number, VIA 2 by name."""
        layout: dict[str, dict[str, object]] = {"region": {}, "file": {}}
        for aid, data in declared.items():
            attribute = _mapping(data)
            name = str(attribute.get("aname", "")).strip() or aid
            if name in self.names.values():
                message = f"two attributes are called '{name}'"
                name = f"{name} ({aid})"
                self.problem("warning", f"{message}, one is read as '{name}'", "rename it in VIA")
            self.names[aid] = name
            number = attribute.get("type")
            kind = _TYPES.get(number, "text") if isinstance(number, int) else "text"
            if kind == "checkbox":
                self.ticked.add(aid)
            default = attribute.get("default_option_id")
            group = "region" if str(attribute.get("anchor_id", "XY1")).endswith("XY1") else "file"
            layout[group][name] = {
                "type": kind,
                "description": attribute.get("desc"),
                "options": attribute.get("options"),
                "default_options": {str(default): True} if default not in (None, "") else {},
            }
        for group, of_group in self.attributes.items():
            of_group.update(read_attributes(self.file, layout, group, self.problems))

    def add_view(
        self,
        vid: str,
        files: Sequence[Mapping[str, object]],
        prefixes: Mapping[str, object],
        unknown: Sequence[str] = (),
    ) -> None:
        """Make an entry of a view, if it shows one image.

        Args:
            unknown: ids among those of the view's files that the project does not have.
        """
        named = [_filename(file, prefixes) for file in files]
        kind = files[0].get("type") if files else None
        if unknown:
            why = f"view {vid} shows file {', '.join(unknown)}, which the project does not have"
            self._leave_out(vid, why, [name for name in named if name], "add the file in VIA 3")
        elif len(files) != 1:
            self._leave_out(vid, f"the view shows {len(files)} files", named)
        elif str(kind) in _NO_IMAGES:
            self._leave_out(vid, f"the view shows no image but {_NO_IMAGES[str(kind)]}", named)
        elif kind not in (_IMAGE, str(_IMAGE)):
            self._leave_out(vid, f"the view shows a file of unknown type {kind!r:.40}", named)
        else:
            self.images[vid] = {"filename": named[0], "regions": [], "file_attributes": {}}

    def _leave_out(
        self,
        vid: str,
        why: str,
        names: Sequence[str],
        remedy: str = "make a view of each image in VIA 3",
    ) -> None:
        image = ", ".join(names) or f"view {vid}"
        self.left_out[vid] = image
        self.problem("error", why, remedy, image)

    def values_of(self, cell: str, mid: str, names: Sequence[str]) -> object:
        """The values in a cell of a CSV; a key that it repeats is reported."""
        try:
            values, repeated = load_json(cell)
        except (ValueError, RecursionError):
            return cell
        for each in repeated:
            message = f"annotation '{mid}': {each}; only the last is read"
            self.problem("error", message, REMEDY_OF_REPEATED, ", ".join(names))
        return values

    def add_metadata(self, mid: str, data: Mapping[str, object]) -> None:
        """Make a region or the attributes of an image, or count what is neither."""
        vid = str(data.get("vid"))
        image = self.images.get(vid)
        if image is None:
            where = self.left_out.get(vid)
            self._count(where or "", "of what is left out" if where else "without a view")
            return
        times = data.get("z")
        if not isinstance(times, list) or not all(type(each) in (int, float) for each in times):
            if times is not None:
                message = f"the times of annotation '{mid}' are no list of numbers: {times!r:.60}"
                self.problem("error", message, "annotate it again in VIA", str(image["filename"]))
                return
        elif times:
            self._count(str(image["filename"]), "of a time, not of an image")
            return
        held = data.get("av", {})
        if not isinstance(held, Mapping):
            message = f"the values of annotation '{mid}' are no object: {held!r:.60}"
            self.problem("error", message, "annotate it again in VIA", str(image["filename"]))
            return
        values = {self.names.get(aid, aid): self._value(aid, value) for aid, value in held.items()}
        shape = data.get("xy")
        regions = image["regions"]
        if shape == [] or shape is None:
            image["file_attributes"] = dict(_mapping(image["file_attributes"])) | values
        elif isinstance(regions, list):
            regions.append(
                {
                    "shape_attributes": _shape(shape),
                    "region_attributes": values,
                    KNOWN_AS: f"metadata '{mid}'",
                }
            )

    def _value(self, aid: str, value: object) -> object:
        if aid in self.ticked and isinstance(value, str):
            return {option.strip(): True for option in value.split(",") if option.strip()}
        return value

    def _count(self, image: str, why: str) -> None:
        self.dropped[f"{image}\n{why}"] = self.dropped.get(f"{image}\n{why}", 0) + 1

    def annotations(self, container: Container, default_path: str) -> Annotations:
        """The entries read, with every problem."""
        for place, count in self.dropped.items():
            image, _, why = place.rpartition("\n")
            message = f"{counted(count, 'annotation')} {why}"
            self.problem("error", message, "annotate them as regions of images", image or None)
        images = read_images(self.file, self.images, self.problems)
        return Annotations(
            self.file,
            container,
            images,
            self.attributes["region"],
            self.attributes["file"],
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


def _shape(data: object) -> dict[str, object] | InvalidShape:
    """VIA 3's list [number, coordinate, ...] as VIA 2's `shape_attributes`.

    What cannot be one is handed on as it is, or as the reason: the reader of shapes refuses it with
    its place.
    """
    if not isinstance(data, list) or not data:
        return {"name": f"{data!r:.40}"}
    number, coordinates = data[0], data[1:]
    if not isinstance(number, int):
        return {"name": f"{number!r:.40}"}
    if number in _SHAPES:
        name, keys = _SHAPES[number]
        if len(coordinates) > len(keys):
            return InvalidShape(f"a {name} of {len(coordinates)} coordinates, expected {len(keys)}")
        return {"name": name, **dict(zip(keys, coordinates, strict=False))}
    xs, ys = coordinates[0::2], coordinates[1::2]
    if number in (_LINE, _POLYLINE, _POLYGON):
        name = "polygon" if number == _POLYGON else "polyline"
        return {"name": name, "all_points_x": xs, "all_points_y": ys}
    # Neither text nor NaN, and small enough to calculate with.
    sound = len(xs) == len(ys) and all(
        type(each) in (int, float) and abs(each) < _LIMIT for each in coordinates
    )
    if number == _EXTREME_RECTANGLE:
        if not sound or not 2 <= len(xs) <= 4:
            return InvalidShape(
                f"a rect of {len(coordinates)} extreme coordinates, expected 4 points"
            )
        x, y = min(xs), min(ys)
        return {"name": "rect", "x": x, "y": y, "width": max(xs) - x, "height": max(ys) - y}
    if number == _EXTREME_CIRCLE:
        if not sound or len(xs) != 3:
            return InvalidShape(
                f"a circle of {len(coordinates)} extreme coordinates, expected 3 points"
            )
        return {"name": "circle", **_circle(xs, ys)}
    return {"name": f"shape {number}"}


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


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _json(cell: str) -> object:
    """The JSON value of a cell; the cell itself where it is none, for the readers to refuse."""
    try:
        return load_json(cell)[0]
    except (ValueError, RecursionError):
        return cell
