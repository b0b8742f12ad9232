"""`roilab sweep` with a training that only copies what another one left."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.sweep import runs

from roilab.cli.sweep import main, parameter, train_command
from roilab.errors import UserError
from roilab.sweep import Trial, load_sweep

ROOT = Path(__file__).resolve().parents[2]
FAKE = """
import pathlib, shutil, sys
here = pathlib.Path(__file__).parent
options = dict(a.split("=", 1) for a in sys.argv if "=" in a)
folder = pathlib.Path(options["train.output_dir"].strip("'"))
with (here / "calls").open("a") as calls:
    print(folder, file=calls)
if options["pooler.op"] == "roi_pool" and not (folder / "mended").exists():
    sys.exit("a crash")
for path in (here / "template").iterdir():
    if path.is_file() and path.name != "cell.json":
        shutil.copy(path, folder)
"""


class Sweep:
    """The command with a fake training."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(ROOT)
        train = partial(train_command, (sys.executable, str(folder / "scripts/train.py")))
        monkeypatch.setattr("roilab.cli.sweep.TRAIN", train)
        self.folder = folder
        self.output = folder / "out"

    def __call__(self, *arguments: str, file: str = "configs/figures_mask.py") -> int:
        return main([file, "--output", str(self.output), *arguments])

    def report(self) -> int:
        return main(["report", str(self.output)])

    def calls(self) -> list[str]:
        """The trials that were trained since the last look."""
        path = self.folder / "scripts/calls"
        lines = path.read_text().splitlines() if path.is_file() else []
        path.unlink(missing_ok=True)
        return [str(Path(line).relative_to(self.output)) for line in lines]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text(FAKE)
    return Sweep(tmp_path, monkeypatch)


@pytest.fixture
def template(sweep: Sweep) -> None:
    folders = runs.Folders(runs.squares(sweep.folder / "data"))
    arm = load_sweep("configs/figures_mask.py", ["a.b=1,2"]).arms[0]
    trial = Trial(arm, 0, sweep.folder / "scripts/template")
    folders.write(trial, runs.perfect_rows(folders.dataset, 3))


def test_a_crash_costs_one_trial_and_is_tried_again(sweep: Sweep, template: None, capsys) -> None:
    arguments = ["pooler.op=roi_align,roi_pool", "--seeds", "0,1", "--jobs", "2"]
    assert sweep(*arguments) == 1
    every = [f"op={op}/seed_{seed}" for seed in (0, 1) for op in ("roi_align", "roi_pool")]
    assert sorted(sweep.calls()) == sorted(every)
    report = (sweep.output / "report.md").read_text()
    assert "2 of 4 runs are done" in report
    assert report.count("failed: a crash") == 2
    said = capsys.readouterr().out
    assert "op=roi_pool, seed 1: failed: a crash" in said
    assert "## Mask AP" in said

    for seed in (0, 1):
        (sweep.output / f"op=roi_pool/seed_{seed}/mended").touch()
    assert sweep(*arguments, "--only", "*pool") == 0
    assert sorted(sweep.calls()) == ["op=roi_pool/seed_0", "op=roi_pool/seed_1"]
    assert "4 of 4 runs are done" in (sweep.output / "report.md").read_text()

    for name in ("report.md", "report.csv", "report.tex", "report.html"):
        (sweep.output / name).unlink()
    assert sweep.report() == 0
    assert sweep.calls() == []
    text = (sweep.output / "report.md").read_text()
    assert "not distinguishable with 6 images and 2 seeds" in text
    assert text in capsys.readouterr().out
    assert sweep(*arguments) == 0
    assert sweep.calls() == []


