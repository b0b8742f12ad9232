"""Begin and resume a run: checks of its folder, config and data, and its first files."""

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from detectron2.utils import comm
from omegaconf import DictConfig, OmegaConf

from roilab.data.class_balance import describe_repeats
from roilab.engine import config, provenance, trusted
from roilab.engine.config_diff import difference_table, differences
from roilab.engine.lock import locked
from roilab.engine.provenance import ConfigSource
from roilab.engine.run_folder import Run
from roilab.engine.run_record import read_record, write_record
from roilab.engine.schedule import warmup_length
from roilab.engine.setup import Setup, fit_limits, limits_note
from roilab.engine.signals import Interrupted
from roilab.engine.train_keys import dependent_on
from roilab.engine.train_state import TrainState, newest
from roilab.engine.training_log import start_logging
from roilab.errors import UserError, argument
from roilab.files import writing
from roilab.text import first_of

log = logging.getLogger(__name__)

# Arguments of the training loader that older runs do not name, with what they did.
_NEW_ARGUMENTS = {"recompute_boxes": False, "copy_paste": None}


@contextmanager
def locked_run(run: Run, *, resume: bool = False) -> Iterator[None]:
    """Keep other trainings out of the run folder; the first process of several holds the lock.

    Raises:
        UserError: there is nothing to resume, or without `resume` the folder holds a training.
    """
    if resume and not run.config_file.is_file():
        raise UserError(
            "there is nothing to resume",
            file=run.folder,
            expected="a run folder of roilab train",
            remedy="leave out resume=true, or correct train.output_dir",
        )
    with ExitStack() as stack:
        if comm.is_main_process():
            with writing(run.folder):
                run.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(run.lock_file))
        comm.synchronize()
        if run.states() and not resume:
            raise UserError(
                "the run folder already holds a run",
                key="train.output_dir",
                file=run.folder,
                remedy="continue it with resume=true, choose another folder, or delete this one",
            )
        yield


def begin(
    setup: Setup, run: Run, source: ConfigSource | None, *, resume: bool, allow_changed: bool
) -> Path | None:
    """Check the config and the data, write the first files of the run and of its log.

    Returns:
        The checkpoint to resume from; None: there is none yet.

    Raises:
        UserError: the folder holds another run, or the data of a run have changed.
    """
    cfg = setup.cfg
    notes = trusted.allow_own_parts(config.to_plain_data(cfg))
    data = fingerprints(setup)
    if resume:
        notes += check_resumable(run, setup, data, allow_changed_data=allow_changed)
    start_logging(run)
    for note in notes:
        log.warning(note)
    checkpoint = newest(run) if resume else None
    comm.synchronize()  # no process reads the files that the first one replaces
    if comm.is_main_process():
        run.begin_anew()
        run.write_metadata(cfg, setup.training_set)
        if source is not None:
            provenance.write_provenance(run, source, cfg.train.seed)
        _log_setup(setup, source)
        write_record(run.folder, {**read_record(run.folder), "data": data})
    comm.synchronize()
    return checkpoint


def _log_setup(setup: Setup, source: ConfigSource | None) -> None:
    """Log what differs from the source of the config, the warm-up, and the data sets."""
    cfg = setup.cfg
    if source is not None:
        changed = differences(config.load_config(source.config_file), cfg)
        if changed:
            log.info("what differs from %s:\n%s", source.config_file, difference_table(changed))
    max_iter = cfg.train.max_iter
    length = warmup_length(max_iter)
    if length and cfg.lr_multiplier.get("warmup_iters", 0) is None:
        set_by = "lr_multiplier.warmup_iters sets it"
        log.info("warm-up over the first %d of %d iterations (%s)", length, max_iter, set_by)
    log.info("train: %s", setup.training_set.summary())
    log.info("val: %s", setup.val.summary())
    threshold = cfg.dataloader.train.get("repeat_threshold")
    if threshold is not None:
        log.info("repeats: %s", describe_repeats(setup.training_set, threshold))
    if weights := cfg.data.get("class_weights"):
        pairs = zip(setup.training_set.classes, weights, strict=True)
        shown = first_of([f"{name} {weight:.3g}" for name, weight in pairs], 10)
        log.info("an instance weighs in the classification loss: %s", shown)
    note = limits_note(cfg, setup.val)
    if note:
        log.warning("val: %s", note)


