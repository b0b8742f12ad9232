"""A training that is cut and resumed gives the weights of one that was not, to the last bit."""

import json
import re
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest

from roilab.engine import config, train_state
from roilab.engine.checkpoint import save_atomically
from roilab.engine.run_folder import Run
from roilab.engine.train_keys import KEYS, dependent_on
from roilab.errors import UserError

from .running import checkpoint, command, descendants, lines, output, process, same, send, trained

# All that a training's state may hold.
EVERYTHING = (
    "train.max_iter=12",
    "train.checkpoint_period=3",
    "train.eval_period=5",
    "train.ema=0.9",
    "train.best=val_total_loss",
    "train.accumulate=2",
)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory) -> Path:
    """The run that nothing interrupted, in a process of its own."""
    run = tmp_path_factory.mktemp("whole") / "run"
    output(process(command(data, run, *EVERYTHING)))
    return run


def assert_as_whole(run: Path, whole: Path) -> None:
    for name in ("model_final.pth", "model_final_ema.pth", "model_best.pth"):
        assert same(checkpoint(run, name), checkpoint(whole, name)), name
    for name in ("results.json", "results_ema.json", "results_best.json"):
        assert (run / name).read_text() == (whole / name).read_text(), name
    steps = [line["iteration"] for line in lines(run) if "total_loss" in line]
    assert steps == list(range(12)), "each iteration stands once in the log"


def test_a_signal_to_every_process(data: Path, whole: Path, run: Path) -> None:
    """As a scheduler sends it: to the loader's workers, too."""
    workers = "dataloader.train.num_workers=1"
    begun = process(command(data, run, *EVERYTHING, workers), start_new_session=True)
    while len(lines(run)) < 2:
        time.sleep(0.01)
        assert begun.poll() is None
    send(descendants(begun.pid), signal.SIGTERM)
    printed = "".join(output(begun, 143))
    assert "--resume" in printed
    assert "scripts/train.py --config-file" in printed
    last = (run / "last_checkpoint").read_text()
    stopped = checkpoint(run, last)["iteration"]
    assert stopped < 11
    output(process(command(data, run, *EVERYTHING, "--resume")))
    assert_as_whole(run, whole)


def test_a_full_disk_leaves_the_checkpoint_before(data: Path, run: Path) -> None:
    """No file may be larger than the first checkpoint, whose optimizer is still small."""
    trained(data, run, "train.max_iter=1")
    size = (run / "model_final.pth").stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    more = ("--resume", "train.max_iter=3", "train.checkpoint_period=1")
    _, err = output(process(command(data, run, *more), preexec_fn=limit), 2)
    assert "checkpoint cannot be written" in err
    assert "model_final.pth" in err
    assert checkpoint(run)["iteration"] == 0
    assert not list(run.glob(".*"))
    assert trained(data, run, "train.max_iter=3", resume=True)["iteration"] == 2


def test_a_truncated_checkpoint_is_passed_over(data: Path, whole: Path, run: Path) -> None:
    shutil.copytree(whole, run)
    # Cut the two that are furthest, as if the machine had gone down while they were written.
    (run / "model_final.pth").write_bytes((run / "model_final.pth").read_bytes()[:-100])
    (run / "model_0000008.pth").write_bytes(b"")
    for name in ("results.json", "results_ema.json", "model_final_ema.pth"):
        (run / name).unlink()
    newest = train_state.newest(Run(run))
    assert newest is not None
    assert newest.name == "model_0000005.pth"
    printed = "".join(output(process(command(data, run, *EVERYTHING, "--resume"))))
    for name in ("model_final.pth", "model_0000008.pth"):
        assert re.search(rf"{name} cannot be read", printed)
    assert_as_whole(run, whole)


