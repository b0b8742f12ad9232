"""Train a model from a lazy config and evaluate it.

python scripts/train.py --config-file configs/figures_mask_keypoint.py train.output_dir=outputs/mine
"""

import argparse
import sys

from _main import run

import torch
from detectron2.engine import launch

from roilab.engine import config
from roilab.engine.train import (
    evaluate_weights,
    prepare,
    train,
)
from roilab.errors import UserError
from roilab.evaluation import table


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="a file of configs/, or your own")
    parser.add_argument("--num-gpus", type=int, default=1, help="processes, one a GPU")
    parser.add_argument("--resume", action="store_true", help="continue train.output_dir")
    parser.add_argument(
        "--eval-only", action="store_true", help="evaluate train.init_checkpoint on the val set"
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of the config")
    return parser.parse_args(arguments)


def work(args: argparse.Namespace) -> None:
    """One process of the training."""
    cfg = config.load(args.config_file, args.overrides)
    setup = prepare(cfg, training=not args.eval_only)
    results = evaluate_weights(setup) if args.eval_only else train(setup, resume=args.resume)
    if results:
        print(table(results))
        print(f"\nrun folder: {cfg.train.output_dir}")


def main() -> None:
    args = parse(sys.argv[1:])
    available = max(1, torch.cuda.device_count())
    if not 1 <= args.num_gpus <= available:
        raise UserError(
            "so many GPUs are not here",
            key="--num-gpus",
            found=args.num_gpus,
            expected=f"1 to {available}" + ("" if torch.cuda.is_available() else " (1 is the CPU)"),
        )
    launch(work, args.num_gpus, dist_url="auto", args=(args,))


if __name__ == "__main__":
    run(main)
