"""roilab data augmented draws the batches of roilab train, and refuses what that refuses."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.engine.running import CONFIG, overrides, same, shapes

from roilab.curation import contact_sheets
from roilab.engine import config
from roilab.engine.setup import prepare
from roilab.engine.train import Trainer, train
from roilab.errors import UserError
from roilab.image_files import read_rgb
from roilab.synthetic import FiguresPaths

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def augmented(script: Command) -> Command:
    return partial(script, "data", "augmented")


def plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of a batch as numbers, texts and tensors."""
    truth = item["instances"]
    tensors = {name: truth.get(name).tensor for name in ("gt_boxes",)}
    rings = [ring.tolist() for rings in truth.gt_masks.polygons for ring in rings]
    rest = {name: value for name, value in item.items() if name != "instances"}
    return {**rest, **tensors, "classes": truth.gt_classes, "rings": rings}


def test_the_batches_are_those_of_the_training(
    folder: Path, tmp_path: Path, augmented: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (
        "train.max_iter=3",
        "train.accumulate=2",
        "dataloader.train.repeat_threshold=0.9",
        "dataloader.train.num_workers=1",
    )
    words = overrides(folder, tmp_path / "run", *more)
    trained: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    step, picture = Trainer.step, contact_sheets.item_picture

    def note_step(trainer: Trainer, iteration: int, batches: Any) -> Any:
        trained.extend(plain(item) for batch in batches for item in batch)
        return step(trainer, iteration, batches)

    def note_picture(item: Any, *rest: Any) -> Any:
        drawn.append(plain(item))
        return picture(item, *rest)

    monkeypatch.setattr(Trainer, "step", note_step)
    monkeypatch.setattr(contact_sheets, "item_picture", note_picture)
    train(prepare(config.load_config(CONFIG, words)))
    done = augmented(
        "--config-file", CONFIG, "--output", tmp_path / "sheets", "--batches", 6, *words
    )
    assert len(trained) == 12
    assert all(item["transforms"] in ([], ["RandomFlip"]) for item in drawn)
    assert same(drawn, trained)
    assert "2 batches make one step" in done.stdout


def of_figures(figures: FiguresPaths, *more: str) -> list[str]:
    places = [
        f"data.{split}.{key}"
        for split, file in (("train", figures.train), ("val", figures.val))
        for key in (f"files={file}", f"images={file.parent}")
    ]
    # Such a file is not looked for: no weights are needed.
    weights = "train.init_checkpoint=nowhere/model.pth"
    return [*places, weights, "dataloader.train.num_workers=0", "train.device=cpu", *more]


RESIZE = "detectron2.data.transforms.Resize"
SHEETS = ("--config-file", "figures_mask_keypoint", "--output", "sheets")


def test_a_sheet_for_each_batch(
    figures: FiguresPaths, tmp_path: Path, augmented: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = of_figures(figures, "dataloader.train.total_batch_size=3")
    done = augmented(*SHEETS, "--batches", 3, *words)
    assert "3 sheets, a batch each: sheets" in done.stdout
    sheets = sorted(Path("sheets").iterdir())
    assert [sheet.name for sheet in sheets] == [f"batch_00{number}.jpg" for number in range(3)]
    with Image.open(sheets[0]) as sheet:
        # Three images of 96 pixels, six times as large, under their titles.
        assert 3 * 576 < sheet.width < 3 * 600
        assert 576 < sheet.height < 700
    first = sheets[0].read_bytes()
    assert first != sheets[1].read_bytes()
    Path("sheets/batch_mine.jpg").touch()
    assert "2 earlier ones removed" in augmented(*SHEETS, "--batches", 1, *words).stdout
    assert {path.name for path in Path("sheets").iterdir()} == {"batch_000.jpg", "batch_mine.jpg"}
    assert sheets[0].read_bytes() == first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("train.max_iters=5", "perhaps train.max_iter"),
        ("dataloader.train.augmentations=[{_target_: nowhere.Flip}]", "cannot be built"),
        ("data.skeleton=null", "no skeleton"),
        ("data.augmentation_size=64.5", "a whole number from 1"),
        ("data.augmentation_size=0", "a whole number from 1"),
        ("data.augmentation_size=100000", "a whole number from 1 to 8192"),
        (f"dataloader.train.augmentations=[{{_target_: {RESIZE}, shape: -5}}]", "cannot be loaded"),
    ],
)
def test_what_a_training_refuses(
    figures: FiguresPaths, tmp_path: Path, augmented: Command, monkeypatch, change: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = augmented(*SHEETS, *of_figures(figures, change), status=2)
    assert said in done.stderr
    assert not Path("sheets").exists()


def test_an_image_that_cannot_be_read(
    figures: FiguresPaths, tmp_path: Path, augmented: Command, monkeypatch, caplog
) -> None:
    """It is replaced, as in a training, and named; where there are too many, that is an error."""
    monkeypatch.chdir(tmp_path)

    def read(path: str) -> Any:
        if Path(path).name == "000002.jpg":
            raise UserError("cannot read the image", file=path, found="truncated")
        return read_rgb(path)

    monkeypatch.setattr("roilab.data.loaders.read_rgb", read)
    words = of_figures(figures)
    done = augmented(*SHEETS, *words, status=2)
    assert "too many images cannot be read" in done.stderr
    done = augmented(*SHEETS, *words, "train.max_unreadable=1")
    assert "4 sheets" in done.stdout
    assert "000002.jpg cannot be read (cannot read the image: truncated)" in caplog.text


def test_a_sheet_that_cannot_be_written(
    figures: FiguresPaths, tmp_path: Path, augmented: Command
) -> None:
    (tmp_path / "file").touch()
    words = of_figures(figures)
    output = ("--output", tmp_path / "file" / "sheets")
    done = augmented(*SHEETS[:2], *output, *words, status=2)
    assert "cannot write the sheet" in done.stderr
    assert "--output" in done.stderr


def test_a_config_is_needed(augmented: Command, tmp_path: Path) -> None:
    assert "--config-file" in augmented(status=2).stderr
    done = augmented("--config-file", tmp_path / "none.py", status=2)
    assert "the config file does not exist" in done.stderr
    done = augmented("--config-file", "small_mask", "--batches", 0, status=2)
    assert "'0' is no whole number from 1 on" in done.stderr
