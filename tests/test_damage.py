"""Whatever happens to the files of a run or of a sweep, a command works or says what is wrong."""

import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pytest
import torch
from streamlit.testing.v1 import AppTest

import roilab.cli.app
from roilab.engine import checkpoint
from roilab.engine.run_folder import Run
from roilab.engine.run_record import write_record
from roilab.engine.train_state import newest
from roilab.errors import UserError
from roilab.sweep import load_sweep, resolve
from roilab.sweep.plan import plan_trials, save_sweep
from roilab.synthetic import FiguresPaths

from . import damage
from .damage import DAMAGES, Outcome, run_script
from .engine.running import CONFIG, overrides, same, shapes, trained
from .sweep.runs import NARROW, Folders, perfect_rows, squares

CASES = int(os.environ.get("ROILAB_FUZZ_DAMAGES", "24"))
CHECKPOINTS = int(os.environ.get("ROILAB_FUZZ_CHECKPOINTS", "50"))
SEED = int(os.environ.get("ROILAB_FUZZ_SEED", "0"))
READ = ("config.yaml", "classes.json", "category_ids.json", "run.json", "model_final.pth")
RESULTS = ("results.json", "coco_instances_results.json", "metrics.json")

STEPS = ("train.max_iter=2", "train.checkpoint_period=1")
ARMS = ("pooler.op=roi_pool,roi_align",)


class Command(NamedTuple):
    """A command on a folder, and the names of the files that it may read."""

    name: str
    run: Callable[[Path], Outcome]
    files: tuple[str, ...]


class Folder(NamedTuple):
    """A sound folder, and the commands on it."""

    path: Path
    commands: tuple[Command, ...]


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, tiny_run: Run, figures: FiguresPaths
) -> dict[str, Folder]:
    """Of a training, of a model with keypoints, and of a sweep."""
    out = tmp_path_factory.mktemp("out")
    data = shapes(out / "shapes", train=2, val=1)
    trained(data, out / "run", *STEPS)
    squares_of_sweep = squares(out / "squares")
    _write_sweep(out / "sweep", squares_of_sweep)
    places = {"config": CONFIG, "sound": tiny_run.folder, "out": out}
    places["image"] = min(figures.val.parent.glob("*.jpg"))

    def command(name: str, files: tuple[str, ...], *words: str) -> Command:
        def run(folder: Path) -> Outcome:
            script, *line = damage.command_line(name, words, run=folder, **places)
            return run_script(script, *line)

        return Command(name, run, files)

    readers = (
        *(command(n, READ) for n in ("demo", "demo --compare", "evaluate", "export")),
        Command("app", open_app, READ),
        *(command(n, ("config.yaml", "run.json")) for n in ("config show", "config diff", "train")),
        command("doctor", (*READ, *RESULTS)),
    )
    words = overrides(data, out / "run", *STEPS)
    checkpoint = "model_0000000.pth"
    trainings = (
        command("resume", (*READ, *RESULTS, checkpoint, "last_checkpoint"), *words),
        command("replay", (checkpoint,), *words),
    )
    cells = (*RESULTS, "config.yaml", "run.json", "cell.json", "model_final.pth", "classes.json")
    arms = (*squares_of_sweep, *NARROW, *ARMS)
    of_sweep = (
        command("sweep", ("cell.json", "results.json", "metrics.json"), *arms),
        command("sweep report", (*cells, "sweep.json")),
    )
    with_skeleton = tuple(reader._replace(files=("skeleton.json",)) for reader in readers)
    return {
        "run": Folder(out / "run", (*readers, *trainings)),
        "keypoints": Folder(tiny_run.folder, with_skeleton),
        "sweep": Folder(out / "sweep", of_sweep),
    }


def open_app(folder: Path) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["app.py", "--runs", str(folder)])
        page = AppTest.from_file(roilab.cli.app.__file__, default_timeout=600).run()
    if page.exception:
        return Outcome(page.exception[0].value, "")
    return Outcome("refused" if page.error else "success", "")


def _write_sweep(folder: Path, places: tuple[str, ...]) -> None:
    """The folder of a sweep of two finished trials."""
    sweep = resolve(load_sweep(CONFIG, [*places, *NARROW, *ARMS]))
    save_sweep(sweep, "the command", folder)
    runs = Folders(places)
    for trial in plan_trials(sweep, folder):
        runs.write(trial, perfect_rows(runs.dataset, 3))


