"""Remedies of reading and writing VIA files."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from roilab import via

from .cases import Attempts, Wrong, add_cases, attempt, case, wrong
from .files import FAR, choice, coco, entry, polygon, via_json, via_project, write
from .reading import read


@attempt
def regions(folder: Path, *regions: Any) -> Wrong:
    """A VIA 2 JSON of an image with these regions is read."""
    return read(via_json(folder, list(regions)))


@attempt
def project(folder: Path, *regions: Any, attributes: Any = (), **more: Any) -> Wrong:
    """A VIA 2 project of such an image, which declares these attributes."""
    return read(via_project(folder, list(regions), attributes=dict(attributes), **more))


@attempt
def content(folder: Path, data: Any, encoding: str = "utf-8") -> Wrong:
    """A file of this text or JSON."""
    file = write(folder / "file", data)
    file.write_bytes(file.read_text(encoding="utf-8").encode(encoding))
    return read(file)


# VIA's JSON.

DOG, OTHER = polygon(kind="dog"), polygon(*FAR, kind="dog")
KIND = {"kind": choice(dog="dog")}
ENTRY = {"0.png-1": entry("0.png", [])}
RECT = {"name": "rect", "x": 5, "y": 5, "width": 0, "height": 9}
TEXT = json.dumps({"0.png-1": entry("0.png", [DOG])})
DOG_TEXT = '"kind": "dog"'
JSON = {
    "draw it again in VIA": [regions("polygon"), regions(DOG)],
    "draw the region again in VIA, or delete it": [
        regions({"shape_attributes": RECT, "region_attributes": {}}),
        regions(polygon()),
        regions(),
    ],
    "write [] where nothing is annotated": [
        content({"0.png-1": entry("0.png", value)}) for value in (None, [])
    ],
    "give it a filename, or remove the entry": [
        content({**ENTRY, "1": entry("", [])}),
        content({**ENTRY, "1": entry("1.png", [])}),
        content(ENTRY),
    ],
    "make them one: what only one of them holds is background in the others": [
        content({"a": entry("0.png", [DOG]), "b": entry("0.png", [OTHER])}),
        content({"a": entry("0.png", [DOG, OTHER])}),
    ],
    "delete one of the two in VIA: both are taken for objects": [regions(DOG, DOG), regions(DOG)],
    "declare the attribute again in VIA": [
        project(DOG, attributes={"kind": declared}) for declared in ("text", choice(dog="dog"))
    ],
    "set the attributes again in VIA": [
        regions({**DOG, "region_attributes": values}) for values in ("dog", {"kind": "dog"})
    ],
    "give one value, or use a checkbox": [
        regions(polygon(kind=value))
        for value in (["dog", "cat"], "dog", {"dog": True, "cat": True})
    ],
    "tick it again in VIA, or write true or false": [
        regions(polygon(kind={"dog": state})) for state in ("perhaps", True, False)
    ],
    "remove it from the list: VIA cannot open the project as it is": [
        project(polygon(), _via_image_id_list=ids) for ids in (["0.png-1", "gone"], ["0.png-1"])
    ],
    "save it as UTF-8 where another program wrote it": [
        content(TEXT.replace("dog", "café"), encoding) for encoding in ("latin-1", "utf-8")
    ],
    "save it again from VIA": [content("[" * 100_000), regions(DOG)],
    "save it again from VIA, or correct the line by hand": [
        content(TEXT[:-1] + ",}"),
        content(TEXT),
    ],
    "in VIA, save the project, which holds both, or export the annotations": [
        content({"region": KIND, "file": {}}),
        project(DOG, attributes=KIND),
        regions(DOG),
    ],
    "rename all but one of them in the file, or remove what is double": [
        content(TEXT.replace(DOG_TEXT, f'{DOG_TEXT}, "kind": "cat"')),
        content(TEXT.replace(DOG_TEXT, f'{DOG_TEXT}, "colour": "cat"')),
        content(TEXT),
    ],
}


@case("see that the path is right, and that it is a file that you may read")
def a_file_that_cannot_be_read(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [DOG])
    yield read(tmp_path / "vja.json")
    yield read(file)


@case("give the COCO file that they belong to, with them as its 'annotations'")
def coco_results_alone(tmp_path: Path) -> Attempts:
    results = [{"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "score": 0.5}]
    yield read(write(tmp_path / "results.json", results))
    file = coco(tmp_path)
    yield read(write(file, json.loads(file.read_text()) | {"annotations": results}))


@case("correct them, or read without strict: the sound part then loads", leads_on=True)
def errors_read_strictly(tmp_path: Path) -> Attempts:
    broken = via_json(tmp_path, [DOG, "none"], name="broken.json")
    yield wrong(via.read, broken, strict=True)
    yield wrong(via.read, broken)
    yield wrong(via.read, via_json(tmp_path, [DOG]), strict=True)


# CSV.

COLUMNS = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
COLUMNS += "region_attributes"


def row(name: str, number: int | str = 0, count: int = 1, **more: Any) -> str:
    """A row of VIA's CSV with a polygon."""
    region = polygon((5 + 9 * int(number or 0), 5), (25, 5), (25, 25))
    shape = more.get("shape", json.dumps(region["shape_attributes"]))
    attributes = json.dumps(more.get("attributes", {}))
    out = io.StringIO()
    csv.writer(out).writerow([name, 9, attributes, count, number, shape, '{"kind": "dog"}'])
    return out.getvalue().strip()


