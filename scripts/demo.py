"""Find instances in an image or a folder of images, and draw them.

python scripts/demo.py --run outputs/demo --input datasets/figures/val --output outputs/pictures
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from _main import run

from PIL import Image
from tqdm import tqdm

from roilab.draw import Picture, grid
from roilab.engine.config import write_text
from roilab.engine.run import open_run
from roilab.errors import UserError
from roilab.inference import Predictor, draw_prediction, image_files, to_json

OVERVIEW = 12  # pictures in overview.jpg


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="a folder written by scripts/train.py")
    parser.add_argument("--input", required=True, help="an image, or a folder of images")
    parser.add_argument("--output", required=True, type=Path, help="folder for the pictures")
    parser.add_argument("--threshold", type=float, default=0.5, help="the least score drawn")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of its config")
    return parser.parse_args(arguments)


def main() -> int:
    args = parse(sys.argv[1:])
    if not 0 <= args.threshold <= 1:
        raise UserError(
            "the threshold is a score",
            key="--threshold",
            found=args.threshold,
            expected="a number from 0 to 1",
        )
    files = image_files(args.input)
    stems = [file.stem for file in files]
    folder = open_run(args.run)
    predictor = Predictor.from_run(folder, args.overrides)
    args.output.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    pictures: list[Picture] = []
    broken: list[UserError] = []
    for file in tqdm(files, unit="image", disable=not sys.stderr.isatty()):
        try:
            image = predictor.read(file)
        except UserError as error:
            if len(files) == 1:
                raise
            broken.append(error)
            continue
        found = predictor(image).above(args.threshold)
        records.append(to_json(file.name, found))
        rgb = image[:, :, ::-1] if predictor.image_format == "BGR" else image
        picture = draw_prediction(rgb.copy(), found, predictor.skeleton)
        # a.png and a.jpg must not become one picture.
        name = file.stem if stems.count(file.stem) == 1 else file.name
        Image.fromarray(picture).save(args.output / f"{name}.jpg", quality=92)
        if len(pictures) < OVERVIEW:
            pictures.append(picture)
    skeleton = predictor.skeleton
    data = {
        "classes": list(predictor.classes),
        "keypoints": list(skeleton.keypoints) if skeleton is not None else [],
        "threshold": args.threshold,
        "images": records,
    }
    write_text(args.output / "predictions.json", json.dumps(data) + "\n")
    if pictures:
        Image.fromarray(grid(pictures, 4)).save(args.output / "overview.jpg", quality=92)
    count = sum(len(record["instances"]) for record in records)
    print(f"{count} instances with a score of at least {args.threshold} in {len(records)} images")
    print(f"pictures: {args.output}, the first of them together: {args.output / 'overview.jpg'}")
    print(f"instances: {args.output / 'predictions.json'}")
    for problem in broken:
        print(f"left out: {problem}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    run(main)
