"""A trained model from its run folder."""

from collections.abc import Sequence

from omegaconf import DictConfig
from torch import nn

from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.build import build_model
from roilab.engine.checkpoint import read, refuse_differences
from roilab.engine.run import Run
from roilab.errors import UserError


def load_run(run: Run, overrides: Sequence[str] = ()) -> tuple[DictConfig, nn.Module]:
    """The config of a run and its model with the trained weights, in evaluation mode.

    Raises:
        UserError: the weights are not those of the model, down to the last name and shape, or an
            override would have no effect.
    """
    for text in overrides:
        key = text.partition("=")[0]
        if key.startswith("data.") and not key.startswith(("data.train.", "data.val.")):
            # A saved config is resolved: what the splits shared stands in each of them by now.
            raise UserError(
                "a run's data settings stand in its splits",
                key=key,
                expected=key.replace("data.", "data.val.", 1),
            )
    cfg = config.load(run.config_file, overrides)
    count, names = cfg.model.roi_heads.num_classes, run.classes()
    if count != len(names):
        raise UserError(
            "the class names of the run do not fit its model",
            file=run.folder / "classes.json",
            found=f"{len(names)} names",
            expected=f"{count}, model.roi_heads.num_classes",
        )
    model = build_model(cfg)
    weights = read(run.weights).get("model", {})
    own = model.state_dict()
    try:
        refuse_differences(
            own=own,
            missing=own.keys() - weights.keys(),
            unexpected=weights.keys() - own.keys(),
            shapes={
                name: (weights[name].shape, own[name].shape)
                for name in own.keys() & weights.keys()
                if own[name].shape != weights[name].shape
            },
        )
    except UserError as error:
        raise UserError(
            "the weights do not fit the model of the run's config",
            file=run.weights,
            found=error.found,
            remedy="do not override the model when you load a run"
            if overrides
            else "take weights that this run has saved",
        ) from error
    model.load_state_dict(weights, strict=True)
    return cfg, model.eval()


def check_meaning(run: Run, dataset: DetectionDataset) -> None:
    """Make sure that a data set means by its numbers what the run's model was trained to mean.

    Raises:
        UserError: other classes or keypoints, or the same in another order.
    """
    skeleton = run.skeleton()
    meanings = [("classes", run.classes(), dataset.classes)]
    if skeleton is not None and dataset.skeleton is not None:
        meanings.append(("skeleton", skeleton.keypoints, dataset.skeleton.keypoints))
    for key, trained, given in meanings:
        if given != trained:
            raise UserError(
                f"the {key} of the data are not those that the model was trained for",
                file=run.folder,
                key=f"data.val.{key}",
                found=", ".join(given),
                expected=", ".join(trained),
                remedy="rename and drop classes with data.val.class_map={old: new, unwanted: null}"
                if key == "classes"
                else "evaluate with the run's own skeleton.json",
            )
