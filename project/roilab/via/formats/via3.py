"""The projects and CSV files of VIA 3.

Both hold views, attributes by number, and metadata: shapes and values of a view. What belongs to
time (video frames, temporal segments) has no place in records and is counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from roilab.errors import UserError
from roilab.text import counted
from roilab.via import records
from roilab.via.formats import via2_csv, via2_json
from roilab.via.formats.source import (
    REMEDY_OF_REPEATED,
    RepeatedKey,
    SourceFile,
    load_json,
    mapping,
)
from roilab.via.geometry import InvalidShape, checked_shape

_TITLE = "# Exported using VGG Image Annotator"
_CSV_HEADER = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
# VIA 3 numbers the types of files, attributes and shapes (src/js of VIA 3.0.10).
_IMAGE, _INLINE = 2, 4
_NO_IMAGES = {"4": "a video", "8": "a sound"}
_TYPES = {1: "text", 2: "checkbox", 3: "radio", 4: "dropdown", 5: "image"}
_SHAPES = (
    *("point", "rect", "circle", "ellipse", "polyline", "polyline", "polygon"),
    *("rect", "circle"),  # drawn through points on their border
)
_EXTREME_RECTANGLE, _EXTREME_CIRCLE = 8, 9
_LIMIT = 1e9  # of coordinates that are calculated with

# Attribute id or name -> value, as JSON holds it.
_Values = dict[str, object]


def detect(source: SourceFile) -> records.Container | None:
    """The kind of a project or CSV of VIA 3."""
    keys = ("project", "metadata", "view")
    if all(isinstance(source.top.get(key), dict) for key in keys):
        return records.Container.VIA3_PROJECT
    return records.Container.VIA3_CSV if source.text.lstrip().startswith(_TITLE) else None


def parse(source: SourceFile, container: records.Container) -> records.Annotations:
    """Read the images of a project or CSV of VIA 3."""
    is_project = container is records.Container.VIA3_PROJECT
    return _parse_project(source) if is_project else _parse_csv(source)


def _parse_project(source: SourceFile) -> records.Annotations:
    top = source.top
    config = mapping(mapping(top.get("config")).get("file"))
    prefixes = mapping(config.get("loc_prefix"))
    files, views = mapping(top.get("file")), mapping(top.get("view"))
    project = _Project(source.file)
    project.declare(mapping(top.get("attribute")))
    order = mapping(top["project"]).get("vid_list", top.get("vid_list"))
    vids = list(map(str, order)) if isinstance(order, list) else []
    for vid in dict.fromkeys([*vids, *views]):
        fids = mapping(views.get(vid)).get("fid_list")
        fids = list(map(str, fids)) if isinstance(fids, list) else []
        unknown = [fid for fid in fids if fid not in files]
        project.add_view(vid, [mapping(files.get(fid)) for fid in fids], prefixes, unknown)
    for mid, data in mapping(top["metadata"]).items():
        data = mapping(data)
        values = data.get("av", {})
        project.add_metadata(mid, str(data.get("vid")), data.get("z"), data.get("xy"), values)
    # Old projects have one path for all local files.
    path = prefixes.get("1", config.get("path"))
    return project.annotations(records.Container.VIA3_PROJECT, path)


def _parse_csv(source: SourceFile) -> records.Annotations:
    project = _Project(source.file)
    lines = via2_csv.lines_of(source.text)
    comments = [line.lstrip("# ").partition("=") for line in lines if line.startswith("#")]
    stated = [(name.strip(), value.strip()) for name, _, value in comments]
    header = next((value for name, value in stated if name == "CSV_HEADER"), None)
    if header is not None and header != _CSV_HEADER:
        raise _other_columns(source.file, header)
    for name, value in stated:
        if name in ("ATTRIBUTE", "ATTRIBUTES"):
            declared, _ = _json(value)
            project.declare(
                {
                    aid: {"aname": data} if isinstance(data, str) else data  # in older files
                    for aid, data in mapping(declared).items()
                }
            )

    # A comment is kept as an empty line, so that the numbers of the lines stay right.
    rows = ["" if line.startswith("#") else line for line in lines]
    columns = len(_CSV_HEADER.split(","))
    with via2_csv.long_cells():
        for number, cells in via2_csv.nonempty_rows(rows, ",", columns):
            if len(cells) != columns:
                message = f"line {number} has {len(cells)} cells, expected {columns}"
                project.error(message, "correct the line, or export it again from VIA")
                continue
            mid, files, _, times, shape, values = cells
            names, _ = _json(files)
            names = [str(name) for name in names] if isinstance(names, list) else [files]
            vid = "\n".join(names)
            if vid not in project.images and vid not in project.left_out:
                project.add_view(vid, [{"fname": name, "type": _IMAGE} for name in names], {})
            held, repeated = _json(values)
            for repeated_key in repeated:
                message = f"annotation '{mid}': {repeated_key}"
                project.error(message, REMEDY_OF_REPEATED, ", ".join(names))
            time_data, _ = _json(times)
            shape_data, _ = _json(shape)
            project.add_metadata(mid, vid, time_data, shape_data, held)
    return project.annotations(records.Container.VIA3_CSV, "")


def _other_columns(file: str, header: str) -> UserError:
    """The error about a CSV with other columns than those of regions."""
    message = "the columns of the CSV are not those of VIA 3"
    remedy = "export the file again from VIA, or give VIA's project"
    if "temporal_segment_start" in header:
        message = (
            "VIA 3's CSV of temporal segments: times in a video or sound, and no regions of images"
        )
        remedy = (
            "there is nothing in it to train on: save frames of the video as images, and "
            "annotate regions of these in VIA"
        )
    return UserError(
        message, file=file, key="CSV_HEADER", found=header, expected=_CSV_HEADER, remedy=remedy
    )


@dataclass(slots=True)
class _Project:
    """Collects images with their regions, and what cannot be one.

    Attributes:
        images, left_out: view id -> the name of its image, and of what is shown instead of one.
        regions: view id -> id, shape and values of the metadata that are regions of its image.
        attributes: view id -> the values of each of the metadata that its image has.
        names: attribute id -> name.
        dropped: image and reason -> how many metadata are left out.
    """

    file: str
    images: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    regions: dict[str, list[tuple[str, object, _Values]]] = field(default_factory=dict)
    attributes: dict[str, list[_Values]] = field(default_factory=dict)
    region_attributes: dict[str, records.Attribute] = field(default_factory=dict)
    file_attributes: dict[str, records.Attribute] = field(default_factory=dict)
    problems: list[records.Problem] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)

    def error(self, message: str, remedy: str, image: str | None = None) -> None:
        """Report what the file, or an image of it, loses."""
        records.Reporter(self.problems, self.file, image).error(message, remedy)

    def declare(self, declared: Mapping[str, object]) -> None:
        """Add the declarations of attributes, which VIA 3 refers to by number."""
        for aid, declaration in declared.items():
            data = mapping(declaration)
            name = str(data.get("aname", "")).strip() or aid
            if name in self.names.values():
                message = f"two attributes are called '{name}', one is read as '{name} ({aid})'"
                name = f"{name} ({aid})"
                reporter = records.Reporter(self.problems, self.file)
                reporter.report("warning", message, "rename it in VIA")
            self.names[aid] = name
            number = data.get("type")
            default = data.get("default_option_id")
            kind = _TYPES.get(number, "text") if isinstance(number, int) else "text"
            is_of_regions = str(data.get("anchor_id", "XY1")).endswith("XY1")
            if name:
                group = self.region_attributes if is_of_regions else self.file_attributes
                group[name] = records.Attribute(
                    name,
                    kind,
                    via2_json.value_text(data.get("desc")),
                    via2_json.read_options(data.get("options")),
                    default_options=() if default in (None, "") else (str(default).strip(),),
                )

    def add_view(
        self,
        vid: str,
        files: Sequence[Mapping[str, object]],
        prefixes: Mapping[str, object],
        unknown: Sequence[str] = (),
    ) -> None:
        """Add the image of a view, if it shows one; `unknown` are ids of files that are missing."""
        named = [_filename(file, prefixes) for file in files]
        kind = files[0].get("type") if files else None
        remedy = "make a view of each image in VIA 3"
        if unknown:
            reason = f"view {vid} shows file {', '.join(unknown)}, which the project does not have"
            remedy = "add the file in VIA 3"
            named = [name for name in named if name]
        elif len(files) != 1:
            reason = f"the view shows {len(files)} files"
        elif str(kind) in _NO_IMAGES:
            reason = f"the view shows no image but {_NO_IMAGES[str(kind)]}"
        elif kind not in (_IMAGE, str(_IMAGE)):
            reason = f"the view shows a file of unknown type {kind!r:.40}"
        else:
            self.images[vid] = named[0].strip()
            return
        self.left_out[vid] = ", ".join(named) or f"view {vid}"
        self.error(reason, remedy, self.left_out[vid])

    def add_metadata(self, mid: str, vid: str, times: object, shape: object, held: object) -> None:
        """Add the metadata `mid` of the view `vid`: a region, or attributes of the image.

        `times` are those of a region in a video, `shape` is what `_shape` takes, each empty or None
        where there is none; `held` is attribute id -> value.
        """
        image = self.images.get(vid)
        are_numbers = isinstance(times, list) and all(type(time) in (int, float) for time in times)
        if image is None and vid in self.left_out:
            self.dropped[self.left_out[vid], "of what is left out"] += 1
        elif image is None:
            self.dropped["", "without a view"] += 1
        elif times is not None and not are_numbers:
            message = f"the times of annotation '{mid}' are no list of numbers: {times!r:.60}"
            self.error(message, "annotate it again in VIA", image)
        elif times:
            self.dropped[image, "of a time, not of an image"] += 1
        elif not isinstance(held, dict):
            message = f"the values of annotation '{mid}' are no object: {held!r:.60}"
            self.error(message, "annotate it again in VIA", image)
        elif shape == [] or shape is None:
            self.attributes.setdefault(vid, []).append(held)
        else:
            self.regions.setdefault(vid, []).append((mid, shape, held))

    def _named(self, held: _Values) -> _Values:
        """The values under the names of the attributes; of a checkbox, option -> True if ticked."""
        declared = self.region_attributes | self.file_attributes
        values = {self.names.get(aid, aid): value for aid, value in held.items()}
        for name, value in values.items():
            is_checkbox = name in declared and declared[name].type == "checkbox"
            if is_checkbox and isinstance(value, str):
                options = (option.strip() for option in value.split(","))
                values[name] = dict.fromkeys(filter(None, options), True)
        return values

    def _read_regions(self, vid: str, reporter: records.Reporter) -> Iterator[records.Region]:
        for index, (mid, shape, held) in enumerate(self.regions.get(vid, ())):
            of_region = replace(reporter, suffix=f" (metadata '{mid}')")
            try:
                checked = _shape(shape)
            except InvalidShape as reason:
                of_region.error(str(reason), "draw the region again in VIA, or delete it", index)
                continue
            values = via2_json.read_values(self._named(held), "region_attributes", of_region, index)
            yield records.Region(index, checked, values)

    def annotations(self, container: records.Container, path: object) -> records.Annotations:
        """The images read, with every problem."""
        for (where, reason), count in self.dropped.items():
            message = f"{counted(count, 'annotation')} {reason}"
            self.error(message, "annotate them as regions of images", where or None)
        images = []
        for vid, filename in self.images.items():
            reporter = records.Reporter(self.problems, self.file, filename)
            regions = self._read_regions(vid, reporter)
            attributes = map(self._named, self.attributes.get(vid, ()))
            images.append(via2_json.build_image(vid, None, regions, attributes, reporter))
        return records.Annotations(
            self.file,
            container,
            tuple(filter(None, images)),
            self.region_attributes,
            self.file_attributes,
            path if isinstance(path, str) else "",
            tuple(self.problems),
        )


def _filename(file: Mapping[str, object], prefixes: Mapping[str, object]) -> str:
    """The name, path or URL of a file. A local one has its folder in the prefix, or nowhere."""
    source = file.get("src")
    location = str(file.get("loc"))
    if isinstance(source, str) and source.strip() and location != str(_INLINE):
        prefix = prefixes.get(location) if location != "1" else ""
        return (prefix if isinstance(prefix, str) else "") + source
    return str(file.get("fname") or "")


def _shape(data: object) -> records.Shape:
    """The shape of VIA 3's list [number, coordinate, ...].

    Raises:
        InvalidShape: no known shape, or numbers that do not make one.
    """
    number = data[0] if isinstance(data, list) and data else data
    if not isinstance(data, list) or not isinstance(number, int):
        raise via2_json.unknown_shape(f"{number!r:.40}")
    if not 0 < number <= len(_SHAPES):
        raise via2_json.unknown_shape(f"shape {number}")
    name = _SHAPES[number - 1]
    kind = via2_json.KINDS[name]
    coordinates = data[1:]
    values: dict[str, object] = {
        "all_points_x": coordinates[::2],
        "all_points_y": coordinates[1::2],
    }
    if number in (_EXTREME_RECTANGLE, _EXTREME_CIRCLE):
        values = _from_extremes(name, coordinates)
    elif not issubclass(kind, records.Polygon | records.Polyline):
        # An ellipse of VIA 3 has no angle.
        fields = [key for key in kind.__slots__ if key != "theta"]
        if len(coordinates) > len(fields):
            message = f"a {name} of {len(coordinates)} coordinates, expected {len(fields)}"
            raise InvalidShape(message)
        values = dict(zip(fields, coordinates, strict=False))
    return checked_shape(kind, values)


def _from_extremes(name: str, coordinates: Sequence[float]) -> dict[str, object]:
    """The fields of a rectangle or a circle that is drawn through points on its border.

    Raises:
        InvalidShape: the coordinates are no numbers, or of more or fewer points than are drawn.
    """
    xs = coordinates[::2]
    ys = coordinates[1::2]
    least, most = (2, 4) if name == "rect" else (3, 3)
    # Neither text nor NaN, and small enough to calculate with.
    are_numbers = all(type(value) in (int, float) and abs(value) < _LIMIT for value in coordinates)
    if not are_numbers or len(xs) != len(ys) or not least <= len(xs) <= most:
        message = f"a {name} of {len(coordinates)} extreme coordinates, expected {most} points"
        raise InvalidShape(message)
    if name == "circle":
        return _circle(xs, ys)
    x, y = min(xs), min(ys)
    return {"x": x, "y": y, "width": max(xs) - x, "height": max(ys) - y}


def _circle(xs: Sequence[float], ys: Sequence[float]) -> dict[str, object]:
    """The circle through three points; one without extent where they lie on one line."""
    # From the first point, the centre is as far as from b and from c: two linear equations.
    bx, by = xs[1] - xs[0], ys[1] - ys[0]
    cx, cy = xs[2] - xs[0], ys[2] - ys[0]
    cross = 2 * (bx * cy - by * cx)
    if not cross:
        return {"cx": xs[0], "cy": ys[0], "r": 0}
    b, c = bx * bx + by * by, cx * cx + cy * cy
    ux, uy = (cy * b - by * c) / cross, (bx * c - cx * b) / cross
    return {"cx": xs[0] + ux, "cy": ys[0] + uy, "r": (ux * ux + uy * uy) ** 0.5}


def _json(cell: str) -> tuple[object, Sequence[RepeatedKey]]:
    """The JSON value of a cell and its repeated keys; for other text the cell, which is refused."""
    try:
        return load_json(cell)
    except (ValueError, RecursionError):
        return cell, ()
