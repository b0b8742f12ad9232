"""Remedies of sweeps."""

import shutil
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from roilab.cli.sweep import train_command
from roilab.engine.lock import locked
from roilab.engine.run_folder import Run
from roilab.reporting.document import write_attachments
from roilab.sweep import Sweep, Trial, check_files_of_folds, load_sweep
from roilab.sweep.plan import Arm, parse_seeds, save_sweep
from roilab.sweep.results import ResultsReader
from roilab.sweep.runner import LOCK, run_trial
from roilab.sweep.state import state_of

from .cases import Attempts, Script, Wrong, case, follow_command, run_remedy, wrong
from .conftest import CONFIG, Training
from .files import polygon, via_json, write

# In place of roilab train: writes what a finished run leaves.
TRAIN = """
import pathlib, sys
options = dict(a.split("=", 1) for a in sys.argv if "=" in a)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
for name in ("config.yaml", "model_final.pth"):
    (folder / name).write_text("")
(folder / "results.json").write_text("{}")
"""


def trial_in(folder: Path, name: str = "a", **more: str) -> Trial:
    """A training of a sweep in this folder."""
    return Trial(Arm(name, CONFIG, ("train.max_iter=7",), {}, **more), 0, folder / name / "seed_0")


def run(one: Trial) -> Wrong:
    """What is wrong when it is trained."""
    script = write(one.folder.parents[1] / "train.py", TRAIN)
    # It starts sooner.
    program = [sys.executable, "-I", "-S", str(script)]
    return wrong(run_trial, one, partial(train_command, program))


@case("delete {}, or choose another folder of the sweep, output=DIR")
def a_folder_of_another_run(training: Training, tmp_path: Path) -> Attempts:
    one = trial_in(tmp_path)
    training.copy(one.folder)
    yield run(one)
    yield run(trial_in(tmp_path / "other"))
    shutil.rmtree(one.folder)
    yield run(one)


@case("choose another folder of the sweep, output=DIR, or delete {}; to see what differs: {}")
def a_trial_of_other_settings(training: Training, tmp_path: Path, script: Script) -> Attempts:
    one = trial_in(tmp_path / "with a space")
    run(one)
    shutil.copy(training.run.config_file, one.folder)
    other = replace(one, arm=replace(one.arm, config="other"))
    first = wrong(state_of, other)
    yield first
    done = follow_command(script, first[0].remedy)
    assert "train.max_iter" in done.stdout
    yield wrong(state_of, replace(other, folder=tmp_path / "other"))
    shutil.rmtree(one.folder)
    yield wrong(state_of, other)


@case("delete {}, which trains it anew")
def a_damaged_record_of_a_trial(tmp_path: Path) -> Attempts:
    one = trial_in(tmp_path)
    run(one)
    write(one.folder / "cell.json", "{")
    yield run(one)
    shutil.rmtree(one.folder)
    yield run(one)
    assert state_of(one).kind == "done"


@case("wait for it, or end it: kill {}")
def a_trial_that_is_being_trained(tmp_path: Path) -> Attempts:
    one = trial_in(tmp_path)
    one.folder.mkdir(parents=True)
    with locked(one.folder / LOCK):
        first = run(one)
    yield first
    yield run(one)


@case("train that arm first, as the same command does; if its weights were deleted, delete {}")
def weights_of_an_arm_that_are_not_there(tmp_path: Path) -> Attempts:
    source, other = trial_in(tmp_path, "b"), trial_in(tmp_path, "a", weights_of="b")
    yield run(other)
    run(source)
    yield run(other)
    shutil.rmtree(other.folder)
    Run(source.folder).weights.unlink()
    assert run(source) == []  # it is done
    assert run(other)
    shutil.rmtree(source.folder)
    run(source)
    yield run(other)


@case(
    "make the folds with roilab data split, as docs/ablations.md says, and name their files in "
    "the sweep"
)
def a_fold_that_is_not_there(tmp_path: Path, script: Script) -> Attempts:
    folds = (("data.train.files=1.json", "data.val.files=2.json"), ())
    sweep = Sweep("sweep.py", (Arm("a", CONFIG, (), {}),), "a", (0,), ("bbox/AP",), "")
    yield wrong(check_files_of_folds, replace(sweep, folds=folds))

    animals = [[polygon(kind="dog")]] * 4
    file = via_json(tmp_path, *animals)
    output = tmp_path / "folds"
    script("data", "split", str(file), "--folds", "2", "--output", str(output))
    parts = ("train", "val")
    folds = tuple(
        tuple(f"data.{part}.files={output}/fold_{fold}/{part}.json" for part in parts)
        for fold in range(2)
    )
    yield wrong(check_files_of_folds, replace(sweep, folds=folds))


