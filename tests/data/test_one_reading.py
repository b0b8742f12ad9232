"""Check, stats and a data set count the same in one file; tests/scripts/test_counts.py has more."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from roilab import via
from roilab.data.check import examine
from roilab.data.dataset import load
from roilab.data.figures import FiguresPaths
from roilab.data.fit import fit_all
from roilab.data.locate import locate
from roilab.data.read import read
from roilab.data.stats import statistics
from roilab.images import ImageFolder
from roilab.skeleton import COCO_PERSON

Counts = dict[str, Any]


def counted(path: Path, folder: Path, default: str | None, skeleton: str | None) -> Counts:
    """The counts of a file, which are the same however it is read.

    Raises:
        UserError: of training; that of check is among its problems.
    """
    rules = via.LabelRules(default_class=default)
    bones = COCO_PERSON if skeleton else None
    annotations = read(path)
    images = ImageFolder(folder, default_path=annotations.default_path)
    (located,) = locate([(annotations, images)])
    findings = examine(annotations, images, rules, bones)
    dataset = load(
        str(path), str(folder), default_class=default, skeleton=skeleton, missing_images="skip"
    )
    labelled, unusable = fit_all(via.label(annotations, rules, bones), located.places)
    stats = statistics([(annotations, labelled)], bones)
    rows = dataset.coco_json()
    names = {each["id"]: each["name"] for each in rows["categories"]}
    objects = [each for each in rows["annotations"] if not each["iscrowd"]]
    trained = {
        "images": len(dataset) + dataset.missing,
        "classes": dict(Counter(names[each["category_id"]] for each in objects)),
        "crowds": len(rows["annotations"]) - len(objects),
        "keypoints": sum(v > 0 for each in objects for v in each.get("keypoints", ())[2::3]),
    }
    # Those of images that are not there are counted by those that need no image.
    assert dataset.missing == unusable == 0
    left_out = sum("left out:" in each.message for each in findings.problems)
    assert dataset.outside == left_out
    checked = {
        "images": findings.images,
        "classes": dict(findings.classes),
        "crowds": findings.crowds,
        "keypoints": findings.keypoints,
    }
    assert checked == trained
    in_stats = {
        "images": stats.images,
        "classes": {name: each.instances for name, each in stats.classes.items()},
        "crowds": stats.crowds,
        "keypoints": sum(sum(counts[:2]) for counts in stats.keypoints.values()),
    }
    assert in_stats == trained
    return trained


def test_a_via_project(figures: FiguresPaths) -> None:
    folder = figures.train.parent
    without = counted(figures.train, folder, None, None)
    with_skeleton = counted(figures.train, folder, None, "coco_person")
    # Which parts are one object does not depend on whether its keypoints are read.
    assert without["classes"] == with_skeleton["classes"]
    assert with_skeleton["keypoints"] > 0


def test_a_coco_file(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    ring = [[1, 1, 9, 1, 9, 9]]
    person = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": 0}
    keypoints = [*[5, 5, 2] * 2, *[0, 0, 0] * 15]
    rows = [
        {"segmentation": ring, "keypoints": keypoints},
        {"segmentation": [*ring, [20, 1, 29, 1, 29, 9]]},
        {"segmentation": [[50, 1, 59, 1, 59, 9]]},
        {"segmentation": {"size": [30, 40], "counts": [40, 20, 1140]}, "iscrowd": 1},
        {"segmentation": [], "category_id": 2},
        {"segmentation": [[1, 1]], "category_id": 2},
    ]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [person | {"id": n} | each for n, each in enumerate(rows)],
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO_PERSON.keypoints)},
            {"id": 2, "name": "car"},
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(data))
    found = counted(path, tmp_path, None, "coco_person")
    assert found == {
        "images": 1,
        "classes": {"person": 2, "car": 1},
        "crowds": 1,
        "keypoints": 2,
    }
    assert counted(path, tmp_path, None, None) == found | {"keypoints": 0}
