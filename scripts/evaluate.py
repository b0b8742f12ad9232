"""Evaluate a run folder: box, mask and keypoint AP.

    python scripts/evaluate.py --run outputs/demo
    python scripts/evaluate.py --run outputs/demo --output other.json \\
        data.val.files=other_via.json data.val.images=photos
    python scripts/evaluate.py --run outputs/demo --weights model_best.pth
    python scripts/evaluate.py --run outputs/demo --pictures outputs/demo/compared

Without overrides, the result is the run's own and is written to its results.json. With any, it may
be of other data or settings, and with --weights it is of other weights: results.json is left as it
is, and --output takes the result.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from _main import run

import numpy as np
from PIL import Image
from tqdm import tqdm

from roilab.data.dataset import DetectionDataset
from roilab.draw import Picture
from roilab.engine.config import write_text
from roilab.engine.predict import check_meaning, load_run
from roilab.engine.prepare import prepare
from roilab.engine.run import open_run
from roilab.engine.validate import evaluate_model
from roilab.evaluation import table
from roilab.inference import Predictor, overview, picture_names, read_rgb
from roilab.inference.compare import comparison
from roilab.inference.sinks import OVERVIEW

OVERVIEW_PICTURES = 12
LEAST_SCORE = 0.5  # of what is drawn; AP counts every detection
CANVAS_GREY = 110


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="a folder written by scripts/train.py")
    parser.add_argument(
        "--weights", metavar="FILE", help="of that folder (default: model_final.pth, or the newest)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the result there as JSON"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="draw each image, annotated beside predicted"
    )
    parser.add_argument(
        "--blank", action="store_true", help="draw without the photographs, to publish the pictures"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of its config")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse(sys.argv[1:])
    folder = open_run(args.run, args.weights)
    cfg, model = load_run(folder, args.overrides)
    dataset = prepare(cfg, training=False).val
    check_meaning(folder, dataset)
    print(f"{folder.weights} on {dataset.summary()}")
    bar = partial(tqdm, unit="batch", disable=not sys.stderr.isatty(), leave=False)
    found = evaluate_model(cfg, model, dataset, progress=bar)
    print(table(found.results))
    if "keypoints" in found.results and dataset.skeleton is not None:
        print(
            f"OKS with the sigmas of {dataset.skeleton.name} and the area of the "
            f"{dataset.area_source}"
        )
    if not args.overrides and args.weights is None:
        folder.write_evaluation(found)
        print(f"written to {folder.results_file}")
    elif args.output is None:
        print("not the run's own result, and not written: --output FILE would take it")
    if args.output is not None:
        write_text(args.output, json.dumps(found.results, indent=2) + "\n")
        print(f"written to {args.output}")
    if args.pictures is not None:
        predictor = Predictor.from_run(folder, args.overrides)
        draw_pictures(predictor, dataset, args.pictures, blank=args.blank)


def draw_pictures(
    predictor: Predictor, dataset: DetectionDataset, folder: Path, *, blank: bool
) -> None:
    """Write a picture of each image of the data set, and the first of them on one sheet."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [Path(record["file_name"]) for record in dataset.records]
    pictures: list[Picture] = []
    bar = tqdm(dataset.records, unit="image", disable=not sys.stderr.isatty(), leave=False)
    for record, file, name in zip(bar, files, picture_names(files), strict=True):
        image = read_rgb(file)
        found = predictor(image).above(LEAST_SCORE)
        canvas = np.full_like(image, CANVAS_GREY) if blank else image
        picture = comparison(canvas, record, found, dataset)
        Image.fromarray(picture).save(folder / name, quality=92)
        if len(pictures) < OVERVIEW_PICTURES:
            pictures.append(picture)
    Image.fromarray(overview(pictures)).save(folder / OVERVIEW, quality=92)
    print(f"pictures, annotated beside predicted: {folder}, together: {folder / OVERVIEW}")


if __name__ == "__main__":
    run(main)