def table(*rows: str, columns: str = COLUMNS) -> Any:
    """A CSV of VIA 2."""
    return content("\n".join([columns, *rows]) + "\n")


SHAPE = polygon()["shape_attributes"]
TABLES = {
    "in VIA, save the project, or export the annotations as JSON or CSV": [
        content({"what": "else"}),
        project(polygon()),
        regions(polygon()),
        table(row("0.png")),
    ],
    "export the file again from VIA": [
        table(row("0.png"), columns="#" + columns)
        for columns in (COLUMNS.replace("region_id", "id"), COLUMNS)
    ],
    "correct the line, or export the file again from VIA": [
        table(row("0.png"), second) for second in ("1.png,9,{}", row("1.png"))
    ],
    "see that no row was lost, export the file again from VIA": [
        table(*(row("0.png", number, count=2) for number in range(count))) for count in (1, 2)
    ],
    "number the regions of an image from 0": [
        table(row("0.png", 0, count=2), row("0.png", number, count=2)) for number in ("", 1)
    ],
    "give all rows of an image the same file_attributes": [
        table(
            row("0.png", 0, count=2, attributes={"at": "0"}),
            row("0.png", 1, count=2, attributes={"at": value}),
        )
        for value in "10"
    ],
    "correct the cell, or read VIA's JSON of the same set": [
        table(row("0.png", shape='{"name": "rect"')),
        table(row("0.png")),
        regions(DOG),
    ],
    "it is Python's notation: write the cell with json.dumps, not with str": [
        table(row("0.png", shape=written(SHAPE))) for written in (str, json.dumps)
    ],
}

# VIA 3.


def via3(metadata: Any = None, **more: Any) -> Any:
    """A VIA 3 project of one image, with an annotation that has these values."""
    annotation = {"vid": "1", "z": [], "xy": [2, 5, 5, 9, 9], "av": {"1": "dog"}}
    project = {
        "project": {"vid_list": ["1"]},
        "config": {},
        "attribute": {"1": ATTRIBUTE},
        "file": {"1": FILE},
        "view": {"1": {"fid_list": ["1"]}},
        "metadata": {} if metadata is None else {"1_0": {**annotation, **metadata}},
    }
    return content({**project, **more})