@case("choose another folder, output=DIR; only=ARM trains one arm of a sweep")
def a_folder_of_another_sweep(tmp_path: Path, script: Script) -> Attempts:
    arms = [Arm(name, CONFIG, (), {}) for name in ("a", "b")]

    def sweep(*arms: Arm) -> Sweep:
        return Sweep("sweep.py", arms, arms[0].name, (0,), ("bbox/AP",), "")

    save_sweep(sweep(*arms), "first", tmp_path)
    yield wrong(save_sweep, sweep(arms[0]), "second", tmp_path)
    yield wrong(save_sweep, sweep(arms[0]), "second", tmp_path / "other")
    yield wrong(save_sweep, sweep(*arms), "second", tmp_path)
    assert "--only" in script("sweep", "--help").stdout


@case("set it for the sweep: {}")
def a_seed_as_an_override(tmp_path: Path) -> Attempts:
    yield wrong(load_sweep, CONFIG, ["train.max_iter=1,2", "train.seed=3"])
    sweep = load_sweep(CONFIG, ["train.max_iter=1,2"])
    assert replace(sweep, seeds=parse_seeds("3")).seeds == (3,)
    yield []


# Reports.


def evaluated(training: Training, folder: Path) -> Trial:
    """A trial that is the run of the training."""
    one = trial_in(folder / "with a space")
    training.copy(one.folder)
    return one


def collect(one: Trial) -> Wrong:
    """What is wrong when a report reads a trial."""
    return wrong(ResultsReader(["bbox/AP"]).read, one)


@case("correct the metric in the sweep's file; what is trained is not trained again")
def a_metric_of_an_unknown_class(training: Training, tmp_path: Path) -> Attempts:
    one = evaluated(training, tmp_path)
    for metric in ("AP-cat", "AP50-dog", "AP-dog"):
        yield wrong(ResultsReader([f"segm/{metric}"]).read, one)


@case("compute them again: {}")
def detections_that_are_gone(training: Training, tmp_path: Path, script: Script) -> Attempts:
    one = evaluated(training, tmp_path)
    Run(one.folder).detections_file.unlink()
    yield from run_remedy(script, lambda: collect(one))


@case("compute them again: {}")
def detections_that_are_damaged(training: Training, tmp_path: Path) -> Attempts:
    one = evaluated(training, tmp_path)
    file = Run(one.folder).detections_file
    whole = file.read_text()
    for text in (whole[:-2], whole):
        file.write_text(text)
        yield collect(one)


@case("evaluate it again: {}")
def a_result_that_is_damaged(training: Training, tmp_path: Path, script: Script) -> Attempts:
    one = evaluated(training, tmp_path)
    run = Run(one.folder)
    run.write_results({"bbox": {}})
    yield from run_remedy(script, lambda: wrong(run.results))


@case("{}, or put a sound copy in its place; if it is meant to be so: {}")
def a_result_that_is_not_as_it_was_written(
    training: Training, tmp_path: Path, script: Script
) -> Attempts:
    run = Run(evaluated(training, tmp_path).folder)
    write(run.results_file, {"bbox": {"AP": 1.0}})
    first = wrong(run.results)
    yield first
    anew, _, accepting = str(first[0].remedy).partition(", or put")
    assert follow_command(script, anew).returncode == 0
    yield wrong(run.results)
    before = run.results_file.read_text()
    write(run.results_file, {"bbox": {"AP": 1.0}})
    run.results_file.write_text(before)
    yield wrong(run.results)
    write(run.results_file, {"bbox": {"AP": 1.0}})
    assert follow_command(script, accepting).returncode == 0
    yield wrong(run.results)


@case("delete this file: the command of the sweep writes it")
def a_damaged_record_of_a_sweep(tmp_path: Path) -> Attempts:
    sweep = load_sweep(CONFIG, ["train.max_iter=1,2"])
    write(tmp_path / "sweep.json", "{")
    yield wrong(save_sweep, sweep, "the command", tmp_path)
    (tmp_path / "sweep.json").unlink()
    yield wrong(save_sweep, sweep, "the command", tmp_path)


@case("evaluate it anew: {}")
def a_validation_set_that_has_changed(
    training: Training, tmp_path: Path, script: Script
) -> Attempts:
    one = evaluated(training, tmp_path)
    run = Run(one.folder)
    run.write_results({**run.results(), "bbox": {**run.results()["bbox"], "AP": 77.7}})
    yield from run_remedy(script, lambda: collect(one))


@case("if the sweep is yours, write it as a Python file")
def a_sweep_that_is_no_python(tmp_path: Path) -> Attempts:
    base = Path(CONFIG).resolve()
    data = write(tmp_path / "s.yaml", f"sweep: {{base: '{base}', arms: {{a: {{}}}}}}\n")
    yield wrong(load_sweep, data)
    code = write(tmp_path / "s.py", f"sweep = dict(base={str(base)!r}, arms=dict(a={{}}))\n")
    yield wrong(load_sweep, code)


@case("delete the link")
def pictures_of_a_report_that_would_be_elsewhere(tmp_path: Path) -> Attempts:
    kept = write(tmp_path / "home" / "kept.txt", "mine")
    (tmp_path / "plots").symlink_to(kept.parent)
    yield wrong(write_attachments, tmp_path, [])
    assert kept.read_text() == "mine"
    (tmp_path / "plots").unlink()
    yield wrong(write_attachments, tmp_path, [])
    assert kept.read_text() == "mine"