def log_resumed(run: Run, checkpoint: Path | None, iteration: int) -> None:
    """Log the first iteration of a resumed training, and its checkpoint."""
    origin = f"from {checkpoint}"
    if checkpoint is None:
        origin = "from its beginning: it was cut before a checkpoint"
    elif checkpoint.name not in read_record(run.folder)["files"]:
        origin += ", which is unverified: it has no digest"
    log.info("goes on at iteration %d, %s", iteration, origin)


@contextmanager
def logged_interruption(run: Run, state: TrainState, source: ConfigSource | None) -> Iterator[None]:
    """Log what is saved, and the command that continues, where a signal ends the block."""
    try:
        yield
    except Interrupted as error:
        again = shlex.join(source.resume_command) if source else "train(resume=True)"
        iteration = state.iteration
        saved = f"saved after iteration {iteration}" if run.states() else "nothing to save yet"
        log.warning("%s: %s; go on with: %s", error, saved, again)
        raise


def fingerprints(setup: Setup) -> dict[str, dict[str, Any]]:
    """The fingerprints of the data by split; the first process alone reads the files."""
    by_split: dict[str, dict[str, Any]] = {}
    if comm.is_main_process():
        for split, dataset in (("train", setup.training_set), ("val", setup.val)):
            files = setup.cfg.data[split].get("files") or []
            files = [files] if isinstance(files, str) else list(files)
            by_split[split] = provenance.data_fingerprint(dataset, files)
    return comm.all_gather(by_split)[0]


def _add_new_keys(begun: DictConfig, cfg: DictConfig) -> None:
    """Add to the config of an older run the keys about augmentation that it lacks, in place."""
    loader, node = begun.dataloader.train, cfg.dataloader.train
    for name, value in _NEW_ARGUMENTS.items():
        if name in node:
            loader.setdefault(name, value)
    if "augmentation" in cfg.data:  # a name alone: what it stands for is compared
        begun.data.setdefault("augmentation", cfg.data.augmentation)


def check_resumable(
    run: Run, setup: Setup, data: Mapping[str, Mapping[str, Any]], *, allow_changed_data: bool
) -> list[str]:
    """Check that a run folder holds the run of a setup, with the same data.

    Args:
        data: fingerprints of the data, by split.

    Returns:
        Notes for the log.

    Raises:
        UserError: it holds another run, or one with other data.
    """
    begun = config.load_config(run.config_file)
    fit_limits(begun, setup.val)  # older runs do not have the limits of their data
    _add_new_keys(begun, setup.cfg)
    differing = differences(begun, OmegaConf.create(config.to_plain_data(setup.cfg)))
    before = read_record(run.folder).get("data", {})
    # Without a record of the data, another place may be other data.
    may_change = ("nothing", "evaluation", "place") if before else ("nothing", "evaluation")
    headers = ("key", "the run", "now")
    refused = [row for row in differing if dependent_on(row.key) not in may_change]
    if refused:
        raise UserError(
            "the run was begun with another config",
            file=run.config_file,
            found=f"\n{difference_table(refused, headers)}",
            remedy="resume with the run's own config, "
            f"{argument('config_file', str(run.config_file))}, or train in another folder",
        )

    notes = []
    changed = []
    if not before:
        unknown = "whether the data have changed is not known: it was begun before they were noted"
        notes.append(f"{run.folder}: {unknown}")
    for split, dataset in (("train", setup.training_set), ("val", setup.val)):
        if split in before:
            changes, harmless = provenance.data_changes(before[split], data[split], dataset)
            changed += [f"data.{split}: {change}" for change in changes]
            notes += [f"data.{split}: {change}" for change in harmless]
    if changed and not allow_changed_data:
        raise UserError(
            "the data have changed since the run was last started",
            file=run.provenance_file,
            found="; ".join(changed),
            expected="the data that the run was trained with, wherever they are",
            remedy="put them back; or go on with the data as they are: allow_changed_data=true; "
            "or train in another folder",
        )
    notes = [*(f"changed, as allowed: {change}" for change in changed), *notes]
    if differing:
        notes.append(f"resumed with:\n{difference_table(differing, headers)}")
    return notes
