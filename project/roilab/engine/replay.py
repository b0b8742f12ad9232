"""Repetition of a training step from a saved state, such as one whose loss was not finite."""

import itertools
from pathlib import Path

import torch
from detectron2.utils.events import EventStorage

from roilab.engine.build_model import build_model, train_mode
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup
from roilab.engine.train import Trainer, build_train_loader
from roilab.engine.train_state import load_train_state
from roilab.engine.validate import Losses
from roilab.errors import UserError


def replay(setup: Setup, file: str) -> list[Losses]:
    """The losses of each batch of the step after a saved state, finite or not; nothing is learnt.

    It runs in one process.

    Raises:
        UserError: there is no such file in the run folder, or it is of another model.
    """
    cfg, run = setup.cfg, Run(Path(setup.cfg.train.output_dir))
    path = run.folder / file
    if not path.is_file():
        names = sorted(path.name for path in run.folder.glob("*.pth"))
        message = "there is no such state to replay"
        expected = f"one of {', '.join(names)}" if names else "a file of the run folder"
        raise UserError(message, key="replay", file=path, expected=expected)
    trainer = Trainer(cfg, build_model(cfg, training=True))
    iteration = load_train_state(path, trainer).iteration + 1
    batches = itertools.islice(build_train_loader(setup, iteration), cfg.train.accumulate)
    train_mode(trainer.model)
    with EventStorage(iteration), torch.no_grad():
        losses = [trainer.losses(iteration, *numbered) for numbered in enumerate(batches)]
    return [{name: float(value) for name, value in of_batch.items()} for of_batch in losses]
