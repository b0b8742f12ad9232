"""Every command, training and evaluation count the same in a file: there is one reading of it."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from roilab import via
from roilab.data import loaders
from roilab.data.dataset import load_dataset
from roilab.data.loaders import eval_loader
from roilab.data.mask_to_polygons import read_annotations
from roilab.errors import UserError
from roilab.image_files import header_size
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths
from roilab.via import LabelRules

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
FILES = sorted(
    path
    for folder in ("data", "cases/files")
    for path in (SHARED / folder).glob("**/*")
    if path.suffix in (".json", ".csv") and path.is_file()
)
CLASS = "thing"  # of regions without one
Counts = dict[str, Any]
Script = Callable[..., Any]
Boxes = list[list[float]]  # x0, y0, x1, y1 of every object, sorted


def counts(
    images: int, classes: Counter[str] | dict[str, int], crowds: int, keypoints: int
) -> Counts:
    """What all agree in; classes without an object are left out."""
    some = {name: count for name, count in classes.items() if count}
    return {"images": images, "classes": some, "crowds": crowds, "keypoints": keypoints}


def blank(path: Path | str) -> np.ndarray:
    width, height = header_size(Path(path))
    return np.zeros((height, width, 3), np.uint8)


def of_training(path: Path, folder: Path, skeleton: str | None) -> tuple[dict[str, Counts], Boxes]:
    """Of the batches that a model sees, with their boxes, and of the ground truth for AP."""
    dataset = load_dataset(
        str(path),
        str(folder),
        rules=LabelRules(default_class=CLASS),
        skeleton=skeleton,
        missing_images="skip",
    )
    total = len(dataset) + dataset.missing
    rows = dataset.coco_json()["annotations"]
    objects = [row for row in rows if not row["iscrowd"]]
    scored = counts(
        total,
        Counter(dataset.classes[row["category_id"] - 1] for row in objects),
        len(rows) - len(objects),
        sum(v > 0 for row in objects for v in row.get("keypoints", ())[2::3]),
    )
    seen: Counter[str] = Counter()
    boxes: Boxes = []
    keypoints = 0
    has_keypoints = skeleton is not None
    for batch in eval_loader(dataset, augmentations=[], keypoints=has_keypoints, num_workers=0):
        for instances in (item["instances"] for item in batch):
            seen.update(dataset.classes[number] for number in instances.gt_classes.tolist())
            boxes += instances.gt_boxes.tensor.tolist()
            if has_keypoints and len(instances):
                keypoints += int((instances.gt_keypoints.tensor[..., 2] > 0).sum())
    crowds = sum(a.get("iscrowd", 0) for r in dataset.records for a in r["annotations"])
    by_command = {"evaluate": scored, "training": counts(total, seen, crowds, keypoints)}
    return by_command, sorted(boxes)


def of_check(script: Script, path: Path, options: list[Any], out: Path) -> Counts:
    done = script("data", "check", path, *options, "--json", out, status=None)
    (report,) = json.loads(out.read_text(encoding="utf-8"))["files"]
    assert done.returncode == any(problem["severity"] == "error" for problem in report["problems"])
    return counts(report["images"], report["classes"], report["crowds"], report["keypoints"])


def of_stats(script: Script, path: Path, options: list[Any], out: Path) -> Counts:
    script("data", "stats", path, *options, "--json", out)
    stats = json.loads(out.read_text(encoding="utf-8"))
    classes = {name: of_class["instances"] for name, of_class in stats["classes"].items()}
    keypoints = sum(seen + hidden for seen, hidden, _ in stats["keypoints"].values())
    return counts(stats["images"], classes, stats["crowds"], keypoints)


def of_draw(
    script: Script, path: Path, options: list[Any], out: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Counts, Boxes]:
    """Of what is drawn, with the boxes of objects."""
    import roilab.curation.contact_sheets as command

    drawn: Counter[str] = Counter()
    totals = {"images": 0, "keypoints": 0}
    boxes: Boxes = []

    def draw(pixels: np.ndarray, **arguments: Any) -> np.ndarray:
        drawn.update(arguments["labels"])
        totals["images"] += 1
        pairs = zip(arguments["labels"], arguments["boxes"].tolist(), strict=True)
        boxes.extend(box for name, box in pairs if not name.endswith(" (crowd)"))
        if arguments["keypoints"] is not None:
            totals["keypoints"] += int((arguments["keypoints"][..., 2] > 0).sum())
        return pixels[:8, :8]

    monkeypatch.setattr(command, "draw_instances", draw)
    monkeypatch.setattr(command, "read_rgb", blank)
    monkeypatch.setattr(command, "_SIDE", 10**6)  # nothing is made smaller
    monkeypatch.setattr(command, "titled", lambda picture, *_: picture)
    script("data", "draw", path, *options, "--output", out, "--limit", 10**6, status=None)
    crowds = {name: n for name, n in drawn.items() if name.endswith(" (crowd)")}
    classes = {name: n for name, n in drawn.items() if name not in crowds}
    counted = counts(totals["images"], classes, sum(crowds.values()), totals["keypoints"])
    return counted, sorted(boxes)


def of_split(script: Script, path: Path, options: list[Any], out: Path) -> Counts | None:
    """Of both parts together, as printed and as written; None where there is one picture."""
    done = script("data", "split", path, *options, "--output", out, status=None)
    if "there is nothing to divide" in done.stderr:
        return None
    head = f"{'train':>8}{'val':>8}{'share':>8}\n"
    rows = re.findall(r"(?s)(.+?) +(\d+) +(\d+) +\d\.\d\d\n", done.stdout.partition(head)[2])
    printed = {name: int(train) + int(val) for name, train, val in rows}
    both = [of_check(script, out / f"{name}.json", options, out / "c") for name in ("train", "val")]
    images, crowds, keypoints = (
        sum(part[key] for part in both) for key in ("images", "crowds", "keypoints")
    )
    classes = sum((Counter(part["classes"]) for part in both), Counter[str]())
    assert counts(printed.pop("images"), printed, crowds, keypoints) == counts(
        images, classes, crowds, keypoints
    )
    return counts(images, classes, crowds, keypoints)


def of_merge(script: Script, path: Path, options: list[Any], out: Path) -> Counts:
    """Of what is written; the options that `merge` has are those of attributes."""
    own = options[options.index("--skeleton") :] if "--skeleton" in options else []
    script("data", "merge", path, "--output", out / "merged.json", *own, status=None)
    return of_check(script, out / "merged.json", options, out / "c")


@pytest.fixture
def compare(script: Script, monkeypatch, tmp_path: Path) -> Callable[..., Counts]:
    """The counts of a file, which are the same for all."""

    def call(path: Path, folder: Path, skeleton: str | None) -> Counts:
        out = tmp_path / f"out {skeleton}"
        out.mkdir()
        options = ["--images", folder, "--default-class", CLASS]
        options += ["--skeleton", skeleton] if skeleton else []
        checked = of_check(script, path, options, out / "check.json")
        totals, trained = of_training(path, folder, skeleton)
        if skeleton is None:
            # Commands take COCO's skeleton by themselves where it fits; training only if asked.
            totals = {
                name: row | {"keypoints": checked["keypoints"]} for name, row in totals.items()
            }
        totals["stats"] = of_stats(script, path, options, out / "stats.json")
        totals["draw"], drawn = of_draw(script, path, options, out / "sheets", monkeypatch)
        if skeleton is not None or not checked["keypoints"]:
            assert np.allclose(np.reshape(drawn, (-1, 4)), np.reshape(trained, (-1, 4)), atol=1e-3)
        # A VIA project, which both write, has no crowds.
        without = checked | {"crowds": 0}
        for name, written in (
            ("split", of_split(script, path, options, out / "parts")),
            ("merge", of_merge(script, path, options, out)),
        ):
            if written is not None:
                assert written == without, name
        assert totals == dict.fromkeys(totals, checked)
        return checked

    return call


def write_images(annotations: via.Annotations, folder: Path) -> None:
    """An image for every entry, as large as the file states, else as its regions reach."""
    for record in annotations.images:
        boxes = [via.bounds(region.shape) for region in record.regions]
        size = (int(max([8.0, *(b[2] for b in boxes)])), int(max([8.0, *(b[3] for b in boxes)])))
        if record.coco is not None and record.coco.size is not None:
            size = record.coco.size
        name = record.filename.replace("\\", "/").rpartition("/")[2]
        Image.new("L", size).save(folder / Path(name).name, "PNG")


@pytest.mark.skipif(not FILES, reason="no real data beside the project")
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SHARED)))
def test_real_files(path: Path, tmp_path: Path, script: Script, compare, monkeypatch) -> None:
    monkeypatch.setattr(loaders, "read_rgb", blank)
    try:
        annotations = read_annotations(path)
    except UserError:
        script("data", "check", path, status=1)
        return
    write_images(annotations, tmp_path)
    try:
        counted = compare(path, tmp_path, None)
    except UserError:  # of training
        script("data", "check", path, "--images", tmp_path, "--default-class", CLASS, status=1)
        return
    assert 0 < counted["images"] <= len(annotations.images)
    if counted["classes"].get("person"):
        compare(path, tmp_path, "coco_person")


@pytest.mark.parametrize("skeleton", [None, "coco_person"])
def test_a_via_project(skeleton: str | None, figures: FiguresPaths, compare) -> None:
    counted = compare(figures.train, figures.train.parent, skeleton)
    assert counted["images"] == 6
    assert counted["keypoints"] > 0


def test_a_coco_file(tmp_path: Path, compare) -> None:
    Image.new("RGB", (40, 30), (9, 9, 9)).save(tmp_path / "a.png")
    Image.new("RGB", (40, 30), (90, 9, 9)).save(tmp_path / "b.png")
    ring = [[1, 1, 9, 1, 9, 9]]
    keypoints = [*[5, 5, 2] * 2, *[0, 0, 0] * 15]
    rows = [
        {"segmentation": ring, "keypoints": keypoints},
        {"segmentation": [*ring, [20, 1, 29, 1, 29, 9]], "image_id": 2},
        {"segmentation": [[50, 1, 59, 1, 59, 9]]},  # outside
        {"segmentation": {"size": [30, 40], "counts": [40, 20, 1140]}, "iscrowd": 1},
        {"segmentation": [], "category_id": 2},
        {"segmentation": [[1, 1]], "category_id": 2},  # no outline
    ]
    person = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": 0}
    data = {
        "images": [
            {"id": number, "file_name": name, "width": 40, "height": 30}
            for number, name in ((1, "a.png"), (2, "b.png"))
        ],
        "annotations": [person | {"id": n} | row for n, row in enumerate(rows, 1)],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO_PERSON.keypoints)},
            {"id": 2, "name": "car"},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    counted = compare(path, tmp_path, "coco_person")
    assert counted == counts(2, {"person": 2, "car": 1}, 1, 2)
