"""A trained model from its run folder; UserError where the folder and the request do not fit."""

from collections.abc import Sequence

from omegaconf import DictConfig
from torch import nn

from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.build_model import build_model
from roilab.engine.checkpoint import read_weights, refuse_other_weights
from roilab.engine.run_folder import Run
from roilab.errors import UserError


def load_run(run: Run, overrides: Sequence[str] = ()) -> tuple[DictConfig, nn.Module]:
    """The config of a run and its model with the trained weights, in evaluation mode."""
    cfg = load_run_config(run, overrides)
    return cfg, load_model(run, cfg)


def load_run_config(run: Run, overrides: Sequence[str] = ()) -> DictConfig:
    """The config of a run with overrides; UserError for those of `data` that its splits share."""
    for text in overrides:
        key = text.partition("=")[0]
        of_split = ("data.train.", "data.val.", "data.augmentation.")
        if key.startswith("data.") and not f"{key}.".startswith(of_split):
            # A saved config is resolved: each split has a copy of the settings that were shared.
            message = "a run's data settings stand in its splits"
            raise UserError(message, key=key, expected=key.replace("data.", "data.val.", 1))
    return config.load_config(run.config_file, overrides)


def load_model(run: Run, cfg: DictConfig) -> nn.Module:
    """The model of a run's config with the trained weights, in evaluation mode."""
    count = cfg.model.roi_heads.num_classes
    names = run.classes()
    if count != len(names):
        raise UserError(
            "the class names of the run do not fit its model",
            file=run.classes_file,
            found=f"{len(names)} names",
            expected=f"{count}, model.roi_heads.num_classes",
        )
    model = build_model(cfg)
    weights = read_weights(run.weights)
    try:
        refuse_other_weights(model.state_dict(), weights)
    except UserError as error:
        raise error.replace(
            message="the weights do not fit the model of the run's config",
            file=run.weights,
            expected=None,
            remedy="take weights that this run has saved, and do not override its model",
        ) from error
    model.load_state_dict(weights, strict=True)
    return model.eval()


def check_meaning(run: Run, dataset: DetectionDataset) -> None:
    """Make sure that the class and keypoint numbers of a data set are those of the run's model."""
    skeleton = run.skeleton()
    meanings = [("classes", run.classes(), dataset.classes)]
    if skeleton is not None and dataset.skeleton is not None:
        meanings.append(("skeleton", skeleton.keypoints, dataset.skeleton.keypoints))
    for key, trained, names in meanings:
        if names != trained:
            raise UserError(
                f"the {key} of the data are not those that the model was trained for",
                file=run.folder,
                key=f"data.val.{key}",
                found=", ".join(names),
                expected=", ".join(trained),
                remedy="rename and drop classes with "
                "'data.val.rules.class_map={OLD: NEW, UNWANTED: null}'"
                if key == "classes"
                else "evaluate with the run's own skeleton.json",
            )
