"""From a config to a trained and evaluated run folder."""

import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import create_ddp_model, hooks
from detectron2.solver import LRMultiplier
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter, JSONWriter, TensorboardXWriter
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig, ListConfig
from torch import nn

from roilab.data.dataset import DetectionDataset
from roilab.data.loaders import require_outlines
from roilab.engine import config
from roilab.engine.checkpoint import Checkpointer
from roilab.engine.run import Run
from roilab.engine.trainer import ProgressBar, Trainer, device_of, dtype_of, share_cores
from roilab.errors import UserError
from roilab.evaluation import evaluate
from roilab.evaluation.ap import Results

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """A config that agrees with its data. `train` is None where only evaluation is wanted."""

    cfg: DictConfig
    train: DetectionDataset | None
    val: DetectionDataset


def prepare(cfg: DictConfig, *, training: bool = True) -> Setup:
    """Load the data, fit the config to it, and build the model without memory: all in seconds.

    The class names, the number of classes and of keypoints are taken from the data where the config
    leaves them open (None), and checked where it does not. The config is changed in place.

    Raises:
        UserError: data, skeleton, config and model do not fit together.
    """
    _check_numbers(cfg)
    device_of(cfg.train.device)
    train_set = None
    if training or cfg.data.classes is None:
        train_set = config.build(cfg.data.train, "data.train")
        cfg.data.classes = list(train_set.classes)
    val_set = config.build(cfg.data.val, "data.val")
    _fit_model(cfg, val_set)
    if "mask_head" in cfg.model.roi_heads:
        require_outlines(val_set)
    with torch.device("meta"):
        config.build(cfg.model, "model")
    return Setup(cfg, train_set if training else None, val_set)


def _check_numbers(cfg: DictConfig) -> None:
    """Raise UserError where a number of `train` is none, or one that makes no sense."""
    for name in ("max_iter", "log_period", "checkpoint_period", "checkpoints_kept"):
        value = cfg.train[name]
        if not isinstance(value, int) or value < 1:
            raise UserError(
                "not a number of iterations or files",
                key=f"train.{name}",
                found=value,
                expected="a whole number from 1",
            )
    if not isinstance(cfg.train.may_differ, ListConfig):
        raise UserError(
            "not a list of names",
            key="train.may_differ",
            found=cfg.train.may_differ,
            expected="for example [roi_heads.mask_head.predictor.*]",
        )
    size, rate = cfg.dataloader.train.total_batch_size, cfg.optimizer.lr
    if not isinstance(size, int) or size < 1:
        raise UserError(
            "not a batch size",
            key="dataloader.train.total_batch_size",
            found=size,
            expected="a whole number from 1",
        )
    if not isinstance(rate, int | float) or rate <= 0:
        raise UserError(
            "not a learning rate", key="optimizer.lr", found=rate, expected="a number above 0"
        )


def _fit_model(cfg: DictConfig, dataset: DetectionDataset) -> None:
    names = {
        "num_classes": len(dataset.classes),
        "num_keypoints": None if dataset.skeleton is None else len(dataset.skeleton.keypoints),
    }
    for key, value in names.items():
        if cfg.data[key] is None:
            cfg.data[key] = value
    heads = cfg.model.roi_heads
    if "keypoint_head" in heads and dataset.skeleton is None:
        raise UserError(
            "the model has a keypoint head but the data has no skeleton",
            key="data.skeleton",
            found=None,
            expected="coco_person, or a JSON file that declares yours",
        )
    checks = [("model.roi_heads.num_classes", heads.num_classes, names["num_classes"])]
    if "keypoint_head" in heads:
        checks.append(
            (
                "model.roi_heads.keypoint_head.num_keypoints",
                heads.keypoint_head.num_keypoints,
                names["num_keypoints"],
            )
        )
    for key, found, expected in checks:
        if found != expected:
            what = f"classes {list(dataset.classes)}" if "classes" in key else "skeleton"
            raise UserError(
                f"the model does not fit the data's {what}",
                key=key,
                found=found,
                expected=expected,
                remedy="leave it to the data: drop the override",
            )
    if "mask_head" in heads:
        _check_mask_head(cfg, names["num_classes"])