def test_what_would_be_trained(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweep("pooler.op=roi_align,roi_pool", "--dry-run", "--only", "*pool") == 0
    assert "1 of 2 would be trained" in capsys.readouterr().out
    assert sweep.calls() == []
    assert not sweep.output.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["poler.op=roi_align,roi_pool"], "unknown key"),
        (["pooler.op=roi_align,roi_pool", "no.such=1"], "unknown key"),
        (["pooler.op=roi_align"], "several values"),
        (["pooler.op=roi_pool,roi_alignn"], "roi_alignn"),
        (["train.seed=0,1"], "seeds=0"),
        (["pooler.op=roi_pool,roi_align", "--seeds", "x"], "different whole numbers"),
        (["pooler.op=roi_pool,roi_align", "--only", "c"], "no arm has such a name"),
        (["pooler.op=roi_pool,roi_align", "--slurm", "partition"], "parameter cannot be read"),
        (["pooler.op=roi_pool,roi_align", "--slurm", "a=["], "parameter cannot be read"),
    ],
)
def test_a_mistake_costs_no_training(sweep: Sweep, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sweep(*arguments)
    assert sweep.calls() == []
    assert not sweep.output.exists()


def test_a_report_that_cannot_be_written_ends_no_training(
    sweep: Sweep, template: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep.folder / "scripts/template/coco_instances_results.json").unlink()
    with pytest.raises(UserError, match="detections of the run are gone"):
        sweep("train.max_iter=3,4", "pooler.op=roi_align")
    assert sweep.calls() == ["max_iter=3/seed_0", "max_iter=4/seed_0"]
    assert "cannot be written yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("timeout_min=30", 30),
        ("slurm_time=30:00", "30:00"),
        ("slurm_time=1-2:30", "1-2:30"),
        ("slurm_setup=[a, b]", ["a", "b"]),
        ("slurm_use_srun=true", True),
    ],
)
def test_a_parameter_of_slurm(sweep: Sweep, text: str, value: object) -> None:
    assert parameter(text) == (text.partition("=")[0], value)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_ends_a_sweep_ends_its_trainings(tmp_path: Path, number: signal.Signals) -> None:
    """They get their chance to save, as the fake one does."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text(
        "import pathlib, signal, sys, time\n"
        "place = next(a for a in sys.argv if a.startswith('train.output_dir='))\n"
        "folder = pathlib.Path(place.partition('=')[2].strip('\"'))\n"
        "def save(*_):\n    (folder / 'saved').touch()\n    sys.exit(1)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "(folder / 'begun').touch()\ntime.sleep(60)"
    )
    arguments = ["configs/figures_mask.py", "pooler.op=roi_pool,roi_align"]
    script = (
        # The tests may themselves run where signals are ignored, behind nohup or a shell's &.
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys; from roilab.cli import sweep; from roilab.cli.main import run\n"
        f"program = [sys.executable, {str(tmp_path / 'scripts/train.py')!r}]\n"
        "sweep.TRAIN = lambda *arguments: sweep.train_command(program, *arguments)\n"
        f"run('sweep', {[*arguments, '--jobs', '2', '--output', str(tmp_path / 'out')]!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    folders = [tmp_path / f"out/op={op}/seed_0" for op in ("roi_pool", "roi_align")]
    while not all((folder / "begun").exists() for folder in folders):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert b"the same command continues" in said
    assert process.returncode == 128 + number
    assert all((folder / "saved").exists() for folder in folders)


def test_seeds_are_added(sweep: Sweep, template: None) -> None:
    arguments = ["train.max_iter=3,4", "pooler.op=roi_align"]
    assert sweep(*arguments) == 0
    assert sweep(*arguments, "--seeds", "2") == 0
    assert len(sweep.calls()) == 4
    report = (sweep.output / "report.md").read_text()
    assert "4 of 4 runs are done" in report
    assert "--seeds 2" in report
    with pytest.raises(UserError, match="holds another sweep"):
        sweep("train.max_iter=5,6", "pooler.op=roi_align")


def test_a_report_of_no_sweep(sweep: Sweep) -> None:
    with pytest.raises(UserError, match="not the folder of a sweep"):
        sweep.report()
