"""A run that is trained once, and data sets that are registered, for mistakes to be made in."""

import copy
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from omegaconf import DictConfig

from roilab.engine import config
from roilab.engine.run_folder import Run
from roilab.engine.setup import Setup, prepare
from roilab.engine.train import train

from .cases import Command, printed
from .files import image, polygon, skeleton, via_json

CONFIG = "configs/figures_mask.py"
SMALL = (
    "data.rules.class_attribute=kind",
    "data.rules.keypoint_attribute=null",
    "data.rules.instance_attribute=null",
    "data.rules.visibility_attribute=null",
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

    def overrides(self) -> list[str]:
        """The overrides of its command line."""
        files = [f"data.{split}.files={self.data / 'via.json'}" for split in ("train", "val")]
        images = [f"data.{split}.images={self.data}" for split in ("train", "val")]
        return [*files, *images, *SMALL, f"train.output_dir={self.run.folder}"]

    @cached_property
    def config(self) -> DictConfig:
        """The config of its command line, which takes longer to load than all else."""
        return config.load_config(CONFIG, self.overrides())

    def setup(self, folder: Path, *more: str) -> Setup:
        """The same training in another folder."""
        if more not in self.setups:
            self.setups[more] = prepare(config.override(copy.deepcopy(self.config), more))
        cfg = copy.deepcopy(self.setups[more].cfg)
        return replace(self.setups[more], cfg=config.override(cfg, [f"train.output_dir={folder}"]))

    def copy(self, folder: Path) -> Run:
        """The run folder again, to be changed."""
        return Run(Path(shutil.copytree(self.run.folder, folder)))


@pytest.fixture
def script(script: Callable[..., Any]) -> Callable[..., Any]:
    """The fixture of all tests; here a mistake may be printed, and has its exit status."""
    return partial(script, status=None)


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The training, made once."""
    folder = tmp_path_factory.mktemp("training")
    dog = [polygon(kind="dog")]
    via_json(folder / "data", dog, dog)
    training = Training(folder / "data", Run(folder / "run"))
    train(training.setup(folder / "run"))
    return training


@pytest.fixture
def run(training: Training, tmp_path: Path) -> Run:
    """A copy of its run folder, to be changed."""
    return training.copy(tmp_path / "run")


@pytest.fixture
def data(script: Callable[..., Any]) -> Command:
    """A command of roilab data, which returns what it prints."""
    return lambda *arguments: printed(script("data", *arguments))


@pytest.fixture
def dog(tmp_path: Path) -> Path:
    """The file of an image with a dog."""
    return via_json(tmp_path / "dog", [polygon(kind="dog")])


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.fixture
def bones(tmp_path: Path) -> Path:
    """The skeleton file of a dog."""
    return skeleton(tmp_path)


class Registry:
    """Data sets of DatasetCatalog."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: set[str] = set()

    def add(self, dicts: Any, name: str = "dogs", **metadata: Any) -> None:
        """Register dicts, or a function that raises; in the place of others of the name."""

        def function() -> Any:
            if isinstance(dicts, Exception):
                raise dicts
            return dicts

        self.clear()
        self.names.add(name)
        DatasetCatalog.register(name, function)
        MetadataCatalog.get(name).set(**{"thing_classes": ["dog"], **metadata})

    def clear(self) -> None:
        """Forget all that was registered."""
        for name in self.names:
            DatasetCatalog.pop(name, None)
            MetadataCatalog.pop(name, None)
        self.names.clear()

    def dicts(self, **anno: Any) -> list[dict[str, Any]]:
        """One image with a dog."""
        outline = [[20.0, 5.0, 40.0, 5.0, 40.0, 25.0]]
        dog = {"bbox": [20.0, 5.0, 40.0, 25.0], "category_id": 0, "segmentation": outline}
        file = str(image(self.folder / "0.png"))
        annotations = [{**dog, "bbox_mode": BoxMode.XYXY_ABS, **anno}]
        return [{"file_name": file, "image_id": 1, "annotations": annotations}]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """Registers data sets until the test has ended."""
    registry = Registry(tmp_path)
    yield registry
    registry.clear()
