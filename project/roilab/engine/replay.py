"""The losses of a saved step once more, batch by batch, to find what made one not finite."""

import itertools
from pathlib import Path

import torch
from detectron2.utils.events import EventStorage

from roilab.engine import build_model, train_state
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup
from roilab.engine.train import Trainer, build_train_loader
from roilab.engine.validate import Losses
from roilab.errors import UserError


def replay(setup: Setup, file: str) -> list[Losses]:
    """The losses of each batch of the step after a saved state, finite or not; nothing is learnt.

    It runs in one process. The state is that before a step whose loss was not finite, or another.

    Raises:
        UserError: there is no such file in the run folder, or it is of another model.
    """
    cfg = setup.cfg
    run = Run(Path(cfg.train.output_dir))
    path = run.folder / file
    if not path.is_file():
        names = ", ".join(sorted(path.name for path in run.folder.glob("*.pth")))
        raise UserError(
            "there is no such state to replay",
            key="replay",
            file=path,
            expected=f"one of {names}" if names else "a file of the run folder",
        )
    trainer = Trainer(cfg, build_model.build_model(cfg, training=True))
    iteration = train_state.load_train_state(path, trainer).iteration + 1
    batches = itertools.islice(build_train_loader(setup, iteration), cfg.train.accumulate)
    build_model.train_mode(trainer.model)
    by_batch = []
    with EventStorage(iteration), torch.no_grad():
        for number, batch in enumerate(batches):
            losses = trainer.losses(iteration, number, batch)
            by_batch.append({name: float(value) for name, value in losses.items()})
    return by_batch
