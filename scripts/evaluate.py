"""Evaluate a run folder: box, mask and keypoint AP.

python scripts/evaluate.py --run outputs/demo
python scripts/evaluate.py --run outputs/demo data.val.files=other.json data.val.images=photos
"""

import argparse
import sys
from functools import partial

from _main import run

from tqdm import tqdm

from roilab.engine.predict import load_run
from roilab.engine.run import open_run
from roilab.engine.train import evaluate_model, prepare
from roilab.evaluation import table


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", required=True, help="a folder written by scripts/train.py")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of its config")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse(sys.argv[1:])
    folder = open_run(args.run)
    cfg, model = load_run(folder, args.overrides)
    dataset = prepare(cfg, training=False).val
    print(f"{folder.weights} on {dataset.summary()}")
    bar = partial(tqdm, unit="batch", disable=not sys.stderr.isatty(), leave=False)
    results = evaluate_model(cfg, model, dataset, progress=bar)
    print(table(results))
    if "keypoints" in results and dataset.skeleton is not None:
        print(
            f"OKS with the {dataset.skeleton.name} sigmas and the area of the {dataset.area_source}"
        )
    if args.overrides:
        # results.json is the run's own result, on the data and with the settings of its training.
        print("results.json is left as it is, because of the overrides")
    else:
        folder.write_results(results)
        print(f"written to {folder.results_file}")


if __name__ == "__main__":
    run(main)
