"""Reports: their numbers against those worked out by hand, and what they say of what is missing."""

import csv
import html
import io
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from tests.evaluation.cityscapes_tree import CASES, write_tree

from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.sweep import State, Sweep, Trial
from roilab.sweep.plan import Arm, plan_trials
from roilab.sweep.report import most_different, write_report
from roilab.sweep.results import ResultsReader
from roilab.sweep.state import state_of

from .runs import CONFIG, IMAGES, Folders, perfect_rows, squares

SPLITS = ("train", "val")
HALF = 100 * 51 / 101  # precision is 1 at the 51 recalls from 0 to 0.5, and 0 at the rest


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(squares(tmp_path_factory.mktemp("data") / "squares"))


def sweep(**more: Any) -> Sweep:
    arms = (
        Arm("pool | max", CONFIG, ("a=1", "k=1"), {"segm/AP": 26.9}),
        Arm("align", CONFIG, ("a=1",), {"segm/AP": 30.2}),
    )
    names = ("AP", "AP50", "AP75")
    metrics = tuple(f"{task}/{name}" for task in ("bbox", "segm") for name in names)
    whole = Sweep("s/squares.py", arms, "pool | max", (0, 1), metrics, "A paper", "Which one?")
    return replace(whole, **more)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> Path:
    """The baseline finds half of the images with both seeds, the other arm all with the first.

    Do not write into the folder.
    """
    folder = tmp_path_factory.mktemp("sweep")
    for trial in plan_trials(sweep(), folder):
        every = trial.arm.name == "align" and trial.seed == 0
        folders.write(trial, perfect_rows(folders.dataset, IMAGES if every else IMAGES // 2))
    return write(sweep(), folder)


def write(of: Sweep, folder: Path, states: Mapping[Trial, State] | None = None) -> Path:
    states = states or {trial: state_of(trial) for trial in plan_trials(of, folder)}
    run = replace(of, commands=("the command",))
    write_report(run, states, folder, ResultsReader(of.metrics))
    return folder


def tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The tables of the Markdown by heading, each row by column; a slash is an escaped bar."""
    text = (folder / "report.md").read_text().replace("\\|", "/")
    result = {}
    for part in text.split("\n## ")[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        rows = [[trial.strip() for trial in line.strip("|").split("|")] for line in lines]
        if rows:
            records = [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
            result[part.splitlines()[0]] = records
    return result


def test_mean_deviation_and_what_was_published(written: Path) -> None:
    pool, align = tables(written)["Mask AP"]
    assert (pool["arm"], pool["runs"], align["arm"]) == ("pool / max", "2 of 2", "align")
    assert pool["AP"] == f"{HALF:.1f} ± 0.0"
    # (100 - HALF) / sqrt(2) is the sample deviation of two values.
    assert align["AP"] == f"{(100 + HALF) / 2:.1f} ± {(100 - HALF) / 2**0.5:.1f}"
    assert align["APl"] == "-"  # there are no such objects
    assert (pool["published AP"], align["published AP"]) == ("26.9", "30.2")
    assert "Published: A paper." in (written / "report.md").read_text()
    assert "published AP" not in tables(written)["Box AP"][0]


def test_differences_have_intervals_and_a_reading(written: Path) -> None:
    rows = tables(written)["Difference to pool | max"]
    assert [row["metric"] for row in rows] == [
        f"{task} {name}" for task in ("box", "mask") for name in ("AP", "AP50", "AP75")
    ]
    # By hand: (100 - HALF) with one seed and 0 with the other; two seeds that differ so much say
    # nothing, since t with one degree of freedom is wide.
    assert {row["difference"] for row in rows} == {f"{(100 - HALF) / 2:+.1f}"}
    low, high = (float(end) for end in rows[0]["95% interval"].split(" to "))
    assert low < -100
    assert high > 100
    reading = f"not distinguishable with {IMAGES} images and 2 seeds"
    assert {row["reading"] for row in rows} == {reading}


def test_the_mean_has_its_interval(written: Path) -> None:
    pool, align = tables(written)["Mask AP"]
    low, high = (float(end) for end in align["95% interval of AP"].split(" to "))
    assert low < (100 + HALF) / 2 < high
    # Two equal seeds: the interval is that of the images, of which half are found.
    low, high = (float(end) for end in pool["95% interval of AP"].split(" to "))
    assert 0 <= low < HALF < high <= 100


def test_the_mean_has_its_interval_also_where_it_is_not_compared(
    written: Path, copied: Path
) -> None:
    folder = write(sweep(metrics=("segm/AP50",)), copied)
    assert tables(folder)["Box AP"] == tables(written)["Box AP"]
    assert [row["metric"] for row in tables(folder)["Difference to pool | max"]] == ["mask AP50"]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory, folders: Folders) -> tuple[Folders, Folders]:
    """The held-out images of two folds."""
    return folders, Folders(squares(tmp_path_factory.mktemp("data") / "others"))


FOLDS = (("data.val.files=0.json",), ("data.val.files=1.json",))


def cross_validated(
    folder: Path, folds: tuple[Folders, Folders], seeds: tuple[int, ...] = (0,)
) -> Sweep:
    """The baseline finds half of the images, the other arm all those of fold 0."""
    of = sweep(folds=FOLDS, seeds=seeds)
    for trial in plan_trials(of, folder):
        assert trial.fold is not None
        every = trial.arm.name == "align" and trial.fold == 0
        data = folds[trial.fold]
        data.write(trial, perfect_rows(data.dataset, IMAGES if every else IMAGES // 2))
    return of


def test_a_cross_validation_is_the_mean_over_folds(
    tmp_path: Path, folds: tuple[Folders, Folders]
) -> None:
    write(cross_validated(tmp_path, folds), tmp_path)
    report = tables(tmp_path)
    pool, align = report["Mask AP"]
    assert (pool["runs"], pool["AP"]) == ("1 of 1", f"{HALF:.1f}")
    assert align["AP"] == f"{(100 + HALF) / 2:.1f}"
    assert report["Mask AP by IoU threshold"][1]["0.50"] == f"{(100 + HALF) / 2:.1f}"
    assert report["AP of each class"][1]["mask, bar"] == f"{(100 + HALF) / 2:.1f}"
    (row,) = [r for r in report["Difference to pool | max"] if r["metric"] == "mask AP"]
    assert row["difference"] == f"{(100 - HALF) / 2:+.1f}"
    # The folds' images are drawn by themselves: the mean varies less than that of a fold would.
    low, high = (float(end) for end in row["95% interval"].split(" to "))
    assert 0 < low < (100 - HALF) / 2 < high < (100 - 0) / 2
    text = (tmp_path / "report.md").read_text()
    assert "4 of 4 runs are done" in text
    assert "A cross-validation with 2 folds" in text
    runs = [(row["arm"], row["fold"], row["seed"]) for row in report["Runs"]]
    assert runs == [(arm, fold, "0") for fold in "01" for arm in ("pool / max", "align")]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "report.csv").read_text())))
    assert {row["fold"] for row in rows} == {"0", "1"}
    assert list(rows[0])[:3] == ["arm", "fold", "seed"]


def test_an_arm_counts_when_all_its_folds_are_done(
    tmp_path: Path, folds: tuple[Folders, Folders]
) -> None:
    of = cross_validated(tmp_path, folds, seeds=(0, 1))
    for name in ("results.json", "model_final.pth"):
        (tmp_path / "align/fold_1/seed_1" / name).unlink()
    write(of, tmp_path)
    rows = tables(tmp_path)["Mask AP"]
    assert [row["runs"] for row in rows] == ["2 of 2", "1 of 2"]
    assert {row["seeds"] for row in tables(tmp_path)["Difference to pool | max"]} == {"1"}
    assert "7 of 8 runs are done" in (tmp_path / "report.md").read_text()


def test_seeds_that_agree_are_better(tmp_path: Path, folders: Folders) -> None:
    for trial in plan_trials(sweep(), tmp_path):
        count = IMAGES if trial.arm.name == "align" else IMAGES // 2
        folders.write(trial, perfect_rows(folders.dataset, count))
    write(sweep(metrics=("segm/APs",)), tmp_path)
    (row,) = tables(tmp_path)["Difference to pool | max"]
    assert (row["metric"], row["reading"]) == ("mask APs", "better")
    assert row["difference"] == f"{100 - HALF:+.1f}"
    write(sweep(seeds=(1,)), tmp_path)
    assert "There is one seed (1)" in (tmp_path / "report.md").read_text()
    rows = tables(tmp_path)["Difference to pool | max"]
    assert {row["reading"] for row in rows} == {"better with this 1 seed"}


def test_what_is_behind_it(written: Path, folders: Folders) -> None:
    report = tables(written)
    assert report["Mask AP by IoU threshold"][1]["0.50"] == f"{(100 + HALF) / 2:.1f}"
    assert report["AP of each class"][0]["mask, bar"] == f"{HALF:.1f} ± 0.0"
    parameters = sum(parameter.numel() for parameter in folders.model.parameters())
    for row in report["Cost"]:
        assert row["parameters, M"] == f"{parameters / 1e6:.2f}"
        assert float(row["GFLOP an image"]) > 0
        # The median of 0.25, 0.75 and 0.5 seconds, of each run; the largest of 1.5 and 1.25 GiB.
        assert row["s a training step"] == "0.500"
        assert row["ms an image, inference"] == "125.0"
        assert row["memory of the training, GiB"] == "1.50"
    assert list(report["Arms"][0]) == ["arm", "config", "overrides", "weights of"]
    assert list(report["Arms"][0].values()) == ["pool / max", CONFIG, "k=1", "-"]
    assert report["Arms"][1]["overrides"] == "-"
    assert list(report["Runs"][0]) == ["arm", "seed", "iterations", "time", "state"]
    assert list(report["Runs"][0].values()) == ["pool / max", "0", "50", "0:01:01", "done"]
    text = (written / "report.md").read_text()
    for words in ("Which one?", "`the command`", "4 of 4 runs are done", "All of them: `a=1`"):
        assert words in text


def test_pictures_are_of_the_images_where_the_arms_differ(written: Path) -> None:
    text = (written / "report.md").read_text()
    # With one seed of two the second half is found: 100 against 0, on average 50.
    assert re.findall(r"(\d)\.png: per-image AP@0\.5 \+50 with align", text) == ["3", "4", "5"]
    pictures = sorted((written / "pictures").iterdir())
    assert [path.name for path in pictures] == ["1.jpg", "2.jpg", "3.jpg"]
    for plot in (written / "plots").iterdir():
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")
    with Image.open(pictures[0]) as picture:
        assert picture.width > 4 * 64  # four in a row, enlarged
    for link in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (written / link).is_file()


def test_csv_has_every_figure(written: Path, folders: Folders) -> None:
    rows = list(csv.DictReader(io.StringIO((written / "report.csv").read_text())))
    for trial in plan_trials(sweep(), written):
        results = json.loads((trial.folder / "results.json").read_text())
        values = {
            (row["task"], row["metric"]): float(row["value"]) if row["value"] else None
            for row in rows
            if (row["arm"], row["seed"]) == (trial.arm.name, str(trial.seed))
        }
        assert values == {(t, m): v for t, aps in results.items() for m, v in aps.items()}


def test_the_page_stands_alone(written: Path) -> None:
    text = (written / "report.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in links)
    assert sum(link.startswith("data:") for link in links) == 3
    assert "<code>the command</code>" in text
    assert text.count("<svg") == 3  # differences, thresholds of boxes and of masks
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert set(tables(written)) <= set(map(html.unescape, headings))


def test_latex_has_the_tables(written: Path) -> None:
    text = (written / "report.tex").read_text()
    assert text.count("\\toprule") == text.count("\\bottomrule") == len(tables(written))
    assert "$\\pm$" in text
    assert "±" not in text


def test_the_same_runs_give_the_same_report(written: Path, copied: Path) -> None:
    write(sweep(), copied)
    for path in written.rglob("*"):
        if path.suffix in (".md", ".html", ".svg", ".jpg", ".tex", ".csv"):
            assert (copied / path.relative_to(written)).read_bytes() == path.read_bytes()


def test_an_unfinished_sweep(tmp_path: Path, folders: Folders) -> None:
    trials = plan_trials(sweep(), tmp_path)
    states = {trial: State("open") for trial in trials}
    write(sweep(), tmp_path, states)
    assert "0 of 4 runs are done" in (tmp_path / "report.md").read_text()
    assert "Mask AP" not in tables(tmp_path)
    folders.write(trials[1], perfect_rows(folders.dataset, IMAGES))
    states[trials[0]] = State("failed", error="out | of memory")
    states[trials[1]] = state_of(trials[1])
    write(sweep(), tmp_path, states)
    kinds = [row["state"] for row in tables(tmp_path)["Runs"]]
    assert kinds == ["failed: out / of memory", "done", "open", "open"]
    assert [row["AP"] for row in tables(tmp_path)["Mask AP"]] == ["-", "100.0"]
    assert "Difference to pool | max" not in tables(tmp_path)


def test_arms_are_compared_in_what_both_have(tmp_path: Path, folders: Folders) -> None:
    trials = plan_trials(sweep(), tmp_path)
    for trial in trials:
        folders.write(trial, perfect_rows(folders.dataset, IMAGES))
        if trial.arm.name == "align":
            run = Run(trial.folder)
            run.write_results({"bbox": run.results()["bbox"]})
    write(sweep(), tmp_path)
    assert tables(tmp_path)["Mask AP"][1]["runs"] == "0 of 2"
    rows = tables(tmp_path)["Difference to pool | max"]
    assert [row["metric"] for row in rows] == ["box AP", "box AP50", "box AP75"]


def other_data(folder: Path, trials: list[Trial], folders: Folders, shift: int) -> None:
    """As many images, whose regions are elsewhere; and an AP that is of these."""
    path = folder / "other.json"
    entries = json.loads(Path(folders.cfg.data.val.files).read_text())
    for entry in entries.values():
        for region in entry["regions"]:
            shape = region["shape_attributes"]
            shape["all_points_y"] = [y + shift for y in shape["all_points_y"]]
    path.write_text(json.dumps(entries))
    for trial in trials:
        text = Run(trial.folder).config_file.read_text()
        text = text.replace(folders.cfg.data.val.files, str(path))
        Run(trial.folder).write({"config.yaml": text})


def test_arms_on_other_data_are_not_compared(tmp_path: Path, folders: Folders) -> None:
    trials = plan_trials(sweep(), tmp_path / "out")
    for trial in trials:
        folders.write(trial, perfect_rows(folders.dataset, IMAGES))
    # One pixel: the AP is not the same, so it is told anew.
    other_data(tmp_path, trials[1::2], folders, 1)
    rows = json.loads((trials[1].folder / "coco_instances_results.json").read_text())
    for row in rows:
        row["bbox"][1] += 1
    for trial in trials[1::2]:
        run = Run(trial.folder)
        run.write({run.detections_file.name: json.dumps(rows)})
        run.write_results({"bbox": run.results()["bbox"]})
    write(sweep(), tmp_path / "out")
    assert "Difference to pool | max" not in tables(tmp_path / "out")


def test_data_that_has_changed_is_said(copied: Path, tmp_path: Path, folders: Folders) -> None:
    other_data(tmp_path, plan_trials(sweep(), copied), folders, 9)
    with pytest.raises(UserError, match=r"(?s)validation set has changed.*roilab evaluate"):
        write(sweep(), copied)


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """A copy of the folder, which the test may write into."""
    return Path(shutil.copytree(written, tmp_path / "again"))


def test_runs_without_weights_have_no_cost(written: Path, copied: Path) -> None:
    for path in copied.rglob("*.pth"):
        path.unlink()
    write(sweep(), copied)
    (pool, _) = tables(copied)["Cost"]
    assert (pool["parameters, M"], pool["s a training step"]) == ("-", "0.500")
    assert tables(copied)["Mask AP"] == tables(written)["Mask AP"]


def test_pictures_are_of_the_seeds_that_both_have(tmp_path: Path, folders: Folders) -> None:
    trials = plan_trials(sweep(), tmp_path)
    for trial in trials:
        every = trial.arm.name == "align" or trial.seed == 0
        if (trial.arm.name, trial.seed) != ("align", 0):
            folders.write(trial, perfect_rows(folders.dataset, IMAGES if every else 3))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/9.jpg").write_text("of an earlier report")
    write(sweep(), tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "Drawn is seed 1" in text
    # Against the baseline's seed 1, which has found half; with seed 0 it found all.
    assert text.count("per-image AP@0.5 +100 with align") == 3
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == ["1.jpg", "2.jpg", "3.jpg"]
    assert {row["seeds"] for row in tables(tmp_path)["Difference to pool | max"]} == {"1"}


def test_data_that_is_gone_is_said(copied: Path) -> None:
    for trial in plan_trials(sweep(), copied):
        text = Run(trial.folder).config_file.read_text()
        Run(trial.folder).write({"config.yaml": text.replace("via.json", "gone.json")})
    with pytest.raises(UserError, match=r"gone\.json"):
        write(sweep(), copied)


def test_detections_that_are_gone_are_said(copied: Path) -> None:
    (copied / "align/seed_0/coco_instances_results.json").unlink()
    with pytest.raises(UserError, match=r'(?s)detections.*roilab evaluate run=".*align/seed_0"'):
        write(sweep(), copied)


def test_images_that_differ_most() -> None:
    one = [[0.0, 50.0, None, 100.0], [0.0, 50.0, None, 100.0]]
    other = [[0.0, 90.0, None, 0.0], [0.0, 70.0, None, 50.0]]
    assert most_different(one, other, 5) == [(3, -75.0), (1, 30.0)]
    assert most_different(one, other, 1) == [(3, -75.0)]


def test_cityscapes_stands_in_the_columns_of_its_table(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", CASES["both"])
    labels = tmp_path / "tree" / "gtFine" / "val"
    places = [(f"data.{split}.files={labels}", f"data.{split}.images=null") for split in SPLITS]
    folders = Folders(tuple(text for pair in places for text in pair))
    keys = ("image_id", "category_id", "bbox", "segmentation")
    exact = [
        {**{key: anno[key] for key in keys}, "score": 0.9}
        for anno in folders.dataset.coco_json()["annotations"]
    ]
    one_seed = sweep(seeds=(0,), metrics=("segm/AP",))
    for trial in plan_trials(one_seed, tmp_path):
        is_all = trial.arm.name == "align"
        folders.write(trial, exact if is_all else [row for row in exact if row["image_id"] < 3])
    write(one_seed, tmp_path)
    parts = tables(tmp_path)
    pool, align = parts["Masks by the rules of Cityscapes, as Table 7 of Mask R-CNN has them"]
    assert list(align)[:4] == ["", "AP val", "AP50", "person"]
    assert align.pop("") == "align"
    assert align.pop("rider") == "-"  # without an object that counts
    assert set(align.values()) == {"100.0"}
    assert 0 < float(pool["AP val"]) < 100
    # By the same rules as the difference.
    (row,) = parts["Difference to pool | max"]
    assert row["difference"] == f"{100 - float(pool['AP val']):+.1f}"
    assert parts["Published results"][-1]["AP val"] == "36.4"
