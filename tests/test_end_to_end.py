"""The whole way with the project's own commands: data, training, resuming, evaluation, pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A smaller model than the configs', so that the whole way takes seconds.
TINY = (
    "model.roi_heads.batch_size_per_image=8",
    "model.roi_heads.keypoint_head.conv_dims=[32]",
    "model.roi_heads.mask_head.conv_dims=[32,32]",
    "model.proposal_generator.post_nms_topk=[40,20]",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "train.log_period=1",
    "train.precision=float32",
)


def script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"scripts/{name}.py", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def passed(name: str, *arguments: str | Path) -> str:
    done = script(name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    # What libraries warn of is no news for a user who did nothing wrong.
    assert "Warning: " not in done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole_way") / "figures"
    passed("make_figures", "--out", folder, "--train", 8, "--val", 3, "--size", 128)
    return folder


def of(data: Path, run: Path) -> list[str]:
    """Overrides that point a config at the data and the run folder, as a user gives them."""
    overrides = [f"train.output_dir={run}", *TINY]
    for split in ("train", "val"):
        project, folder = data / split / "via_project.json", data / split
        overrides += [f"data.{split}.files={project}", f"data.{split}.images={folder}"]
    return overrides


def test_whole_way(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = of(data, run)
    config = ("--config-file", "configs/figures_mask_keypoint.py")

    passed("train", *config, "train.max_iter=2", *overrides)
    names = {path.name for path in run.iterdir()}
    assert names >= {
        *("config.yaml", "classes.json", "skeleton.json", "model_final.pth"),
        *("metrics.json", "results.json", "log.txt"),
    }
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert json.loads((run / "classes.json").read_text()) == ["car", "person"]
    trained = json.loads((run / "results.json").read_text())
    assert set(trained) == {"bbox", "segm", "keypoints"}
    names = {"AP", "AP50", "AP75", "APs", "APm", "APl", "AP-person", "AP50-car"}
    assert names <= set(trained["bbox"])
    steps = [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]
    assert [step["iteration"] for step in steps if "total_loss" in step] == [0, 1]

    # Without --resume, a run is never overwritten; with it, it goes on where it stopped.
    again = script("train", *config, "train.max_iter=3", *overrides)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    passed("train", *config, "--resume", "train.max_iter=3", *overrides)
    steps = [json.loads(line) for line in (run / "metrics.json").read_text().splitlines()]
    assert [step["iteration"] for step in steps if "total_loss" in step] == [0, 1, 2]

    # Evaluating the run folder alone gives what the training gave.
    trained = json.loads((run / "results.json").read_text())
    compared = tmp_path / "compared"
    table = passed("evaluate", "--run", run, "--pictures", compared, "--blank")
    assert len(list(compared.glob("00*.jpg"))) == 3
    assert "keypoint" in table
    assert json.loads((run / "results.json").read_text()) == trained

    pictures = tmp_path / "pictures"
    passed("demo", "--run", run, "--input", data / "val", "--output", pictures, "--threshold", 0)
    assert len(list(pictures.glob("00*.*"))) == 3
    assert list(pictures.glob("*.json"))
    passed("export", "--run", run, "--output", tmp_path / "model.pt", "--format", "torchscript")


def test_data_commands_and_a_sweep(data: Path, tmp_path: Path) -> None:
    project, images = data / "val/via_project.json", data / "val"
    passed("data", "check", project, "--images", images)
    passed("data", "draw", project, "--images", images, "--output", tmp_path / "sheets")
    passed("data", "stats", project, "--html", tmp_path / "stats.html")
    split = ("--train", "0.5", "--output", tmp_path / "split")
    passed("data", "split", project, "--images", images, *split)
    overrides = [text for text in of(data, tmp_path) if not text.startswith("train.output_dir")]
    arms = ("pooler.op=roi_pool,roi_align", "train.max_iter=1", *overrides)
    output = tmp_path / "sweep"
    passed("sweep", "configs/figures_mask_keypoint.py", *arms, "--output", output)
    assert "2 of 2 runs are done" in (output / "report.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["data.train.files=missing.json"], "data.train.files"),
        (["data.rules.class_attribute=colour"], "colour"),
        (["data.val.images=nowhere"], "nowhere"),
        (["model.roi_heads.num_classes=7"], "model.roi_heads.num_classes"),
        (["model.roi_heads.keypoint_head.num_keypoints=5"], "num_keypoints"),
        (["data.skeleton=null"], "data.skeleton"),
        (["data.skeleton=missing.json"], "missing.json"),
        (["data.rules.class_map={person: null, car: null}"], "coco_person"),
        (["pooler.op=ROIAlign"], "roi_align"),
        (["train.device=cuda:9"], "cuda:9"),
        (["train.max_iters=3"], "train.max_iter"),
        (["train={max_iters: 3}"], "train.max_iters"),
        (["train=3"], "max_iter"),
        (["~train.max_iter"], "key=value"),
        (["train.max_iter=0"], "train.max_iter"),
        (["train.device=foo"], "foo"),
        (["optimizer.lr=abc"], "optimizer.lr"),
        (["dataloader.train.total_batch_size=0"], "total_batch_size"),
        (["model.roi_heads.box_head.fc_dims=x"], "model"),
    ],
)
def test_mistakes_are_named_before_training(
    data: Path, tmp_path: Path, overrides: list[str], named: str
) -> None:
    """In this process, since starting one a mistake would take minutes."""
    from roilab.engine import config
    from roilab.engine.setup import prepare
    from roilab.engine.train import train
    from roilab.errors import UserError

    def start() -> None:
        everything = [*of(data, tmp_path / "run"), *overrides]
        train(prepare(config.load_config("configs/figures_mask_keypoint.py", everything)))

    with pytest.raises(UserError) as error:
        start()
    assert named in str(error.value)


def test_nothing_to_resume(data: Path, tmp_path: Path) -> None:
    masks = [override for override in of(data, tmp_path / "run") if "keypoint" not in override]
    done = script("train", "--config-file", "configs/figures_mask.py", "--resume", *masks)
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr
    assert "Traceback" not in done.stderr