def via3_table(*lines: str) -> Any:
    """A CSV of VIA 3."""
    head = "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)"
    return content("\n".join([head, *lines]) + "\n")


ATTRIBUTE = {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 1}
FILE = {"fid": "1", "fname": "0.png", "type": 2, "loc": 1, "src": "0.png"}
FILES = {"1": FILE, "2": {**FILE, "fid": "2", "fname": "1.png", "src": "1.png"}}
LINE = '"1_a","[""0.png""]",0,"[]","[2,5,5,9,9]","{""1"":""dog""}"'
TEMPORAL = "# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end"
VIA3 = {
    "add the file in VIA 3": [via3(file={}), via3()],
    "make a view of each image in VIA 3": [
        via3(file=FILES, view={"1": {"fid_list": ["1", "2"]}}),
        via3(
            file=FILES,
            view={name: {"fid_list": [name]} for name in "12"},
            project={"vid_list": ["1", "2"]},
        ),
    ],
    "rename it in VIA": [
        via3(attribute={"1": ATTRIBUTE, "2": {**ATTRIBUTE, "aname": name}})
        for name in ("kind", "colour")
    ],
    "annotate them as regions of images": [via3({"z": [1.5]}), via3({})],
    "correct the line, or export it again from VIA": [
        via3_table(LINE, '"1_b","[""0.png""]",0'),
        via3_table(LINE, LINE.replace("1_a", "1_b").replace("5,5", "6,6")),
    ],
    "there is nothing in it to train on: save frames of the video as images, and annotate "
    "regions of these in VIA": [via3_table(TEMPORAL, '"1_a","[""0.mp4""]",0.5,1.5'), via3({})],
    "export the file again from VIA, or give VIA's project": [
        via3_table("# CSV_HEADER = metadata_id,regions", '"1_a","[]"'),
        via3_table(LINE),
        via3({}),
    ],
}
for _key, _values in {"z": ("now", []), "av": ("dog", {"1": "dog"})}.items():
    add_cases(__name__, {"annotate it again in VIA": [via3({_key: value}) for value in _values]})


# Writing VIA files.


def annotations(regions: tuple[via.Region, ...] = (), name: str = "0.png", **more: Any) -> Any:
    """One image."""
    images = (via.ImageRecord("0", name, None, regions),)
    return via.Annotations("", via.Container.VIA2_JSON, images, more.pop("region", {}), {}, **more)


@attempt
def written(folder: Path, annotations: Any, write: Any = via.write_project) -> Wrong:
    """Annotations are written."""
    return wrong(write, folder / "out", annotations)


def of_shape(shape: Any) -> Any:
    """Annotations of a region are written as a project."""
    return written(annotations((via.Region(0, shape, {}),)))


ONE, RENAMED = annotations(), annotations(name="1.png")
FULL = annotations(region={"kind": via.Attribute("kind")}, default_path="images/")
COMMA = annotations(name="a,b.png")
BESIDE = "write a project, which holds "
WRITTEN = {
    "leave it out, or correct it": [
        of_shape(via.Polygon((5.0,), (5.0,))),
        of_shape(via.Polygon((5, 25, 25), (5, 5, 25))),
        written(ONE),
    ],
    "leave the region out": [of_shape(via.Point(float("nan"), 5)), written(ONE)],
    "remove one of the two entries, or rename one of the files": [
        written(replace(ONE, images=images))
        for images in (ONE.images * 2, ONE.images + RENAMED.images, ONE.images)
    ],
    "rename the image": [
        written(annotations(name=name), via.write_csv) for name in ("a\nb.png", "a b.png")
    ],
    "rename the image, or write a project": [
        written(COMMA, via.write_csv),
        written(annotations(name="a b.png"), via.write_csv),
        written(COMMA),
    ],
    **{BESIDE + what: [written(FULL, via.write_csv), written(FULL)] for what in ("them", "it")},
}
add_cases(__name__, JSON, TABLES, VIA3, WRITTEN)
