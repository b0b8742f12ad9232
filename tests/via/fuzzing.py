"""Spoilt annotation files: sound ones of every kind, changed at random."""

import copy
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from roilab.data.mask_to_polygons import read_annotations
from roilab.errors import UserError
from roilab.skeleton import Skeleton
from roilab.via import Annotations, LabelRules, bounds, build_instances, write_project

from .test_csv_files import COLUMNS

COLUMNS_OF_VIA_3 = "metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata"
SLOW = 5.0  # seconds: no input of a few kilobytes may take as long
BONES = Skeleton("bones", ("person",), ("head", "hand"), (), (("head", "hand"),), (0.1, 0.1))
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e308, -1e308, 10**400, float("nan"), float("inf"), "", " ", "x",
    "2", "\ud800", "\0", "a\nb", [], {}, [[]], [1, 2], {"a": 1}, [None], {"0": {"x": 1}}, "a" * 300,
)  # fmt: skip


SHAPES: tuple[dict[str, Any], ...] = (
    {"name": "rect", "x": 1, "y": 2, "width": 30, "height": 40},
    {"name": "circle", "cx": 20, "cy": 20, "r": 9.5},
    {"name": "ellipse", "cx": 20, "cy": 20, "rx": 9, "ry": 5, "theta": 0.4},
    {"name": "polygon", "all_points_x": [1, 30, 30, 1], "all_points_y": [1, 1, 30, 1]},
    {"name": "polyline", "all_points_x": [1, 30, 30], "all_points_y": [1, 1, 30]},
    {"name": "point", "cx": 5, "cy": 6},
)


def entry(name: str, as_object: bool) -> dict[str, Any]:
    regions = []
    for shape in SHAPES:
        part = "head" if shape["name"] == "point" else ""
        values = {"kind": "person", "id": "1", "part": part, "s": {"a": True}}
        regions.append({"shape_attributes": shape, "region_attributes": values})
    numbered = {str(index): region for index, region in enumerate(regions)}
    regions_data = numbered if as_object else regions
    caption = {"caption": "x"}
    return {"filename": name, "size": 100, "regions": regions_data, "file_attributes": caption}


def seeds() -> list[Any]:
    """Sound content of every kind: JSON data, or the text of a CSV."""
    two = {f"{name}100": entry(name, False) for name in ("a.jpg", "b, \u00e9.jpg")}
    attributes = {
        "region": {"kind": {"type": "dropdown", "description": "", "options": {"person": ""}}},
        "file": {},
    }
    project = {
        "_via_settings": {"core": {"default_filepath": "pics/"}, "project": {"name": "p"}},
        "_via_img_metadata": two,
        "_via_attributes": attributes,
        "_via_image_id_list": list(two),
    }
    one = {"a.jpg100": {**entry("a.jpg", True), "fileref": "", "base64_img_data": ""}}
    lists = ([1, 5, 6], [2, 1, 2, 30, 40], [3, 9, 9, 4], [4, 9, 9, 4, 2], [5, 1, 1, 9, 9],
             [7, 1, 1, 30, 1, 30, 30], [8, 1, 5, 9, 5, 5, 1, 5, 9],
             [9, 0, 5, 5, 0, 10, 5])  # fmt: skip
    kind = {"aname": "kind", "anchor_id": "FILE1_Z0_XY1", "type": 4, "options": {"0": "person"}}
    metadata = {f"m{n}": {"vid": "1", "z": [], "xy": xy, "av": {"1": "0"}}
                for n, xy in enumerate(lists)}  # fmt: skip
    third = {
        "project": {"vid_list": ["1"]},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}},
        "attribute": {
            "1": kind,
            "2": {"aname": "caption", "anchor_id": "FILE1_Z0_XY0", "type": 1, "options": {}},
        },
        "file": {"1": {"fid": 1, "fname": "a.jpg", "type": 2, "loc": 1, "src": ""}},
        "view": {"1": {"fid_list": [1]}},
        "metadata": {"f": {"vid": "1", "z": [], "xy": [], "av": {"2": "x"}}, **metadata},
    }
    coco = {
        "info": {"description": "x"},
        "images": [{"id": 1, "file_name": "a.jpg", "width": 50, "height": 50}],
        "categories": [{"id": 1, "name": "person", "keypoints": ["head", "hand"], "skeleton": []}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 0,
             "segmentation": [[1, 1, 9, 1, 9, 9]], "keypoints": [3, 3, 2, 0, 0, 0]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "iscrowd": 0,
             "segmentation": {"size": [4, 4], "counts": [5, 2, 2, 2, 5]}},
            {"id": 3, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9],
             "segmentation": {"size": [4, 4], "counts": "52203"}},
        ],
    }  # fmt: skip
    by_via = {
        "info": {"description": "VIA project exported to COCO format"},
        "images": [{"id": "1", "file_name": "1a.jpg"}],
        "categories": [{"id": 1, "name": "", "supercategory": "kind"}],
        "annotations": [
            {"id": 0, "image_id": 1, "category_id": 1, "bbox": [],
             "segmentation": [1, 1, 9, 1, 9, 9]},
            {"id": 1, "image_id": 1, "category_id": None, "segmentation": [[]], "area": [],
             "bbox": [], "keypoints": [4, 4, 2], "num_keypoints": 1},
        ],
    }  # fmt: skip
    rows = [
        f'a.jpg,100,"{{}}",6,{n},"{quoted(s)}","{quoted({"kind": "person"})}"'
        for n, s in enumerate(SHAPES)
    ]
    csv2 = "\n".join([COLUMNS, *rows, 'b.jpg,9,"{}",0,0,"{}","{}"']) + "\n"
    csv3 = "\n".join(
        [
            "# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)",
            '# ATTRIBUTE = {"1":{"aname":"kind","anchor_id":"FILE1_Z0_XY1","type":1,"options":{}}}',
            f"# CSV_HEADER = {COLUMNS_OF_VIA_3}",
            *(
                f'"1_{n}","[""a.jpg""]",0,"[]","{json.dumps(xy)}","{quoted({"1": "person"})}"'
                for n, xy in enumerate(lists)
            ),
        ]
    )
    return [two, project, one, third, coco, by_via, attributes, csv2, "#" + csv2, csv3]


