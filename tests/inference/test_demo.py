"""roilab predict on videos, on images of all kinds, on what is broken: an untrained model."""

import csv
import itertools
import json
import os
import shutil
import signal
import threading
import warnings
import weakref
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import pytest
from PIL import Image

from roilab import via
from roilab.cli.console import set_up
from roilab.data.dataset import load_dataset
from roilab.draw import side_by_side
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.inference import draw_prediction, read_rgb, sinks
from roilab.inference.prefetch import THREAD
from roilab.inference.video import probe, read_video, video_writer
from roilab.synthetic import FiguresPaths

Script: TypeAlias = Callable[..., Any]  # see the fixture
RATE = Fraction(12)


@pytest.fixture
def film(figures: FiguresPaths, tmp_path: Path) -> Path:
    """Six frames, over which an image of the sample set moves."""
    scene = read_rgb(figures.val.parent / "000001.jpg")
    path = tmp_path / "film.mp4"
    with video_writer(path, RATE, 1 / RATE) as add:
        for index in range(6):
            add(np.roll(scene, 2 * index, axis=1), float(index / RATE))
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_all_of_a_video(predict: Script, film: Path, out: Path) -> None:
    kinds = "video,json,csv,coco,via"
    done = predict(film, out, "--threshold", 0.3, "--save", kinds, "--batch", 4, "--smooth")
    files = {"film.mp4", "predictions.json", "predictions.csv", "coco.json", "via_project.json"}
    assert {path.name for path in out.iterdir()} == {*files, "frames"}
    assert all(str(out / name) in done.stdout for name in files)
    assert "6 frames" in done.stdout

    info = probe(out / "film.mp4")
    assert (info.rate, info.frames) == (RATE, 6)
    times = [seconds for _, seconds in read_video(out / "film.mp4")]
    assert times == pytest.approx([index / 12 for index in range(6)])

    data = json.loads((out / "predictions.json").read_text())
    assert data["frames_per_second"] == 12
    assert [image["frame"] for image in data["images"]] == list(range(6))
    assert [image["time"] for image in data["images"]] == pytest.approx(times, abs=1e-6)
    assert {image["file_name"] for image in data["images"]} == {"film.mp4"}
    instances = [instance for image in data["images"] for instance in image["instances"]]
    assert instances
    # An object keeps its number, and no two of a frame have the same.
    for image in data["images"]:
        tracks = [instance["track"] for instance in image["instances"]]
        assert len(set(tracks)) == len(tracks)
    assert len({instance["track"] for instance in instances}) < len(instances)

    frames = [f"film_{index:06}.jpg" for index in range(6)]
    assert sorted(path.name for path in (out / "frames").iterdir()) == frames
    coco = json.loads((out / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"frames/{name}" for name in frames]
    assert [image["frame"] for image in coco["images"]] == list(range(6))
    assert [row["track_id"] for row in coco["annotations"]] == [item["track"] for item in instances]
    # Both are found again with their frames, as data to train with.
    for name in ("coco.json", "via_project.json"):
        folder = {"coco.json": str(out)}.get(name)  # the project says where they are
        loaded = load_dataset(str(out / name), folder, classes=["car", "person"])
        assert len(loaded) == 6
        assert sum(len(record["annotations"]) for record in loaded.records) == len(instances)
    project = via.read(out / "via_project.json")
    assert project.default_path == f"{(out / 'frames').resolve()}{os.sep}"
    saved = read_rgb(out / "frames" / frames[3])
    shown = next(itertools.islice(read_video(film), 3, None))[0]
    assert np.abs(saved.astype(int) - shown).mean() < 4


def test_the_table_has_what_the_json_has(
    predict: Script, figures: FiguresPaths, film: Path, tmp_path: Path
) -> None:
    for source in (film, figures.val.parent):
        out = tmp_path / f"of_{source.name}"
        predict(source, out, "--threshold", 0.3, "--save", "json,csv", "--limit", 3)
        data = json.loads((out / "predictions.json").read_text())
        pairs = [(image, instance) for image in data["images"] for instance in image["instances"]]
        table = rows(out / "predictions.csv")
        assert len(table) == len(pairs) > 0
        for row, (image, instance) in zip(table, pairs, strict=True):
            assert row["file_name"] == image["file_name"]
            assert row["class"] == instance["class"]
            for name, value in (
                *((key, image.get(key)) for key in ("frame", "time")),
                *((key, instance.get(key)) for key in ("track", "score")),
                *zip(("x", "y", "width", "height"), instance["bbox"], strict=True),
            ):
                assert row[name] == "" if value is None else float(row[name]) == near(value)
            keypoints = dict(zip(data["keypoints"], instance.get("keypoints", ()), strict=False))
            for name in data["keypoints"]:
                cells = [row[f"{name}_{part}"] for part in ("x", "y", "score")]
                if keypoints:
                    assert [float(cell) for cell in cells] == near(keypoints[name])
                else:
                    assert cells == ["", "", ""]


def near(value: Any) -> Any:
    return pytest.approx(value, abs=1e-4)


def test_pictures_of_two_runs_stand_beside_the_image(
    predict: Script, tiny_run: Run, figures: FiguresPaths, film: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.symlink_to(tiny_run.folder)
    sizes = {}
    for name, more in (("one", ()), ("both", ("--compare", other))):
        options = ("--threshold", 0.3, *more)
        predict(figures.val.parent, tmp_path / name, "--limit", 1, *options)
        done = predict(film, tmp_path / name, "--save", "video", "--limit", 2, *options)
        assert ("in the pictures alone" in done.stdout) == (name == "both")
        (first, *_) = (image for image, _ in read_video(tmp_path / name / "film.mp4"))
        sizes[name] = first.shape[1], Image.open(tmp_path / name / "000000.jpg").width
    assert all(3 < both / one < 3.3 for one, both in zip(*sizes.values(), strict=True))
    one, both = (tmp_path / name / "predictions.json" for name in ("one", "both"))
    assert one.read_text() == both.read_text()


def test_two_weights_of_a_run_are_called_by_their_names(
    predict: Script,
    tiny_run: Run,
    figures: FiguresPaths,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = shutil.copytree(tiny_run.folder, tmp_path / "run")
    shutil.copy(run / "model_final.pth", run / "model_best.pth")
    titles = []

    def beside(pictures: Any, names: list[str]) -> Any:
        titles.append(names)
        return side_by_side(pictures, names)

    monkeypatch.setattr("roilab.inference.sinks.side_by_side", beside)
    weights = ("--weights", "model_best.pth", "--compare", run)
    predict(figures.val.parent, out, "--limit", 1, *weights, run=run)
    assert titles == [["original", "run model_best", "run model_final"]]


def test_batches_change_nothing(predict: Script, figures: FiguresPaths, tmp_path: Path) -> None:
    by_batch = []
    for batch in (1, 3):
        options = ("--threshold", 0.3, "--save", "json", "--exact", "--batch", batch)
        predict(figures.val.parent, tmp_path, *options)
        data = json.loads((tmp_path / "predictions.json").read_text())
        by_batch.append([instance for image in data["images"] for instance in image["instances"]])
    assert len(by_batch[0]) == len(by_batch[1]) > 0
    for one, other in zip(*by_batch, strict=True):
        assert one["class"] == other["class"]
        assert one["bbox"] == near(other["bbox"])


def test_images_of_all_kinds(predict: Script, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    (images / "more").mkdir(parents=True)
    scene = Image.effect_noise((40, 30), 80)
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.save(images / "turned.jpg", exif=exif)
    for mode, name in (
        *(("1", "a.png"), ("L", "b.jpg"), ("RGBA", "c.png"), ("P", "d.gif"), ("CMYK", "e.jpg")),
        *(("I;16", "f.png"), ("I;16", "g.tif"), ("LA", "h.png"), ("RGB", "more/a.png")),
    ):
        scene.convert("I" if mode == "I;16" else mode).convert(mode).save(images / name)
    Image.new("RGB", (1, 1)).save(images / "i.png")
    Image.new("1", (20_000, 20_000)).save(images / "j.png")
    (images / "k.jpg").write_bytes((images / "b.jpg").read_bytes()[:400])
    (images / "notes.txt").write_text("")
    sources = (images, images / "more" / "*")
    done = predict(sources, out, "--save", "picture,json,via", status=1)
    assert "2 images left out" in done.stderr
    assert all(name in done.stderr for name in ("j.png", "too many pixels", "remedy", "k.jpg"))
    data = json.loads((out / "predictions.json").read_text())
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in data["images"]}
    assert len(sizes) == 11
    assert sizes["turned.jpg"] == (30, 40)
    assert sizes["i.png"] == (1, 1)
    assert set(sizes.values()) == {(40, 30), (30, 40), (1, 1)}
    assert "more/a.png" in sizes
    assert len(list(out.glob("*.jpg"))) == 11 + 1
    assert len(load_dataset(str(out / "via_project.json"), classes=["car", "person"])) == 11


def test_many_broken_images_are_all_named(predict: Script, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    broken = [images / f"broken_{index}.jpg" for index in range(8)]
    for path in broken:
        path.write_bytes(b"no image")
    done = predict(images, out, status=2)
    assert "none of the 8 images" in done.stderr
    assert all(str(path) in done.stderr for path in broken)
    assert not list(out.iterdir())
    Image.new("RGB", (8, 8)).save(images / "whole.png")
    done = predict(images, out, status=1)
    assert "8 images left out" in done.stderr
    assert all(str(path) in done.stderr for path in broken)


def test_a_large_image_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns from half of the size on that is refused."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_rgb(tmp_path / "a.png")
        assert len(caught) == 1
        set_up()
        read_rgb(tmp_path / "a.png")
        assert len(caught) == 1


def test_a_name_that_is_no_unicode(predict: Script, out: Path, tmp_path: Path) -> None:
    image = tmp_path / os.fsdecode(b"a\xff.png")
    try:
        Image.new("RGB", (40, 30), (200, 90, 30)).save(image)
    except OSError:
        pytest.skip("there are no such names here")
    predict(image, out, "--threshold", 0.3, "--save", "json,csv")
    data = json.loads((out / "predictions.json").read_text())
    assert [entry["file_name"] for entry in data["images"]] == [image.name]
    table = rows(out / "predictions.csv")
    assert len(table) == len(data["images"][0]["instances"]) > 0
    assert {row["file_name"] for row in table} == {"a\\udcff.png"}


@pytest.mark.parametrize("share", [0.8, 0.3])
def test_a_video_that_breaks_off(
    script: Script, tiny_run: Run, tmp_path: Path, share: float
) -> None:
    film, out = tmp_path / "cut.mp4", tmp_path / "out"
    noise = np.random.default_rng(0)
    with video_writer(film, RATE, 1 / RATE) as add:
        for index in range(8):
            add(noise.integers(0, 256, (64, 64, 3), np.uint8), float(index / RATE))
    content = film.read_bytes()
    film.write_bytes(content[: int(len(content) * share)])
    arguments = ("--run", tiny_run.folder, "--input", film, "--output", out)
    done = script("demo", *arguments, "--save", "video,json", status=None)
    assert "cut.mp4" in done.stderr
    if done.returncode == 2:  # not one frame
        assert share < 0.5
        assert not out.exists() or not list(out.iterdir())
        return
    assert done.returncode == 1
    data = json.loads((out / "predictions.json").read_text())
    count = len(data["images"])
    assert 0 < count < 8
    assert f"{count} frames can be read" in done.stderr
    assert len(list(read_video(out / "cut.mp4"))) == count
    assert {path.name for path in out.iterdir()} == {"cut.mp4", "predictions.json"}


def test_ctrl_c_keeps_what_was_found(
    predict: Script, film: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = list(read_video(film))

    def endless(path: object) -> Any:
        for index in itertools.count():
            if index == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield frames[index % 6][0], index / 12

    monkeypatch.setattr("roilab.inference.sources.read_video", endless)
    done = predict(film, out, "--save", "video,json,csv", status=130)
    assert "interrupted after" in done.stderr
    count = len(json.loads((out / "predictions.json").read_text())["images"])
    assert 0 < count < 20
    assert len(list(read_video(out / "film.mp4"))) == count
    assert {path.suffix for path in out.iterdir()} == {".mp4", ".json", ".csv"}
    assert THREAD not in {thread.name for thread in threading.enumerate()}


def test_an_error_leaves_nothing_half_written(
    predict: Script, film: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.mkdir()
    (out / "predictions.json").write_text("old")
    written = itertools.count()

    def full(*_: object) -> None:
        if next(written) == 3:
            raise OSError(28, "No space left on device", "frames/x.jpg")

    monkeypatch.setattr("roilab.inference.sinks.write_whole", full)
    done = predict(film, out, "--save", "picture,video,json,csv", status=2)
    assert "No space left" in done.stderr
    assert [path.name for path in out.iterdir()] == ["predictions.json"]
    assert (out / "predictions.json").read_text() == "old"
    assert THREAD not in {thread.name for thread in threading.enumerate()}


def test_an_error_of_writing_ends_it_where_a_large_image_waits(
    predict: Script, figures: FiguresPaths, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "x.jpg")

    monkeypatch.setattr("roilab.cli.predict.LARGE", 0)
    monkeypatch.setattr("roilab.inference.rendering.write_whole", full)
    done = predict(figures.val.parent, out, "--save", "picture", "--batch", 1, status=2)
    assert "No space left" in done.stderr


@pytest.mark.parametrize("kind", ["json", "csv", "coco", "picture"])
def test_a_file_that_may_not_be_written_is_named(
    predict: Script,
    figures: FiguresPaths,
    out: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    opened = Path.open

    def refused(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if path.parent == out and mode != "rb":
            raise OSError(30, "Read-only file system", str(path))
        return opened(path, mode, *more, **named)

    monkeypatch.setattr(Path, "open", refused)
    image = figures.val.parent / "000001.jpg"
    done = predict(image, out, "--save", kind, status=2)
    names = {"json": "predictions.json", "csv": "predictions.csv", "coco": "coco.json"}
    assert "found:    Read-only file system" in done.stderr
    assert f"file:     {out / names.get(kind, image.name)}\n" in done.stderr


def test_a_file_that_is_removed_while_it_is_written_is_not_begun_again(out: Path) -> None:
    def give() -> None:
        with sinks._text(out / "predictions.json") as write:
            write("[1,")
            for path in out.iterdir():
                path.unlink()
            write("2]")

    with pytest.raises(UserError, match="No such file"):
        give()
    assert not list(out.iterdir())


def test_inputs_are_never_written_over(
    predict: Script, figures: FiguresPaths, film: Path, tmp_path: Path
) -> None:
    image = figures.val.parent / "000001.jpg"
    before = image.read_bytes(), film.read_bytes()
    out, linked, alias = tmp_path / "out", tmp_path / "linked", tmp_path / "alias"
    out.mkdir()
    (out / "000001.jpg").symlink_to(image)
    linked.mkdir()
    (linked / "film.mp4").symlink_to(film)
    alias.symlink_to(tmp_path)
    frames = tmp_path / "frames" / "film.mp4"
    frames.parent.mkdir()
    frames.write_bytes(film.read_bytes())
    for source, output, more in [
        (image, out, ()),
        (figures.val.parent, out, ()),
        (out / "000001.jpg", figures.val.parent, ()),
        (film, linked, ()),
        (film, alias, ()),
        (alias / "film.mp4", tmp_path, ("--save", "csv")),
        (film, tmp_path, ("--save", "csv")),
        (frames, tmp_path, ("--save", "via")),
    ]:
        assert "--output" in predict(source, output, *more, status=2).stderr
    assert (image.read_bytes(), film.read_bytes()) == before
    assert not (tmp_path / "predictions.json").exists()


def test_what_does_not_go_together(
    script: Script, tiny_run: Run, figures: FiguresPaths, film: Path, tmp_path: Path
) -> None:
    images, out = figures.val.parent, tmp_path / "out"
    for more, problem in [
        (("--input", images, "--smooth"), "--smooth"),
        (("--input", images, "--save", "video"), "images make no video"),
        (("--input", images, film), "alone"),
        (("--input", "webcam:63"), "no webcam 63"),
        (("--input", tmp_path / "*.bmp"), "*.bmp"),
        (("--input", ""), "an empty name"),
        (("--input", images, "--output", ""), "an empty name"),
        (("--input", images, "--save", "picture,excel"), "'excel' is none of picture, json, via"),
        (("--input", images, "--compare", tmp_path / "lost"), "lost"),
    ]:
        done = script("demo", "--run", tiny_run.folder, "--output", out, *more, status=2)
        assert problem in done.stderr
    assert not out.exists()


def test_colours_are_those_of_tracks(
    predict: Script, film: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw(*arguments: Any, colours: Any) -> Any:
        drawn.append(list(colours))
        return draw_prediction(*arguments, colours=colours)

    monkeypatch.setattr("roilab.inference.rendering.draw_prediction", draw)
    predict(film, out, "--threshold", 0.3)
    data = json.loads((out / "predictions.json").read_text())
    assert drawn == [[item["track"] for item in image["instances"]] for image in data["images"]]
    assert any(drawn)


def test_frames_are_not_kept(
    predict: Script, film: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = next(read_video(film))[0]
    alive, most = [0], [0]

    def gone() -> None:
        alive[0] -= 1

    def frames(path: object) -> Any:
        for index in range(40):
            image = scene.copy()
            weakref.finalize(image, gone)
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            yield image, index / 12

    monkeypatch.setattr("roilab.inference.sources.read_video", frames)
    kinds = "picture,video,json,csv,coco,via"
    done = predict(film, out, "--save", kinds, "--batch", 2)
    assert "40 frames" in done.stdout
    assert most[0] <= 14


def test_a_webcam_runs_to_its_limit(
    predict: Script, film: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = list(read_video(film))
    monkeypatch.setattr("roilab.inference.sources.check_webcam", lambda number: None)
    shown = ((frames[i % 6][0], i * 0.08) for i in itertools.count())
    monkeypatch.setattr("roilab.inference.sources.read_webcam", lambda number: shown)
    predict("webcam:0", out, "--limit", 5)
    with av.open(str(out / "webcam.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([i * 0.08 for i in range(5)], abs=1e-3)
