"""roilab config: what it prints, and its exit status."""

from pathlib import Path

import pytest
import yaml

from roilab.cli.config import main
from roilab.engine import config
from roilab.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MASK, KEYPOINT = "configs/figures_mask.py", "configs/figures_keypoint.py"


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_show_prints_what_can_be_loaded_again(capsys, tmp_path) -> None:
    assert call("show", MASK, "train.seed=7", "data.num_classes=2") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["train"]["seed"] == 7
    assert shown["model"]["roi_heads"]["num_classes"] == 2
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(shown))
    assert config.load_config(copy).train.seed == 7


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("train.seed", "0\n"),
        ("pooler.op", "roi_align\n"),
        ("dataloader.train.augmentations.0.horizontal", "true\n"),
    ],
)
def test_show_a_part(capsys, key: str, expected: str) -> None:
    call("show", MASK, "--key", key, "data.num_classes=2")
    assert capsys.readouterr().out == expected


def test_show_names_a_value_that_is_left_open(tmp_path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text('model: {a: [1, "???"]}')
    with pytest.raises(UserError, match="leaves a value open") as error:
        call("show", file)
    assert (error.value.file, error.value.key) == (file, "model.a.1")


def test_show_names_the_nearest_key() -> None:
    with pytest.raises(UserError, match=r"train\.max_iter"):
        call("show", MASK, "--key", "train.max_iters", "data.num_classes=2")


def test_diff_of_overrides(capsys) -> None:
    assert call("diff", MASK, "train.seed=0") == 0
    assert capsys.readouterr().out == ""
    assert call("diff", MASK, "train.seed=7") == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[-1] == ["train.seed", "0", "7"]
    assert len(rows) == 3


def test_diff_of_two_configs_and_of_run_folders(capsys, tmp_path) -> None:
    assert call("diff", MASK, KEYPOINT) == 1
    assert "model.roi_heads.mask_head" in capsys.readouterr().out
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        cfg = config.load_config(
            MASK, ["data.num_classes=2", f"train.output_dir={tmp_path / name}"]
        )
        config.save_config(cfg, tmp_path / name / "config.yaml")
    assert call("diff", tmp_path / "first", tmp_path / "second") == 1
    out = capsys.readouterr().out
    assert "train.output_dir" in out
    assert len(out.splitlines()) == 3


@pytest.mark.parametrize(
    "arguments", [("diff", MASK, "missing.py"), ("show", "missing"), ("show", MASK, "train.x=1")]
)
def test_mistakes(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UserError):
        call(*arguments)