def quoted(data: object) -> str:
    return json.dumps(data).replace('"', '""')


def inputs(count: int, seed: int) -> Iterator[bytes]:
    """Spoilt files, the same for the same arguments."""
    chance = random.Random(seed)
    sound = seeds()
    for _ in range(count):
        content = chance.choice(sound)
        if not isinstance(content, str) and chance.random() < 0.6:
            content = spoil_tree(copy.deepcopy(content), chance)
            yield json.dumps(content).encode()
            continue
        text = content if isinstance(content, str) else json.dumps(content)
        yield spoil_bytes(text.encode(), chance)


def spoil_tree(tree: Any, chance: random.Random) -> Any:
    """Replace, drop, repeat or swap parts of JSON data."""
    for _ in range(chance.randint(1, 3)):
        places = list(_places(tree))
        if not places:
            break
        parent, key = chance.choice(places)
        match chance.randrange(4):
            case 0 | 1:
                parent[key] = copy.deepcopy(chance.choice(VALUES))
            case 2:
                del parent[key]
            case 3:
                other, at = chance.choice(places)
                if at in other if isinstance(other, dict) else at < len(other):
                    parent[key] = copy.deepcopy(other[at])
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = (
        list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    )
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def spoil_bytes(data: bytes, chance: random.Random) -> bytes:
    """Cut, flip, insert, repeat or exchange bytes, or make up all of them."""
    for _ in range(chance.randint(1, 4)):
        start, end = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        end = min(end, start + 200)
        match chance.randrange(9):
            case 0:
                data = data[:start]
            case 1:
                data = data[:start] + data[end:]
            case 2:
                data = data[:start] + chance.randbytes(chance.randint(1, 4)) + data[start:]
            case 3:
                data = data[:end] + data[start:end] + data[end:]
            case 4:
                sign = chance.choice(b'{}[]",:;-0.\n\r\te#')
                data = data[:start] + bytes([sign]) + data[start + 1 :]
            case 5:
                data = b"\xef\xbb\xbf" + data
            case 6:
                data = data.replace(b"\n", chance.choice([b"\r\n", b"\r", b"\n\n"]))
            case 7:
                number = chance.choice([b"1e999", b"NaN", b"-5", b"9" * 5000, b"null"])
                data = data[:start] + number + data[end:]
            case 8:
                data = chance.randbytes(start % 400) if chance.random() < 0.2 else data
    return data


def examine(path: Path) -> str:
    """Read and label a file; what came of it, in a word.

    Raises:
        AssertionError: what came out is not sound.
    """
    try:
        annotations = read_annotations(path)
    except UserError as error:
        message = str(error)
        assert str(path) in message, f"the message does not name the file: {message}"
        return "refused"
    assert all(problem.message and problem.remedy for problem in annotations.problems)
    for image in annotations.images:
        assert image.filename.strip()
        for region in image.regions:
            assert all(abs(value) < 1e9 for value in bounds(region.shape))
    for rules, skeleton in ((LabelRules(default_class="person"), None), (LabelRules(), BONES)):
        try:
            labelled = build_instances(annotations, rules, skeleton)
        except UserError:
            continue
        for image in labelled.images:
            for instance in image.instances:
                assert instance.polygons or instance.keypoints
                assert all(len(ring) >= 3 for ring in instance.polygons)
    _write_and_read(annotations, path)
    return "read with errors" if annotations.problems else "read"


def _write_and_read(annotations: Annotations, path: Path) -> None:
    """What was read can be written as a project, and that is read as it was."""
    target = path.with_name("again.json")
    keys = {(image.filename, image.size) for image in annotations.images}
    if len(keys) < len(annotations.images):
        return  # VIA cannot hold both, and the writer refuses them
    write_project(target, annotations)
    assert len(read_annotations(target).images) == len(annotations.images)


def fuzz(count: int, seed: int) -> Counter[str]:
    """Examine spoilt files.

    Returns:
        How many came to what.

    Raises:
        AssertionError: an input is not handled; it is kept, and the message names it.
    """
    outcomes: Counter[str] = Counter()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    path = folder / "input"
    bar = tqdm(inputs(count, seed), total=count, unit="input", disable=not sys.stderr.isatty())
    for done, data in enumerate(bar):
        path.unlink(missing_ok=True)  # a file that is written over waits for the disk
        path.write_bytes(data)
        place, begun = f"input {done} of seed {seed}, kept as {path}", time.process_time()
        try:
            outcome = examine(path)
        except Exception as error:
            raise AssertionError(f"{place}: {error!r}") from error
        took = time.process_time() - begun
        assert took < SLOW, f"{place}, took {took:.1f} s"
        outcomes[outcome] += 1
    shutil.rmtree(folder)
    return outcomes
