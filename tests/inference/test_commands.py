"""roilab predict and roilab evaluate as a user calls them, on an untrained model."""

import base64
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from tests.evaluation.test_published import coco_like

from roilab.data.dataset import load_dataset
from roilab.data.mask_to_polygons import read_annotations
from roilab.engine.lock import locked
from roilab.engine.run_folder import Run
from roilab.inference import Predictor, read_rgb
from roilab.skeleton import COCO_PERSON
from roilab.synthetic import FiguresPaths
from roilab.via import Annotations, ImageRecord, LabelRules, build_instances

Script: TypeAlias = Callable[..., Any]  # see the fixture
MEANING: dict[str, Any] = {"classes": ["car", "person"], "skeleton": "coco_person"}


def test_pictures_and_json_of_a_folder_with_a_broken_image(
    predict: Script, tiny_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    images, out = tmp_path / "images", tmp_path / "new" / "pictures"
    shutil.copytree(figures.val.parent, images)
    (images / "000000.jpg").write_bytes(b"no image")
    sample = Predictor.from_run(tiny_run)(read_rgb(images / "000001.jpg"))
    threshold = float(np.median(sample.scores))
    done = predict(images, out, "--limit", 3, "--exact", "--threshold", threshold, status=1)
    assert "1 image left out" in done.stderr
    assert "000000.jpg" in done.stderr
    names = {"000001.jpg", "000002.jpg", "overview.jpg", "predictions.json"}
    assert {path.name for path in out.iterdir()} == names
    with Image.open(out / "000001.jpg") as picture:
        assert picture.size == (3 * 96, 3 * 96)
    with Image.open(out / "overview.jpg") as sheet:
        assert sheet.width > 2 * 3 * 96  # both beside each other
    data = json.loads((out / "predictions.json").read_text())
    assert data["classes"] == ["car", "person"]
    assert data["keypoints"][0] == "nose"
    assert [image["file_name"] for image in data["images"]] == ["000001.jpg", "000002.jpg"]
    instances = [instance for image in data["images"] for instance in image["instances"]]
    assert len(data["images"][0]["instances"]) == len(sample.above(threshold)) < len(sample)
    assert all(instance["score"] >= threshold for instance in instances)
    assert f"{len(instances)} instances" in done.stdout
    assert str(out / "overview.jpg") in done.stdout


def test_predictions_can_be_corrected_and_trained_with(
    predict: Script, tiny_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    images, out = figures.val.parent, tmp_path / "out"
    sample = Predictor.from_run(tiny_run)(read_rgb(images / "000001.jpg"))
    options = ("--limit", 3, "--exact", "--threshold", float(np.median(sample.scores)))
    done = predict(images, out, "--save", "via,via-json,via-csv,coco", *options)
    assert "holes are filled" in done.stderr
    names = {"via_project.json", "via.json", "via.csv", "coco.json"}
    assert {path.name for path in out.iterdir()} == names
    # The project says where its images are.
    project = out / "via_project.json"
    loaded = load_dataset(str(project), **MEANING)
    assert len(loaded) == 3
    least = [min(scores(image), default=2) for image in read_annotations(project).images]
    assert least == sorted(least)
    count = sum(len(record["annotations"]) for record in loaded.records)
    assert count == len(json.loads((out / "coco.json").read_text())["annotations"]) > 0


def test_predictions_are_called_as_in_training_and_can_be_merged(
    predict: Script, script: Script, own_run: Run, figures: FiguresPaths, out: Path, tmp_path: Path
) -> None:
    cfg = OmegaConf.load(own_run.config_file)
    OmegaConf.update(cfg, "data.train.rules.class_attribute", "name")
    own_run.write({own_run.config_file.name: OmegaConf.to_yaml(cfg)})
    attributes = {"shape_attributes": {"name": "rect", "x": 5, "y": 5, "width": 9, "height": 9}}
    regions = [attributes | {"region_attributes": {"name": name}} for name in ("car", "person")]
    train = tmp_path / "train.json"
    entry = {"filename": "old.jpg", "size": 1, "regions": regions, "file_attributes": {}}
    train.write_text(json.dumps({"old.jpg1": entry}))

    options = ("--limit", 2, "--threshold", 0, "--save", "via")
    predict(figures.val.parent, out, *options, run=own_run.folder)
    written = read_annotations(out / "via_project.json")
    assert {"name", "instance", "score"} <= set(written.region_attributes)
    assert "class" not in written.region_attributes
    names = {region.attributes["name"] for image in written.images for region in image.regions}
    assert names <= {"car", "person"}

    more = tmp_path / "more.json"
    script("data", "merge", train, out / "via_project.json", "--output", more)
    before = Counter[tuple[str, str, int]]()
    for annotations in (read_annotations(train), written):
        before += objects(annotations)
    assert before.total() > len(regions)
    assert objects(read_annotations(more)) == before
    assert {name for _, name, _ in before} == {"car", "person"}


def objects(annotations: Annotations) -> Counter[tuple[str, str, int]]:
    """The objects by image, class and number of labelled keypoints."""
    labelled = build_instances(annotations, LabelRules(class_attribute="name"), COCO_PERSON)
    assert not [problem for problem in labelled.problems if problem.severity == "error"]
    return Counter(
        (image.record.filename, instance.label, sum(v > 0 for _, _, v in instance.keypoints or ()))
        for image in labelled.images
        for instance in image.instances
    )


def scores(image: ImageRecord) -> list[float]:
    return [float(str(region.attributes["score"])) for region in image.regions]


def test_demo_refuses_what_cannot_work(
    script: Script, tiny_run: Run, figures: FiguresPaths, out: Path, tmp_path: Path
) -> None:
    images, picture = figures.val.parent, figures.val.parent / "000001.jpg"
    before = picture.read_bytes()
    (tmp_path / "file").write_text("")
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    for run, source, output, named in [
        (tiny_run.folder, images, images, "--output"),
        (tiny_run.folder, picture, images, "--output"),
        (tiny_run.folder, images, tmp_path / "file", "--output"),
        (tiny_run.folder, tmp_path / "broken.jpg", out, "broken.jpg"),
        (tiny_run.folder, tmp_path / "lost", out, "lost"),
        (tmp_path / "no_run", images, out, "no_run"),
    ]:
        done = script("demo", "--run", run, "--input", source, "--output", output, status=2)
        assert done.stderr.startswith("error: "), done.stderr
        assert named in done.stderr
    assert picture.read_bytes() == before


def test_only_an_evaluation_without_overrides_is_the_runs_own(
    script: Script, own_run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "results.json"
    smaller = "evaluation.max_detections=1"
    done = script("evaluate", "--run", own_run.folder, "--output", out, smaller)
    assert not own_run.results_file.exists()
    assert set(json.loads(out.read_text())) == {"bbox", "segm", "keypoints"}
    assert "4 images" in done.stdout
    assert "coco_person" in done.stdout
    assert "area of the mask" in done.stdout
    # What is left out is said at the start and beside the result.
    limit = r"images have more than 1 objects of a class, up to .* are left out by box AP"
    assert len(re.findall(limit, done.stdout)) == 2

    done = script("evaluate", "--run", own_run.folder, "--fast")
    assert "segm AP, fast against exact: " in done.stdout
    assert not own_run.results_file.exists()

    script("evaluate", "--run", own_run.folder)
    assert set(json.loads(own_run.results_file.read_text())) == {"bbox", "segm", "keypoints"}

    done = script("evaluate", "--run", own_run.folder, "data.val.images=nowhere", status=2)
    assert "nowhere" in done.stderr


def test_an_evaluation_with_views_is_compared_and_is_not_the_runs_own(
    script: Script, own_run: Run, tmp_path: Path
) -> None:
    out, page = tmp_path / "results.json", tmp_path / "page.html"
    views = ("--tta-scales", "0.5,1", "--fast", "--output", out, "--html", page)
    done = script("evaluate", "--run", own_run.folder, *views)
    title = "test-time augmentation: scales 0.5, 1, also mirrored"
    assert f"with {title}" in done.stdout
    assert "keypoints AP, fast against exact: " in done.stdout
    lines = [re.split(r" *\| *", line)[1:-1] for line in done.stdout.splitlines()]
    rows = {cells[0]: cells[1:] for cells in lines if len(cells) == 5}
    assert re.fullmatch(r"[-+]\d+\.\d+ to [-+]\d+\.\d+", rows["mask AP"][3])
    assert rows["seconds an image"][2].endswith(" times")
    result = json.loads(out.read_text())
    tta = result.pop("tta")
    assert (tta["scales"], tta["flip"]) == ([0.5, 1], True)
    assert tta["plain"].keys() == result.keys() == {"bbox", "segm", "keypoints"}
    gain = result["segm"]["AP"] - tta["plain"]["segm"]["AP"]
    assert rows["mask AP"][:2] == [f"{part['segm']['AP']:.2f}" for part in (tta["plain"], result)]
    assert tta["differences"]["segm"]["value"] == pytest.approx(gain)
    assert tta["time_ratio"]["low"] <= tta["time_ratio"]["value"] <= tta["time_ratio"]["high"]
    assert "<h2>Test-time augmentation</h2>" in page.read_text()
    assert title in page.read_text()
    assert not own_run.results_file.exists()

    done = script("evaluate", "--run", own_run.folder, "--tta-scales", "1,0", status=2)
    assert "--tta-scales" in done.stderr


def test_predictions_with_views_say_so(
    predict: Script, figures: FiguresPaths, out: Path, tmp_path: Path
) -> None:
    (file, *_) = sorted(figures.val.parent.glob("*.jpg"))
    done = predict(file, out, "--tta", "--tta-no-flip", "--threshold", 0)
    assert "test-time augmentation: scales 0.75, 1, 1.25, not mirrored" in done.stdout
    data = json.loads((out / "predictions.json").read_text())
    assert data["tta"] == {"scales": [0.75, 1, 1.25], "flip": False}
    predict(file, tmp_path / "plain", "--threshold", 0)
    other = json.loads((tmp_path / "plain" / "predictions.json").read_text())
    assert "tta" not in other
    assert other["images"] != data["images"]


def test_page_of_an_evaluation(
    script: Script, own_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "page.html"
    arguments = ("--run", own_run.folder, "--score", 0.4, "--html", out)
    done = script("evaluate", *arguments, "--blank")
    for part in ("keypoint, from 0 to 1: nose", "from score 0.4 on", "background", str(out)):
        assert part in done.stdout
    assert own_run.results_file.exists()  # a page and a score change nothing of the run's own
    page = out.read_text()
    results = json.loads(own_run.results_file.read_text())
    assert f">{results['bbox']['AP']:.1f}</td>" in page
    assert "from score 0.4 on" in page
    for picture in pictures_in(page):
        assert np.isclose(np.array(picture), 110, atol=3).all(axis=2).mean() > 0.2

    script("evaluate", *arguments)
    photographs = pictures_in(out.read_text())
    assert len(photographs) == 4
    for picture in photographs:
        assert np.isclose(np.array(picture), 110, atol=3).all(axis=2).mean() < 0.2


def test_a_published_table_stands_beside_the_results(
    script: Script, own_run: Run, tmp_path: Path
) -> None:
    page, out = tmp_path / "page.html", tmp_path / "out.json"
    done = script("evaluate", "--run", own_run.folder)
    assert "Published results" not in done.stdout
    options = ("--published", "table4", "--output", out, "--html", page, "--blank")
    done = script("evaluate", "--run", own_run.folder, *options)
    keypoints = json.loads(own_run.results_file.read_text())["keypoints"]
    ours = [keypoints[name] for name in ("AP", "AP50", "AP75", "APm", "APl")]
    cells = ["-" if value is None else f"{value:.1f}" for value in ours]
    (row,) = [line for line in done.stdout.splitlines() if "this run" in line]
    assert [cell.strip() for cell in row.strip("|").split("|")] == ["this run", *cells]
    assert done.stdout.index("this run") < done.stdout.index("Published results")
    for text in (done.stdout, page.read_text()):
        assert "CMU-Pose+++" in text
        assert "1703.06870" in text
    assert json.loads(out.read_text())["published"]["rows"]["G-RMI"][0] == 62.4
    no_keypoints = "model.roi_heads.keypoint_in_features=null"
    options = ("--published", "table4", no_keypoints)
    done = script("evaluate", "--run", own_run.folder, *options, status=2)
    assert "--published" in done.stderr
    assert "keypoint AP" in done.stderr


def test_coco_persons_have_their_published_table(
    script: Script, own_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    coco_like(figures, tmp_path, (139, 285, 632, 581929))
    data = ("--data", tmp_path / "coco.json", "--images", tmp_path)
    done = script("evaluate", "--run", own_run.folder, *data)
    assert "CMU-Pose+++" in done.stdout
    done = script("evaluate", "--run", own_run.folder, *data, "dataloader.test.batch_size=2")
    assert "CMU-Pose+++" in done.stdout


def pictures_in(page: str) -> list[Image.Image]:
    """The pictures of a page, of which there is one at least, with the annotated one's size."""
    data = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert data
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in data]


def test_other_data_is_what_the_overrides_name(
    script: Script, own_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    out = tmp_path / "results.json"
    train, val = figures.train, figures.val
    files = ("--data", train, "--images", train.parent)
    done = script("evaluate", "--run", own_run.folder, "--output", out, *files)
    assert "6 images" in done.stdout
    by_flags = json.loads(out.read_text())
    overrides = (f"data.val.files=[{train}]", f"data.val.images={train.parent}")
    script("evaluate", "--run", own_run.folder, "--output", out, *overrides)
    assert json.loads(out.read_text()) == by_flags

    # Two files, each with its folder; options may stand on both sides of an override.
    both = ("--data", train, val, "--images", train.parent, val.parent)
    done = script("evaluate", "dataloader.test.batch_size=2", "--run", own_run.folder, *both)
    assert "10 images" in done.stdout
    assert "not the run's own" in done.stdout
    # One folder is for all files.
    done = script("evaluate", "--run", own_run.folder, *both[:-1])
    assert "10 images" in done.stdout
    # Other images of the same annotations are other data as well, and COCO is read, too.
    coco = tmp_path / "coco.json"
    data = load_dataset(str(val), str(val.parent), **MEANING).coco_json()
    coco.write_text(json.dumps(data))
    for more in (("--images", val.parent), ("--data", coco, "--images", val.parent)):
        done = script("evaluate", "--run", own_run.folder, *more)
        assert "4 images" in done.stdout
    assert not own_run.results_file.exists()


def test_results_have_the_ids_of_the_coco_file(
    predict: Script, script: Script, own_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    """Of other data those of its file; of a demo those that the run was trained with."""
    folder, ids = figures.val.parent, {1: 500, 2: 3}
    data = load_dataset(str(figures.val), str(folder), **MEANING).coco_json()
    for image in data["images"]:
        image["id"] += 70
    for row in data["annotations"]:
        row["image_id"] += 70
        row["category_id"] = ids[row["category_id"]]
    for category in data["categories"]:
        category["id"] = ids[category["id"]]
    coco, out, rows = (tmp_path / name for name in ("coco.json", "results.json", "rows.json"))
    coco.write_text(json.dumps(data))
    data_of = ("--data", coco, "--images", folder)
    script("evaluate", "--run", own_run.folder, *data_of, "--output", out, "--detections", rows)
    truth = COCO(str(coco))
    evaluator = COCOeval(truth, truth.loadRes(str(rows)), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    ours = json.loads(out.read_text())["bbox"]
    assert [ours["AP"], ours["AP50"]] == pytest.approx([100 * ap for ap in evaluator.stats[:2]])

    own_run.write({"category_ids.json": "[500, 3]"})
    options = ("--save", "coco", "--threshold", 0, "--limit", 1)
    predict(folder, tmp_path / "out", *options, run=own_run.folder)
    predictions = json.loads((tmp_path / "out" / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in predictions["categories"]}
    assert names == {500: "car", 3: "person"}
    assert {row["category_id"] for row in predictions["annotations"]} <= set(names)
    assert predictions["annotations"]


def test_evaluation_refuses_what_cannot_work(
    script: Script, tiny_run: Run, figures: FiguresPaths, tmp_path: Path
) -> None:
    for more, named in [
        (("--data", tmp_path / "lost.json"), ("lost.json", "data.val.files")),
        (("--images", tmp_path / "nowhere"), ("nowhere", "data.val.images")),
        (("--data", figures.val, figures.train, "--images", *[tmp_path] * 3), ("one for all",)),
        (("--score", 2), ("--score", "from 0 to 1")),
        (("--score", "nan"), ("--score",)),
        (("--html", tmp_path), ("--html", "a folder")),
    ]:
        done = script("evaluate", "--run", tiny_run.folder, *more, status=2)
        assert all(part in done.stderr for part in named), done.stderr
    assert not tiny_run.results_file.exists()


def test_nothing_is_written_into_a_folder_that_is_trained_in(script: Script, own_run: Run) -> None:
    folder = own_run.folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with locked(own_run.lock_file):
        for command in (("evaluate", "--run", folder), ("doctor", "--run", folder, "--accept")):
            done = script(*command, status=2)
            assert "another process trains in this folder" in done.stderr
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    script("doctor", "--run", folder, "--accept")
