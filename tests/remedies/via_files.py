"""Remedies of reading and writing VIA files."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from roilab import via

from .cases import Attempts, case, wrong
from .files import FAR, choice, coco, entry, polygon, via_json, via_project, write
from .reading import read

# Entries of VIA's JSON.


@case("draw it again in VIA")
def a_region_that_is_no_object(tmp_path: Path) -> Attempts:
    for regions in (["polygon"], [polygon(kind="dog")]):
        yield read(via_json(tmp_path, regions))


@case("draw the region again in VIA, or delete it")
def a_rect_without_extent(tmp_path: Path) -> Attempts:
    rect = {"name": "rect", "x": 5, "y": 5, "width": 0, "height": 9}
    yield read(via_json(tmp_path, [{"shape_attributes": rect, "region_attributes": {}}]))
    yield read(via_json(tmp_path, [polygon()]))
    yield read(via_json(tmp_path, []))


@case("write [] where nothing is annotated")
def an_entry_without_regions(tmp_path: Path) -> Attempts:
    for regions in (None, []):
        yield read(write(tmp_path / "via.json", {"0.png-1": entry("0.png", regions)}))


@case("give it a filename, or remove the entry")
def an_entry_without_a_name(tmp_path: Path) -> Attempts:
    sound = {"0.png-1": entry("0.png", [])}
    yield read(write(tmp_path / "via.json", {**sound, "1": entry("", [])}))
    yield read(write(tmp_path / "via.json", {**sound, "1": entry("1.png", [])}))
    yield read(write(tmp_path / "via.json", sound))


@case("make them one: what only one of them holds is background in the others")
def two_entries_of_one_image(tmp_path: Path) -> Attempts:
    one, two = [polygon(kind="dog")], [polygon(*FAR, kind="dog")]
    entries = {"a": entry("0.png", one), "b": entry("0.png", two)}
    yield read(write(tmp_path / "via.json", entries))
    yield read(write(tmp_path / "via.json", {"a": entry("0.png", one + two)}))


@case("delete one of the two in VIA: both are taken for objects")
def a_region_twice(tmp_path: Path) -> Attempts:
    yield read(via_json(tmp_path, [polygon(kind="dog"), polygon(kind="dog")]))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


@case("declare the attribute again in VIA")
def a_declaration_that_is_no_object(tmp_path: Path) -> Attempts:
    for declared in ("text", choice(dog="dog")):
        attributes = {"kind": declared}
        yield read(via_project(tmp_path, [polygon(kind="dog")], attributes=attributes))


@case("set the attributes again in VIA")
def attributes_that_are_no_object(tmp_path: Path) -> Attempts:
    for values in ("dog", {"kind": "dog"}):
        yield read(via_json(tmp_path, [polygon() | {"region_attributes": values}]))


@case("give one value, or use a checkbox")
def a_list_for_a_value(tmp_path: Path) -> Attempts:
    for value in (["dog", "cat"], "dog", {"dog": True, "cat": True}):
        yield read(via_json(tmp_path, [polygon(kind=value)]))


@case("tick it again in VIA, or write true or false")
def a_tick_that_is_none(tmp_path: Path) -> Attempts:
    for state in ("perhaps", True, False):
        yield read(via_json(tmp_path, [polygon(kind={"dog": state})]))


@case("remove it from the list: VIA cannot open the project as it is")
def an_id_without_an_entry(tmp_path: Path) -> Attempts:
    for ids in (["0.png-1", "gone"], ["0.png-1"]):
        yield read(via_project(tmp_path, [polygon()], attributes={}, _via_image_id_list=ids))


# Files as a whole.


@case("save it as UTF-8 where another program wrote it")
def a_file_in_latin_1(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    text = file.read_text().replace("dog", "café")
    for encoding in ("latin-1", "utf-8"):
        file.write_bytes(text.encode(encoding))
        yield read(file)


@case("see that the path is right, and that it is a file that you may read")
def a_file_that_cannot_be_read(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    yield read(tmp_path / "vja.json")
    yield read(file)


@case("save it again from VIA")
def json_that_is_too_deep(tmp_path: Path) -> Attempts:
    yield read(write(tmp_path / "via.json", "[" * 100_000))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


@case("give the COCO file that they belong to, with them as its 'annotations'")
def coco_results_alone(tmp_path: Path) -> Attempts:
    results = [{"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "score": 0.5}]
    yield read(write(tmp_path / "results.json", results))
    file = coco(tmp_path)
    yield read(write(file, json.loads(file.read_text()) | {"annotations": results}))


@case("save it again from VIA, or correct the line by hand")
def broken_json(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    text = file.read_text()
    yield read(write(file, text[:-1] + ",}"))
    yield read(write(file, text))


@case("in VIA, save the project, which holds both, or export the annotations")
def an_attributes_file(tmp_path: Path) -> Attempts:
    attributes = {"kind": choice(dog="dog")}
    yield read(write(tmp_path / "attributes.json", {"region": attributes, "file": {}}))
    yield read(via_project(tmp_path, [polygon(kind="dog")], attributes=attributes))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


@case("in VIA, save the project, or export the annotations as JSON or CSV")
def another_file(tmp_path: Path) -> Attempts:
    yield read(write(tmp_path / "other.json", {"what": "else"}))
    yield read(via_project(tmp_path, [polygon()], attributes={}))
    yield read(via_json(tmp_path, [polygon()]))
    yield read(via_csv(tmp_path, row("0.png")))


@case("rename all but one of them in the file, or remove what is double")
def a_repeated_key(tmp_path: Path) -> Attempts:
    file = via_json(tmp_path, [polygon(kind="dog")])
    text = file.read_text()
    yield read(write(file, text.replace('"kind": "dog"', '"kind": "dog", "kind": "cat"')))
    yield read(write(file, text.replace('"kind": "dog"', '"kind": "dog", "colour": "cat"')))
    yield read(write(file, text))


@case("correct them, or read without strict: the sound part then loads", leads_on=True)
def errors_read_strictly(tmp_path: Path) -> Attempts:
    broken = via_json(tmp_path, [polygon(kind="dog"), "none"], name="broken.json")
    yield wrong(via.read, broken, strict=True)
    yield wrong(via.read, broken)
    yield wrong(via.read, via_json(tmp_path, [polygon(kind="dog")]), strict=True)


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


def via_csv(folder: Path, *rows: str, columns: str = COLUMNS) -> Path:
    """A CSV of VIA 2."""
    return write(folder / "via.csv", "\n".join([columns, *rows]) + "\n")


@case("export the file again from VIA")
def other_columns(tmp_path: Path) -> Attempts:
    columns = COLUMNS.replace("region_id", "id")
    yield read(via_csv(tmp_path, row("0.png"), columns="#" + columns))
    yield read(via_csv(tmp_path, row("0.png"), columns="#" + COLUMNS))


@case("correct the line, or export the file again from VIA")
def a_line_cut_short(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png"), "1.png,9,{}"))
    yield read(via_csv(tmp_path, row("0.png"), row("1.png")))


@case("see that no row was lost, export the file again from VIA")
def a_lost_row(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png", 0, count=2)))
    yield read(via_csv(tmp_path, row("0.png", 0, count=2), row("0.png", 1, count=2)))


@case("number the regions of an image from 0")
def regions_without_numbers(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png", 0, count=2), row("0.png", "", count=2)))
    yield read(via_csv(tmp_path, row("0.png", 0, count=2), row("0.png", 1, count=2)))


@case("give all rows of an image the same file_attributes")
def rows_of_other_file_attributes(tmp_path: Path) -> Attempts:
    rows = [row("0.png", n, count=2, attributes={"at": f"{n}"}) for n in (0, 1)]
    yield read(via_csv(tmp_path, *rows))
    rows = [row("0.png", n, count=2, attributes={"at": "0"}) for n in (0, 1)]
    yield read(via_csv(tmp_path, *rows))


@case("correct the cell, or read VIA's JSON of the same set")
def a_cell_that_is_no_json(tmp_path: Path) -> Attempts:
    yield read(via_csv(tmp_path, row("0.png", shape='{"name": "rect"')))
    yield read(via_csv(tmp_path, row("0.png")))
    yield read(via_json(tmp_path, [polygon(kind="dog")]))


@case("it is Python's notation: write the cell with json.dumps, not with str")
def a_cell_of_python(tmp_path: Path) -> Attempts:
    shape = polygon()["shape_attributes"]
    yield read(via_csv(tmp_path, row("0.png", shape=str(shape))))
    yield read(via_csv(tmp_path, row("0.png", shape=json.dumps(shape))))


# VIA 3.


def via3(folder: Path, *metadata: Mapping[str, Any], **more: Any) -> Path:
    """A VIA 3 project of one image."""
    view = {"fid_list": ["1"]}
    project = {
        "project": {"vid_list": ["1"]},
        "config": {},
        "attribute": {"1": {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 1}},
        "file": {"1": {"fid": "1", "fname": "0.png", "type": 2, "loc": 1, "src": "0.png"}},
        "view": {"1": view},
        "metadata": {
            f"1_{n}": {"vid": "1", "z": [], "xy": [2, 5, 5, 9, 9], "av": {"1": "dog"}, **each}
            for n, each in enumerate(metadata)
        },
    }
    return write(folder / "via3.json", {**project, **more})


def via3_csv(folder: Path, *lines: str) -> Path:
    """A CSV of VIA 3."""
    head = "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)"
    return write(folder / "via3.csv", "\n".join([head, *lines]) + "\n")


@case("add the file in VIA 3")
def a_view_of_an_unknown_file(tmp_path: Path) -> Attempts:
    yield read(via3(tmp_path, file={}))
    yield read(via3(tmp_path))


@case("make a view of each image in VIA 3")
def a_view_of_two_files(tmp_path: Path) -> Attempts:
    one = {"fname": "0.png", "type": 2, "loc": 1, "src": "0.png"}
    files = {"1": one, "2": {**one, "fname": "1.png", "src": "1.png"}}
    yield read(via3(tmp_path, file=files, view={"1": {"fid_list": ["1", "2"]}}))
    views = {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}}
    yield read(via3(tmp_path, file=files, view=views, project={"vid_list": ["1", "2"]}))


@case("rename it in VIA")
def two_attributes_of_one_name(tmp_path: Path) -> Attempts:
    one = {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 1}
    for name in ("kind", "colour"):
        yield read(via3(tmp_path, attribute={"1": one, "2": {**one, "aname": name}}))


@case("annotate it again in VIA")
def times_that_are_no_list(tmp_path: Path) -> Attempts:
    for times in ("now", []):
        yield read(via3(tmp_path, {"z": times}))


@case("annotate it again in VIA")
def values_that_are_no_object(tmp_path: Path) -> Attempts:
    for values in ("dog", {"1": "dog"}):
        yield read(via3(tmp_path, {"av": values}))


@case("annotate them as regions of images")
def metadata_of_a_time(tmp_path: Path) -> Attempts:
    yield read(via3(tmp_path, {"z": [1.5]}))
    yield read(via3(tmp_path, {}))


@case("correct the line, or export it again from VIA")
def a_line_of_via3_cut_short(tmp_path: Path) -> Attempts:
    sound = '"1_a","[""0.png""]",0,"[]","[2,5,5,9,9]","{""1"":""dog""}"'
    yield read(via3_csv(tmp_path, sound, '"1_b","[""0.png""]",0'))
    yield read(via3_csv(tmp_path, sound, sound.replace("1_a", "1_b").replace("5,5", "6,6")))


TEMPORAL = "# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end"


@case(
    "there is nothing in it to train on: save frames of the video as images, and annotate regions "
    "of these in VIA"
)
def a_csv_of_temporal_segments(tmp_path: Path) -> Attempts:
    yield read(via3_csv(tmp_path, TEMPORAL, '"1_a","[""0.mp4""]",0.5,1.5'))
    yield read(via3(tmp_path, {}))


@case("export the file again from VIA, or give VIA's project")
def a_csv_of_via3_with_other_columns(tmp_path: Path) -> Attempts:
    yield read(via3_csv(tmp_path, "# CSV_HEADER = metadata_id,regions", '"1_a","[]"'))
    sound = '"1_a","[""0.png""]",0,"[]","[2,5,5,9,9]","{""1"":""dog""}"'
    yield read(via3_csv(tmp_path, sound))
    yield read(via3(tmp_path, {}))


# Writing VIA files.


@case("leave it out, or correct it")
def a_shape_that_cannot_be_read_again(tmp_path: Path) -> Attempts:
    for corners in (((5.0, 5.0),), ((5, 5), (25, 5), (25, 25))):
        shape = via.Polygon(*(tuple(each) for each in zip(*corners, strict=True)))
        regions = (via.Region(0, shape, {}),)
        yield wrong(via.write_project, tmp_path / "out.json", annotations(regions))
    yield wrong(via.write_project, tmp_path / "out.json", annotations(()))


def annotations(regions: tuple[via.Region, ...] = (), name: str = "0.png", **more: Any) -> Any:
    """One image."""
    images = (via.ImageRecord("0", name, None, regions),)
    return via.Annotations("", via.Container.VIA2_JSON, images, more.pop("region", {}), {}, **more)


@case("leave the region out")
def a_coordinate_that_is_not_finite(tmp_path: Path) -> Attempts:
    region = via.Region(0, via.Point(float("nan"), 5), {})
    yield wrong(via.write_project, tmp_path / "out.json", annotations((region,)))
    yield wrong(via.write_project, tmp_path / "out.json", annotations())


@case("remove one of the two entries, or rename one of the files")
def two_images_of_one_name_and_size(tmp_path: Path) -> Attempts:
    once = annotations()
    other = annotations(name="1.png")
    for images in (once.images * 2, once.images + other.images, once.images):
        yield wrong(via.write_project, tmp_path / "out.json", replace(once, images=images))


@case("rename the image")
def a_name_with_a_line_break(tmp_path: Path) -> Attempts:
    for name in ("a\nb.png", "a b.png"):
        yield wrong(via.write_csv, tmp_path / "out.csv", annotations(name=name))


@case("rename the image, or write a project")
def a_name_with_a_comma(tmp_path: Path) -> Attempts:
    yield wrong(via.write_csv, tmp_path / "out.csv", annotations(name="a,b.png"))
    yield wrong(via.write_csv, tmp_path / "out.csv", annotations(name="a b.png"))
    yield wrong(via.write_project, tmp_path / "out.json", annotations(name="a,b.png"))


@case("write a project, which holds them", "write a project, which holds it")
def what_a_csv_does_not_hold(tmp_path: Path) -> Attempts:
    full = annotations(region={"kind": via.Attribute("kind")}, default_path="images/")
    yield wrong(via.write_csv, tmp_path / "out.csv", full)
    yield wrong(via.write_project, tmp_path / "out.json", full)