class Case(NamedTuple):
    """A damage of a file, and a command on the folder then.

    Attributes:
        record: it has "digests", none of them in "older" folders, or that of the damaged file,
            which was "accepted".
    """

    kind: str
    command: Command
    file: Path
    damaging: damage.Damage
    record: Literal["digests", "older", "accepted"]

    def __str__(self) -> str:
        damaged = f"{self.damaging.__name__} {self.kind}/{self.file}"
        return f"{damaged}: {self.command.name}, {self.record}"


def cases(folders: dict[str, Folder], count: int, chance: random.Random) -> list[Case]:
    """So many damages of all kinds, three of four of a file that the command may read."""
    grid = [
        Case(kind, command, file.relative_to(folder.path), damaging, record)
        for kind, folder in folders.items()
        for command in folder.commands
        for file in sorted(folder.path.rglob("*"))
        if file.is_file() and "op=roi_align" not in file.parts  # one cell is enough
        for damaging in DAMAGES
        for record in get_args(Case.__annotations__["record"])
    ]
    chance.shuffle(grid)
    read = [case for case in grid if case.file.name in case.command.files]
    others = [case for case in grid if case.file.name not in case.command.files]
    return [*read[: count - count // 4], *others[: count // 4]]


def test_a_command_works_or_says_what_is_damaged(
    folders: dict[str, Folder], tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    counts: Counter[str] = Counter()
    wrong = []
    chosen = cases(folders, CASES, chance)
    for number, case in enumerate(chosen):
        place = tmp_path / str(number)
        damage.copy(folders[case.kind].path, place, str(case.file))
        if case.record == "older":
            damage.forget_digests(place)
        case.damaging(place / case.file, chance)
        if case.record == "accepted":
            damage.accept_damage(place / case.file)
        outcome = case.command.run(place)
        counts[outcome.kind if outcome.kind in ("success", "refused") else "wrong"] += 1
        if outcome.kind not in ("success", "refused"):
            wrong.append(f"{case}: {outcome.kind}")
        shutil.rmtree(place)
    print(f"{len(chosen)} damaged files x commands, seed {SEED}: {dict(counts)}")  # noqa: T201 - what a fuzz is to say
    assert not wrong, "\n".join(wrong)
    assert counts["refused"] > CASES / 4


def test_a_sound_folder_is_not_refused(folders: dict[str, Folder], tmp_path: Path) -> None:
    for kind, folder in folders.items():
        for number, command in enumerate(folder.commands):
            place = damage.copy(folder.path, tmp_path / f"{kind}{number}", "")
            outcome = command.run(place)
            assert outcome.kind == "success", (kind, command.name, outcome)


def test_damaged_checkpoints_are_noticed(tmp_path: Path) -> None:
    """With a digest all are; without one, no tensor is another than it was."""
    chance = random.Random(SEED)
    torch.manual_seed(SEED)
    path, other = tmp_path / "model_final.pth", tmp_path / "model_0000000.pth"
    write_record(tmp_path, {"layout": 1, "files": {}})
    state = {"model": {str(i): torch.randn(50, i + 1) for i in range(20)}, "iteration": 5}
    checkpoint.save_atomically({**state, "iteration": 1}, other)
    checkpoint.save_atomically(state, path)
    assert same(checkpoint.read_checkpoint(path), state)
    content, record = path.read_bytes(), (tmp_path / "run.json").read_bytes()
    kinds = (damage.truncate, damage.flip, damage.zero, damage.randomise, swapped)
    unnoticed = 0
    for number in range(CHECKPOINTS):
        path.write_bytes(content)
        kinds[number % len(kinds)](path, chance)
        if path.read_bytes() == content:  # a block of zeros that was one
            continue
        (tmp_path / "run.json").write_bytes(record)
        with pytest.raises(UserError, match="not as it was written"):
            checkpoint.read_checkpoint(path)
        assert newest(Run(tmp_path)) == other
        if kinds[number % len(kinds)] is swapped:
            continue
        (tmp_path / "run.json").unlink()
        try:
            read = checkpoint.read_checkpoint(path)
        except UserError:
            continue
        unnoticed += 1
        assert same(read, state), number
    said = f"{CHECKPOINTS} damaged checkpoints, seed {SEED}"
    print(f"{said}: without a digest {unnoticed} unnoticed")  # noqa: T201


def swapped(path: Path, chance: random.Random) -> None:
    """Another checkpoint in its place."""
    shutil.copy(path.with_name("model_0000000.pth"), path)
