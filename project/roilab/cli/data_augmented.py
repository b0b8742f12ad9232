"""`roilab data augmented`: pictures of the batches of a training."""

import argparse
from itertools import islice

from roilab.cli.console import progress, say
from roilab.curation import contact_sheets
from roilab.engine import config, trusted
from roilab.engine.preflight import load_image
from roilab.engine.setup import prepare
from roilab.engine.train import build_train_loader
from roilab.engine.train_state import TrainState
from roilab.text import counted


def augmented(args: argparse.Namespace) -> int:
    """Draw the first batches of a training as the model gets them: a sheet for each batch.

    Config and overrides are those of roilab train, and so are the images, their order and their
    augmentation; no weights are needed. Over each image are the name of its file and the
    augmentations that changed it. A filled dot is a keypoint that is visible, a ring one that is
    occluded; keypoints that are not labelled, or outside the image, are not drawn.
    """
    trusted.allow(args.trust)
    setup = prepare(config.load_config(config.find_config(args.config_file), args.overrides))
    cfg, dataset = setup.cfg, setup.training_set
    load_image(cfg, "dataloader.train", dataset, seed=cfg.train.seed)
    state = TrainState()
    image_format = cfg.dataloader.train.get("image_format", "BGR")
    batches = islice(build_train_loader(setup, 0), args.batches)
    for number, batch in enumerate(progress(batches, unit="batch", total=args.batches)):
        state.note_unreadable([batch], len(dataset), cfg.train.max_unreadable)
        pictures = [
            contact_sheets.item_picture(item, dataset.classes, dataset.skeleton, image_format)
            for item in batch
        ]
        contact_sheets.save_sheet(args.output, number, pictures, "batch")
    stale = contact_sheets.remove_stale_sheets(args.output, args.batches - 1, "batch")
    removed = f" ({counted(stale, 'earlier one')} removed)" if stale else ""
    say(f"{counted(args.batches, 'sheet')}, a batch each: {args.output}{removed}")
    if cfg.train.accumulate > 1:
        say(f"{cfg.train.accumulate} batches make one step (train.accumulate)")
    return 0