@pytest.mark.parametrize("last", [5, 11])
def test_a_line_that_was_cut_with_the_process(data: Path, whole, run: Path, last: int) -> None:
    """It is written after the checkpoint, and the last one after the evaluation."""
    shutil.copytree(whole, run)
    later = ["model_final.pth", "model_0000008.pth"] if last == 5 else []
    for name in (*later, "results.json", "results_ema.json", "model_final_ema.pth"):
        (run / name).unlink()
    before = (run / "metrics.json").read_text().splitlines(keepends=True)
    kept = [line for line in before if json.loads(line)["iteration"] < last]
    (run / "metrics.json").write_text("".join(kept))
    trained(data, run, *EVERYTHING, resume=True)
    steps = [line for line in lines(run) if "total_loss" in line]
    assert [line["iteration"] for line in steps] == list(range(12))
    measured = checkpoint(run, "model_final.pth" if last == 11 else "model_0000005.pth")["measured"]
    assert measured.items() <= steps[last].items()
    assert ("bbox/AP" in steps[last]) == (last == 11)


def test_nothing_to_resume(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        trained(data, tmp_path / "none", resume=True)


def test_cut_before_the_first_checkpoint(data: Path, run: Path) -> None:
    whole = trained(data, run, "train.max_iter=2")
    for file in (*run.glob("*.pth"), run / "last_checkpoint"):
        file.unlink()
    assert same(trained(data, run, "train.max_iter=2", resume=True), whole)


def test_a_folder_that_holds_a_run(data: Path, run: Path) -> None:
    trained(data, run, "train.max_iter=1")
    with pytest.raises(UserError, match="already holds a run"):
        trained(data, run, "train.max_iter=1")


def test_resuming_another_run(data: Path, run: Path) -> None:
    trained(data, run, "train.max_iter=1")
    with pytest.raises(UserError, match="another config") as error:
        trained(data, run, "train.max_iter=2", "optimizer.lr=0.5", resume=True)
    assert "optimizer.lr" in str(error.value)
    assert "max_iter" not in str(error.value)


def test_every_key_of_train_says_whether_it_may_change() -> None:
    """Those that may change are the last in `configs/common/train.py`, below a heading."""
    keys = [f"train.{name}" for name in config.load_config("configs/figures_mask.py").train]
    assert set(keys) == {key for key in KEYS if key.startswith("train.")}
    dependents = [dependent_on(key) for key in keys]
    assert dependents == sorted(dependents, reverse=True)
    assert dependent_on("evaluation.max_detections") == "evaluation"
    assert dependent_on("model.roi_heads.box_predictor.test_nms_thresh") == "evaluation"
    assert dependent_on("dataloader.train.num_workers") == "nothing"
    assert dependent_on("data.train.files") == "place"
    assert dependent_on("data.train.drop_empty") == "weights"


def test_a_checkpoint_of_another_model(data: Path, run: Path) -> None:
    trained(data, run, "train.max_iter=1")
    state = checkpoint(run)
    name = "backbone.fpn_lateral2.weight"
    state["model"][name] = state["model"][name][:5]
    save_atomically(state, run / "model_final.pth")
    with pytest.raises(UserError, match="of another model") as error:
        trained(data, run, "train.max_iter=2", resume=True)
    assert name in str(error.value)
    save_atomically({"iteration": 4, "model": checkpoint(run)["model"]}, run / "model_final.pth")
    with pytest.raises(UserError, match=r"another model|not hold the state"):
        trained(data, run, "train.max_iter=2", resume=True)


def test_only_so_many_checkpoints_are_kept(data: Path, run: Path) -> None:
    trained(data, run, "train.max_iter=7", "train.checkpoint_period=1", "train.checkpoints_kept=2")
    names = sorted(path.name for path in run.glob("model_*.pth"))
    assert names == ["model_0000004.pth", "model_0000005.pth", "model_final.pth"]
    assert (run / "last_checkpoint").read_text() == "model_final.pth"


def test_results_are_of_the_final_weights(whole: Path) -> None:
    last = lines(whole)[-1]
    results = json.loads((whole / "results.json").read_text())
    assert last["iteration"] == 11
    assert last["bbox/AP"] == results["bbox"]["AP"]
    averaged = json.loads((whole / "results_ema.json").read_text())
    assert last["ema/segm/AP"] == averaged["segm"]["AP"]
