"""Checks before a run is resumed: its config and its data."""

import shlex
from collections.abc import Mapping
from typing import Any

from detectron2.utils import comm
from omegaconf import OmegaConf

from roilab.engine import config, distributed, fingerprint
from roilab.engine.config_diff import difference_table, differences
from roilab.engine.max_detections import fit_limits
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup
from roilab.errors import UserError

SPLITS = ("train", "val")
# What the weights do not depend on.
EVALUATION_ONLY = (
    "evaluation.",
    "dataloader.test",
    "model.roi_heads.box_predictor.test_",
    "model.roi_heads.keypoint_head.decoder",
)
# What a run may be resumed with in another way than it began: nothing that a step depends on, and
# how long it is to be.
_MAY_CHANGE = (
    *EVALUATION_ONLY,
    "train.max_iter",
    "train.device",
    "train.compile",
    "train.tracker",
    "train.output_dir",
    "train.log_period",
    "train.eval_period",
    "train.checkpoint_period",
    "train.checkpoints_kept",
    "train.patience",
    "train.max_unreadable",
    "dataloader.train.num_workers",
    "lr_multiplier.max_iter",
)
# Where the data are, and no more: what they are is compared by their fingerprints.
_PLACES = tuple(f"data.{split}.{key}" for split in SPLITS for key in ("files", "images"))


def fingerprints(setup: Setup) -> dict[str, dict[str, Any]]:
    """Those of the data by split; one process alone looks at the files."""
    found = {}
    if comm.is_main_process():
        for split, dataset in zip(SPLITS, (setup.training_set, setup.val), strict=True):
            files = setup.cfg.data[split].get("files") or []
            listed = [files] if isinstance(files, str) else list(files)
            found[split] = fingerprint.fingerprint(dataset, listed)
    shared: dict[str, dict[str, Any]] = distributed.from_main(found)
    return shared


def refuse_begun(run: Run) -> None:
    """Raise UserError where a folder holds a training."""
    if run.states():
        raise UserError(
            "the run folder already holds a run",
            key="train.output_dir",
            file=run.folder,
            remedy="continue it with --resume, choose another folder, or delete this one",
        )


def require_begun(run: Run) -> None:
    """Raise UserError where a folder holds no run that could be resumed."""
    if not run.config_file.is_file():
        raise UserError(
            "there is nothing to resume",
            file=run.folder,
            expected="a run folder of roilab train",
            remedy="leave out --resume, or correct train.output_dir",
        )


def check_resumable(
    run: Run,
    setup: Setup,
    data: Mapping[str, Mapping[str, Any]],
    *,
    allow_changed_data: bool,
) -> list[str]:
    """Make sure that the run of a folder is the one that is to be resumed, with the same data.

    Args:
        data: fingerprints of the data, by split.

    Returns:
        What the log should say.

    Raises:
        UserError: it is another run, or one of other data.
    """
    begun = config.load_config(run.config_file)
    fit_limits(begun, setup.val)  # of a run from before the model's followed the data
    changed = differences(begun, OmegaConf.create(config.to_plain_data(setup.cfg)))
    before = fingerprint.recorded(run.folder)
    may_change = _MAY_CHANGE if before is None else (*_MAY_CHANGE, *_PLACES)
    other = [each for each in changed if not each.key.startswith(may_change)]
    if other:
        raise UserError(
            "the run was begun with another config",
            file=run.config_file,
            found=f"\n{difference_table(other, headers=('key', 'the run', 'now'))}",
            remedy="resume with the run's own config, "
            f"--config-file {shlex.quote(str(run.config_file))}, or train in another folder",
        )
    notes = _compare_data(run, setup, before, data, allow_changed_data)
    if changed:
        notes.append(
            f"resumed with:\n{difference_table(changed, headers=('key', 'the run', 'now'))}"
        )
    return notes


def _compare_data(
    run: Run,
    setup: Setup,
    before: Mapping[str, Mapping[str, Any]] | None,
    now: Mapping[str, Mapping[str, Any]],
    allow_changed_data: bool,
) -> list[str]:
    """Compare the data of a resumed run with its record; returns notes for the log.

    Raises:
        UserError: they have changed, and may not.
    """
    if before is None:
        unknown = "whether the data have changed is not known: it was begun before they were noted"
        return [f"{run.folder}: {unknown}"]
    changed, notes = [], []
    for split, dataset in zip(SPLITS, (setup.training_set, setup.val), strict=True):
        if split in before:
            found = fingerprint.changes(before[split], now[split], dataset)
            changed += [f"data.{split}: {each}" for each in found]
            more = [] if found else fingerprint.notes(before[split], now[split])
            notes += [f"data.{split}: {each}" for each in more]
    if changed and not allow_changed_data:
        raise UserError(
            "the data have changed since the run was last started",
            file=run.provenance_file,
            found="; ".join(changed),
            expected="the data that the run was trained with, wherever they are",
            remedy="put them back; or go on with the data as they are: --allow-changed-data; "
            "or train in another folder",
        )
    return [*(f"changed, as allowed: {each}" for each in changed), *notes]
