"""Train a model from a lazy config and evaluate it.

    roilab train --config-file configs/figures_mask.py train.output_dir=outputs/mine
    roilab train --config-file configs/figures_mask.py --resume \\
        train.output_dir=outputs/mine
    torchrun --nproc-per-node 8 -m roilab train --config-file configs/mask_rcnn_R_50_FPN_1x.py

Ctrl-C and the signals of a scheduler save the training and print the command that continues it.
docs/run-folder.md lists the files of the run folder.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from roilab.cli.arguments import parser_of
from roilab.cli.console import print_error, say
from roilab.cli.main import call
from roilab.engine import config, distributed, trusted
from roilab.engine.provenance import ConfigSource
from roilab.engine.replay import replay
from roilab.engine.run_folder import Run
from roilab.engine.setup import limits_note, prepare
from roilab.engine.train import evaluate_weights, train
from roilab.engine.train_state import describe_saved
from roilab.errors import UserError
from roilab.reporting import ap_table


def work(args: argparse.Namespace) -> None:
    """One process of the training."""
    cfg = config.load_config(args.config_file, args.overrides)
    setup = prepare(cfg, training=not args.eval_only)
    if args.replay:
        for number, losses in enumerate(replay(setup, args.replay)):
            values = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            say(f"batch {number}: {values}")
        return
    if args.eval_only:
        results = evaluate_weights(setup)
    else:
        once = ("--resume", "--allow-changed-data")  # options of a single resumption
        command = [argument for argument in args.typed if argument not in once]
        source = ConfigSource(
            args.config_file, args.overrides, command, resume_command=[*command, "--resume"]
        )
        changed = args.allow_changed_data
        results = train(setup, resume=args.resume, source=source, allow_changed_data=changed)
    if results:
        say(ap_table(results))
        note = limits_note(cfg, setup.val)
        if note:
            say(f"\n{note}")
        say(f"\nrun folder: {cfg.train.output_dir}")


def main(arguments: list[str]) -> None:
    args = parser_of("train", __doc__).parse_args(arguments)
    args.typed = sys.orig_argv  # that of another process is not what the user typed
    args.config_file = config.find_config(args.config_file)
    trusted.allow(args.trust)
    several = args.num_gpus * args.num_machines > 1
    if args.replay and (several or args.resume or args.eval_only):
        raise UserError("--replay goes alone, in one process", key="--replay", found=args.replay)
    saved: Callable[[], str] = str
    if several and not distributed.under_torchrun():
        # A mistake is printed once, before there are several processes to print it.
        cfg = config.load_config(args.config_file, args.overrides)
        folder = prepare(cfg, training=not args.eval_only).cfg.train.output_dir
        saved = partial(describe_saved, Run(Path(folder)))
    distributed.launch(
        partial(call, __name__, "work"),
        args,
        print_error,
        num_gpus=args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        saved=saved,
    )
