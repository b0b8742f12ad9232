"""Writes cityscapes_reference.json: the figures of Cityscapes' own evaluation, for our test.

cityscapesscripts needs a numpy that still has `in1d`, so it has an environment of its own:

    python -m venv cityscapes
    cityscapes/bin/pip install "numpy<2" pillow cityscapesscripts
    cityscapes/bin/python tests/evaluation/cityscapes_reference.py

It also makes sure that the trees are as Cityscapes makes its own: that the official program draws
the same instance ids of the polygons.
"""

import importlib.metadata
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from cityscapes_tree import CASES, CLASSES, Case, detections_of, label_files, write_tree
from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as official
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
from PIL import Image

COMMAND = "cityscapes/bin/python tests/evaluation/cityscapes_reference.py"
TARGET = Path(__file__).with_suffix(".json")


def write_detections(root: Path, folder: Path, case: Case) -> list[str]:
    """The files that list the detections of each image, as the official program reads them."""
    files = []
    for labels, detections in detections_of(root, case):
        name = labels.name.removesuffix("_gtFine_instanceIds.png")
        lines = []
        for number, (label, score, mask) in enumerate(detections):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}_{number}.png")
            lines.append(f"{name}_{number}.png {CLASSES[label]} {score!r}\n")
        (folder / f"{name}.txt").write_text("".join(lines))
        files.append(str(folder / f"{name}.txt"))
    return files


def check_polygons(root: Path) -> None:
    """Make sure that the official program draws the tree's own instance ids."""
    for labels in label_files(root):
        annotation = Annotation()
        annotation.fromJsonFile(
            str(labels.with_name(labels.name.replace("instanceIds.png", "polygons.json")))
        )
        drawn = np.array(createInstanceImage(annotation, "ids"))
        if not np.array_equal(drawn, np.array(Image.open(labels))):
            raise SystemExit(f"{labels} is not what the official program draws")


def plain(values: Any) -> Any:
    """Nested lists with None in place of NaN."""
    if isinstance(values, list):
        return [plain(value) for value in values]
    return None if math.isnan(values) else float(values)


def figures(case: Case) -> dict[str, Any]:
    """The AP of the official program, from 0 to 1; None for a class without objects."""
    with tempfile.TemporaryDirectory() as text:
        root = Path(text)
        os.chdir(root)  # it writes files there
        (root / "results").mkdir()
        write_tree(root / "tree", case)
        check_polygons(root / "tree")
        args = official.args
        args.predictionPath = str((root / "results").resolve())
        args.gtInstancesFile = str(root / "gtInstances.json")
        args.JSONOutput = False
        args.quiet = True
        predicted = write_detections(root / "tree", root / "results", case)
        annotated = list(map(str, label_files(root / "tree")))
        result = official.evaluateImgLists(predicted, annotated, args)
        os.chdir("/")
    averages = result["averages"]
    by_class = dict(zip(result["instLabels"], plain(result["resultApMatrix"][0]), strict=True))
    return {
        "AP": float(averages["allAp"]),
        "AP50": float(averages["allAp50%"]),
        "by_class_and_overlap": by_class,
    }


def main() -> None:
    content = {
        "command": COMMAND,
        "cityscapesscripts": importlib.metadata.version("cityscapesscripts"),
        "numpy": np.__version__,
        "cases": {name: figures(case) for name, case in CASES.items()},
    }
    TARGET.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
