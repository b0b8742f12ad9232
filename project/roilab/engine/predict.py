"""A trained model from its run folder."""

from collections.abc import Sequence

from omegaconf import DictConfig
from torch import nn

from roilab.engine import config
from roilab.engine.checkpoint import read
from roilab.engine.run import Run
from roilab.engine.train import build_model
from roilab.errors import UserError


def load_run(run: Run, overrides: Sequence[str] = ()) -> tuple[DictConfig, nn.Module]:
    """The config of a run and its model with the trained weights, in evaluation mode.

    Raises:
        UserError: the weights are not those of the model, down to the last name and shape.
    """
    cfg = config.load(run.config_file, overrides)
    model = build_model(cfg)
    try:
        model.load_state_dict(read(run.weights)["model"], strict=True)
    except (KeyError, RuntimeError) as error:
        raise UserError(
            "the weights do not fit the model of the run's config",
            file=run.weights,
            found="; ".join(line.strip() for line in str(error).splitlines()[1:4]),
            remedy="do not override the model when you load a run",
        ) from error
    return cfg, model.eval()
