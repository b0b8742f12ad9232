"""A run that is trained once, for mistakes to be made with its copies."""

import copy
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from roilab.engine import config
from roilab.engine.prepare import Setup, prepare
from roilab.engine.run import Run
from roilab.engine.train import train

from .files import polygon, via_json

CONFIG = "configs/figures_mask.py"
SMALL = (
    "data.class_attribute=kind",
    "data.keypoint_attribute=null",
    "data.instance_attribute=null",
    "data.visibility_attribute=null",
    "model.backbone.out_channels=32",
    "model.proposal_generator.head.in_channels=32",
    "model.proposal_generator.post_nms_topk=[40,10]",
    "model.roi_heads.box_head.input_shape.channels=32",
    "model.roi_heads.mask_head.input_shape.channels=32",
    "model.roi_heads.mask_head.conv_dims=[32]",
    "model.roi_heads.box_head.fc_dims=[64]",
    "model.roi_heads.box_predictor.input_shape.channels=64",
    "model.roi_heads.batch_size_per_image=8",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "train.lr_batch_size=null",
    "train.precision=float32",
    "train.device=cpu",
    "train.max_iter=1",
)


@dataclass(frozen=True)
class Training:
    """A training of one step on two images, and copies of what it left.

    Attributes:
        data: the folder of the images and of via.json.
        run: the run folder. Nobody writes into it: see `copy`.
    """

    data: Path
    run: Run
    setups: dict[tuple[str, ...], Setup] = field(default_factory=dict)

    def overrides(self, folder: Path, *more: str) -> list[str]:
        """The overrides of its command line; later ones win."""
        places = [
            override
            for split in ("train", "val")
            for override in (
                f"data.{split}.files={self.data / 'via.json'}",
                f"data.{split}.images={self.data}",
            )
        ]
        return [*places, *SMALL, f"train.output_dir={folder}", *more]

    def setup(self, folder: Path, *more: str) -> Setup:
        """The same training in another folder."""
        if more not in self.setups:
            self.setups[more] = prepare(config.load(CONFIG, self.overrides(folder, *more)))
        cfg = copy.deepcopy(self.setups[more].cfg)
        return replace(self.setups[more], cfg=config.override(cfg, [f"train.output_dir={folder}"]))

    def copy(self, folder: Path) -> Run:
        """The run folder again, to be changed."""
        return Run(Path(shutil.copytree(self.run.folder, folder)))


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The training, made once."""
    folder = tmp_path_factory.mktemp("training")
    dog = [polygon(kind="dog")]
    via_json(folder / "data", dog, dog)
    training = Training(folder / "data", Run(folder / "run"))
    train(training.setup(folder / "run"))
    return training