def _check_mask_head(cfg: DictConfig, num_classes: int | None) -> None:
    """Raise UserError where a mask head cannot be trained as the config has it."""
    head, key = cfg.model.roi_heads.mask_head, "model.roi_heads.mask_head"
    if head.num_classes not in (1, num_classes):
        raise UserError(
            "the mask head does not fit the data's classes",
            key=f"{key}.num_classes",
            found=head.num_classes,
            expected=f"{num_classes}, or 1 for a class-agnostic head",
        )
    target = head["_target_"]
    name = target if isinstance(target, str) else getattr(target, "__name__", "")
    if name.endswith("point_rend") and not cfg.dataloader.train.get("bitmaps", False):
        raise UserError(
            "PointRend learns from bitmaps",
            key="dataloader.train.bitmaps",
            found=False,
            expected=True,
        )


def build_model(cfg: DictConfig) -> nn.Module:
    """The model of a config on its device, freshly initialised."""
    return config.build(cfg.model, "model").to(device_of(cfg.train.device))


def build_optimizer(cfg: DictConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a config over the parameters of a model."""
    parameters = config.build(cfg.optimizer.params, "optimizer.params", model=model)
    return config.build(cfg.optimizer, "optimizer", params=parameters)


def weights_of(cfg: DictConfig) -> tuple[str, list[str]]:
    """Where the initial weights are, and the names of the parameters that may differ.

    It is what `train.init_checkpoint` says, or what that names in `weights`.
    """
    wanted = cfg.train.init_checkpoint or ""
    named = cfg.weights.get(wanted) if "weights" in cfg else None
    if named is None:
        return wanted, list(cfg.train.may_differ)
    return named.file, [*named.may_differ, *cfg.train.may_differ]


def load_weights(model: nn.Module, source: str, may_differ: Sequence[str] = ()) -> None:
    """Load a checkpoint; parameters that may differ and do are left as they are and logged.

    Raises:
        UserError: the file cannot be had, or is not one of the model's weights.
    """
    try:
        Checkpointer(model, may_differ=may_differ).load(source, checkpointables=[])
    except UserError as error:
        raise UserError(
            error.message,
            file=error.file or source,
            key="train.init_checkpoint",
            found=error.found,
            expected=error.expected,
            remedy=error.remedy,
        ) from error
    except (OSError, AssertionError, ValueError) as error:
        raise UserError(
            "the initial weights cannot be loaded",
            key="train.init_checkpoint",
            found=f"{source} ({error})",
            expected="imagenet, coco (where the config has them in `weights`), a path or a URL",
            remedy="check the path or the network, or train from scratch: train.init_checkpoint=''",
        ) from error


def start_logging(run: Run) -> None:
    """Log to the terminal and to log.txt of the run folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    for name in ("detectron2", "fvcore", "roilab"):
        setup_logger(str(run.folder / "log.txt"), comm.get_rank(), name=name)


def evaluate_model(
    cfg: DictConfig,
    model: nn.Module,
    dataset: DetectionDataset,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Results:
    """AP of the model on a data set, loaded as the config says; `progress` wraps the batches."""
    if device_of(cfg.train.device).type == "cpu":
        share_cores(cfg.dataloader.test.num_workers)
    batches = config.build(cfg.dataloader.test, "dataloader.test", dataset=dataset)
    return evaluate(model, progress(batches), dataset)


def evaluate_weights(setup: Setup) -> Results:
    """AP of `train.init_checkpoint`; leaves results.json and their meaning at `train.output_dir`.

    Raises:
        UserError: no weights are named, they cannot be had, or the folder holds a training.
    """
    cfg, run = setup.cfg, Run(Path(setup.cfg.train.output_dir))
    source, _ = weights_of(cfg)  # what is evaluated must fit whole
    if not source:
        raise UserError(
            "there are no weights to evaluate",
            key="train.init_checkpoint",
            found="''",
            expected="a path, a URL, or a name in `weights`",
            remedy="to evaluate a run folder: python scripts/evaluate.py --run RUN",
        )
    _check_folder(run, resume=False)
    start_logging(run)
    model = build_model(cfg)
    load_weights(model, source)
    results = evaluate_model(cfg, model, setup.val)
    if comm.is_main_process():
        run.write_meaning(cfg, setup.val.classes, setup.val.skeleton)
        run.write_results(results)
    return results


def train(setup: Setup, *, resume: bool = False) -> Results:
    """Train, evaluate and leave a complete run folder at `train.output_dir`; returns the AP.

    Raises:
        UserError: there is nothing to resume, the folder holds another run, or a loss diverges.
    """
    cfg, run = setup.cfg, Run(Path(setup.cfg.train.output_dir))
    _check_folder(run, resume)
    if not resume and comm.is_main_process():
        # What a training left that was cut before its first checkpoint.
        (run.folder / "metrics.json").unlink(missing_ok=True)
    start_logging(run)
    log.info("train: %s", setup.train and setup.train.summary())
    log.info("val: %s", setup.val.summary())
    if comm.is_main_process():
        run.write_meaning(cfg, setup.val.classes, setup.val.skeleton)
    seed_all_rng(cfg.train.seed + comm.get_rank())
    model = build_model(cfg)
    if not resume:
        source, may_differ = weights_of(cfg)
        if source:
            load_weights(model, source, may_differ)
    trainer = _trainer(cfg, model, setup, run, resume)
    try:
        trainer.train(trainer.start_iter, cfg.train.max_iter)
    except FloatingPointError as error:
        raise UserError(
            f"the loss is not finite at iteration {trainer.iter}",
            file=run.folder,
            found=str(error).splitlines()[-1],
            remedy="lower optimizer.lr, lengthen the warm-up, or set train.clip_norm=1",
        ) from error
    return getattr(trainer, "_last_eval_results", {})


def _check_folder(run: Run, resume: bool) -> None:
    started = (run.folder / "last_checkpoint").is_file()
    if resume and not started:
        raise UserError(
            "there is nothing to resume",
            file=run.folder,
            expected="a run folder with a checkpoint",
            remedy="leave out --resume, or correct train.output_dir",
        )
    if started and not resume:
        raise UserError(
            "the run folder already holds a run",
            key="train.output_dir",
            file=run.folder,
            remedy="continue it with --resume, choose another folder, or delete this one",
        )


def _trainer(cfg: DictConfig, model: nn.Module, setup: Setup, run: Run, resume: bool) -> Trainer:
    optimizer = build_optimizer(cfg, model)
    device = device_of(cfg.train.device)
    dtype = dtype_of(cfg.train.precision, device)
    if device.type == "cpu":
        share_cores(cfg.dataloader.train.num_workers)
    log.info("device %s, %s, %d threads", device, dtype, torch.get_num_threads())
    trainer = Trainer(
        create_ddp_model(model, broadcast_buffers=False),
        (),
        optimizer,
        dtype=dtype,
        clip_norm=cfg.train.clip_norm,
        log_period=cfg.train.log_period,
    )
    checkpointer = Checkpointer(model, str(run.folder), trainer=trainer)
    trainer.start_iter = 0
    terminal = sys.stderr.isatty()

    def test() -> dict[str, float]:
        results = evaluate_model(cfg, model, setup.val)
        if comm.is_main_process():
            run.write_results(results)
        trainer._last_eval_results = results
        return {
            f"{task}/{name}": value
            for task, metrics in results.items()
            for name, value in metrics.items()
            if value is not None
        }

    writers = [JSONWriter(str(run.folder / "metrics.json")), TensorboardXWriter(str(run.folder))]
    if not terminal:
        writers.insert(0, CommonMetricPrinter(cfg.train.max_iter))
    main = comm.is_main_process()
    every = [
        hooks.IterationTimer(),
        hooks.LRScheduler(
            scheduler=LRMultiplier(
                optimizer, config.build(cfg.lr_multiplier, "lr_multiplier"), cfg.train.max_iter
            )
        ),
        hooks.PeriodicCheckpointer(
            checkpointer,
            cfg.train.checkpoint_period,
            cfg.train.max_iter,
            max_to_keep=cfg.train.checkpoints_kept,
        )
        if main
        else None,
        hooks.EvalHook(cfg.train.eval_period, test),
        hooks.PeriodicWriter(writers, period=cfg.train.log_period) if main else None,
        ProgressBar() if main and terminal else None,
    ]
    trainer.register_hooks(every)
    if resume:
        checkpointer.resume_or_load("", resume=True)
        trainer.start_iter = trainer.iter + 1
    # A resumed run goes on with images in another order than it began with, not the same again.
    trainer.data_loader = config.build(
        cfg.dataloader.train,
        "dataloader.train",
        dataset=setup.train,
        seed=cfg.train.seed + trainer.start_iter,
    )
    return trainer
