"""roilab app without a browser: what is on the page, and when a model runs."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest

import roilab.cli.app
from roilab.app.uploads import decode_clip
from roilab.engine import trusted
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.image_files import read_rgb
from roilab.inference import Predictor, draw_prediction
from roilab.inference.video import video_writer
from roilab.synthetic import FiguresPaths
from roilab.via import read

LONG = 120  # seconds, for what takes one on an idle machine


Open = Callable[[Path], AppTest]


class Calls(NamedTuple):
    """What the page asks for: runs that are loaded, sizes of images of the models, how they are
    drawn, files of the download buttons."""

    loads: list[str]
    models: list[tuple[int, ...]]
    drawn: list[dict[str, Any]]
    downloads: dict[str, tuple[str, Callable[[], bytes]]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    st.cache_resource.clear()
    st.cache_data.clear()
    seen = Calls([], [], [], {})
    load, predict, button = Predictor.from_run, Predictor.__call__, st.download_button

    def loaded(run: Run, **more: Any) -> Predictor:
        seen.loads.append(run.folder.name)
        return load(run, **more)

    def counted(self: Predictor, image: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(image, list):  # as which an image is given to the predictor again
            seen.models.append(image.shape)
        return predict(self, image, *args, **kwargs)

    def drawn(*arguments: Any, **how: Any) -> Any:
        seen.drawn.append(how)
        return draw_prediction(*arguments, **how)

    def noted(label: str, data: Callable[[], bytes], file_name: str, key: str, **more: Any) -> bool:
        seen.downloads[key] = (file_name, data)
        return button(label, data, file_name, key=key, **more)

    monkeypatch.setattr("roilab.app.results.draw_prediction", drawn)
    monkeypatch.setattr(Predictor, "from_run", loaded)
    monkeypatch.setattr(Predictor, "__call__", counted)
    monkeypatch.setattr(st, "download_button", noted)
    yield seen
    st.cache_resource.clear()


@pytest.fixture
def open_app(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> Open:
    """The page for a folder of runs, as it is at first."""

    def call(runs: Path) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", "--runs", str(runs)])
        return AppTest.from_file(roilab.cli.app.__file__, default_timeout=LONG).run()

    return call


@pytest.fixture
def runs(tiny_run: Run, tmp_path: Path) -> Path:
    """A folder of two runs of one model; `new` has the newer weights."""
    for age, name in enumerate(("new", "old")):
        shutil.copytree(tiny_run.folder, tmp_path / "runs" / name)
        os.utime(tmp_path / "runs" / name / tiny_run.weights.name, (1e9 - age, 1e9 - age))
    return tmp_path / "runs"


@pytest.fixture
def app(open_app: Open, runs: Path) -> AppTest:
    """The page for the two runs."""
    return open_app(runs)


def sound(app: AppTest) -> AppTest:
    assert not app.exception
    assert not app.error
    return app


def scores(app: AppTest, table: int = 0) -> list[float]:
    return list(app.dataframe[table].value["score"])


def median_of(app: AppTest) -> float:
    """A score that some instances reach and some do not, on the slider's grid."""
    app.slider(key="threshold").set_value(0.0).run()
    instance_scores = scores(sound(app))
    middle = round(float(np.median(instance_scores)), 2)
    assert min(instance_scores) < middle <= max(instance_scores)
    return middle


def test_at_first_there_is_a_sample(app: AppTest) -> None:
    sound(app)
    assert [title.value for title in app.title] == ["RoILab"]
    assert app.selectbox(key="run").options == ["new", "old"]
    assert len(app.image) == 2  # as it is, and with what was found
    texts = " ".join(caption.value for caption in app.caption)
    for part in ("sample", "256 × 256 pixels", "read in", "found in", "drawn in"):
        assert part in texts
    app.slider(key="threshold").set_value(0.0).run()
    table = app.dataframe[0].value
    assert set(table["class"]) <= {"car", "person"}
    assert {"score", "x", "y", "width", "height", "keypoints", "mask area"} < set(table)


def test_sliders_and_switches_do_not_run_the_model(app: AppTest, calls: Calls) -> None:
    assert calls.models == [(256, 256, 3)]
    middle = median_of(app)
    everything = scores(app)
    app.slider(key="threshold").set_value(middle).run()
    assert scores(sound(app)) == [score for score in everything if score >= middle]
    app.slider(key="keypoint_threshold").set_value(1.0).run()
    assert not app.dataframe[0].value["keypoints"].any()
    before = app.image[1].value
    for switch in ("boxes", "masks", "labels"):
        app.toggle(key=switch).set_value(False).run()
        assert app.image[1].value != before, switch
        before = app.image[1].value
    for switch in ("links", "keypoints"):
        app.toggle(key=switch).set_value(False).run()
        assert not calls.drawn[-1][switch]
        assert calls.drawn[-1] == calls.drawn[-2] | {switch: False}
    assert calls.drawn[-1]["keypoint_threshold"] == 1.0
    assert app.image[1].value != app.image[0].value  # larger, for its lines
    app.slider(key="threshold").set_value(1.0).run()
    assert not app.dataframe
    assert "Move the slider" in app.info[0].value
    assert calls.models == [(256, 256, 3)]
    assert calls.loads == ["new"]


def test_two_runs_stand_beside_each_other(app: AppTest, calls: Calls) -> None:
    app.slider(key="threshold").set_value(0.0)
    app.selectbox(key="other").select("old").run()
    assert len(sound(app).image) == 3
    assert scores(app, 0) == scores(app, 1)
    assert {name.split("_")[0] for name, _ in calls.downloads.values()} >= {"new", "old"}
    assert len(calls.models) == 2
    app.selectbox(key="run").select("old").run()
    assert app.selectbox(key="other").value == "no other run"
    assert len(calls.models) == 2  # it is loaded and has looked already
    assert calls.loads == ["new", "old"]


def test_uploads_are_looked_at_once_and_broken_ones_are_named(
    app: AppTest, calls: Calls, figures: FiguresPaths
) -> None:
    data = (figures.val.parent / "000001.jpg").read_bytes()
    calls.models.clear()
    uploads = [
        ("good.jpg", data),
        ("again.png", data),  # the same content, and its name says another format
        ("../*bro[ken](x).jpg", data[:-300]),
        ("weights.png", b"\x80\x04 no image"),
        ("empty.png", b""),
    ]
    for name, content in uploads:
        app.file_uploader(key="files").upload(name, content)
    app.run()
    assert not app.exception
    assert [error.value.partition("  \n")[0] for error in app.error] == [
        "**cannot read the image**",
        "**this is no image**",
        "**the file is empty**",
    ]
    assert r"\*bro\[ken\]\(x\)\.jpg" in app.error[0].value
    assert r"weights\.png" in app.error[1].value
    assert app.selectbox(key="file").options == ["good.jpg", "again.png"]
    assert calls.models == [(96, 96, 3)]
    app.selectbox(key="file").select("again.png").run()
    assert any("again" in caption.value for caption in app.caption)
    assert calls.models == [(96, 96, 3)]
    app.file_uploader(key="files").clear().run()
    assert any("sample" in caption.value for caption in app.caption)
    assert not app.error


def test_of_very_many_files_the_first_are_taken(
    app: AppTest, figures: FiguresPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roilab.app.page.MOST", 2)
    data = (figures.val.parent / "000001.jpg").read_bytes()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        app.file_uploader(key="files").upload(name, data)
    app.run()
    assert app.warning[0].value == "The first 2 of 3 are taken."
    assert app.selectbox(key="file").options == ["a.jpg", "b.jpg"]


def test_downloads_hold_what_is_shown(
    app: AppTest, calls: Calls, figures: FiguresPaths, tmp_path: Path
) -> None:
    app.slider(key="threshold").set_value(0.0)
    files = [figures.val.parent / f"00000{index}.jpg" for index in range(2)]
    for file in files:
        app.file_uploader(key="files").upload(file.name, file.read_bytes())
    app.run()
    shown = scores(sound(app))
    saved = {key: (name, read()) for key, (name, read) in calls.downloads.items()}
    name, data = saved["new/Picture"]
    assert name == "new_000000.png"
    assert Image.open(io.BytesIO(data)).size == (3 * 96, 3 * 96)

    name, data = saved["new/JSON"]
    first, second = json.loads(data)["images"]
    assert name == "new_predictions.json"
    assert [image["file_name"] for image in (first, second)] == [file.name for file in files]
    assert [instance["score"] for instance in first["instances"]] == pytest.approx(shown)
    count = len(first["instances"]) + len(second["instances"])
    assert len(json.loads(saved["new/COCO"][1])["annotations"]) == count

    project = tmp_path / saved["new/VIA project"][0]
    project.write_bytes(saved["new/VIA project"][1])
    images = {image.filename: image for image in read(project, strict=True).images}
    assert set(images) == {file.name for file in files}
    for file, image in zip(files, (first, second), strict=True):
        assert images[file.name].size == file.stat().st_size
        instances = {region.attributes["instance"] for region in images[file.name].regions}
        assert len(instances) == len(image["instances"])


def video_of(figures: FiguresPaths, frames: int, folder: Path) -> bytes:
    """An mp4 of the validation images, again and again."""
    images = sorted(figures.val.parent.glob("*.jpg"))
    with video_writer(folder / "video.mp4", Fraction(10), Fraction(1, 90000)) as add:
        for index in range(frames):
            add(read_rgb(images[index % len(images)]), index / 10)
    return (folder / "video.mp4").read_bytes()


def test_a_video_is_drawn_and_its_frames_are_looked_at(
    app: AppTest, calls: Calls, figures: FiguresPaths, tmp_path: Path
) -> None:
    app.slider(key="threshold").set_value(0.0).run()
    calls.models.clear()
    calls.drawn.clear()
    data = video_of(figures, 6, tmp_path)
    app.file_uploader(key="files").upload("walk.mp4", data).run()
    assert len(sound(app).get("video")) == 2  # as it is, and with what was found
    assert len(app.image) == 2
    assert calls.models == [(96, 96, 3)] * 6
    app.slider(key="frame").set_value(5).run()
    assert any("000005" in caption.value for caption in sound(app).caption)
    shown = scores(app)
    saved = {key: (name, read()) for key, (name, read) in calls.downloads.items()}
    frames = json.loads(saved["new/JSON"][1])["images"]
    assert [(row["file_name"], row["frame"]) for row in frames] == [
        ("walk.mp4", index) for index in range(6)
    ]
    assert [instance["score"] for instance in frames[5]["instances"]] == pytest.approx(shown)
    tracks = [[instance["track"] for instance in row["instances"]] for row in frames]
    assert any(tracks)
    assert [how["colours"] for how in calls.drawn[:6]] == tracks
    assert calls.drawn[-1]["colours"] == tracks[5]
    with zipfile.ZipFile(io.BytesIO(saved["new/VIA project"][1])) as archive:
        archive.extractall(tmp_path / "zip")
    project = read(tmp_path / "zip" / "via_project.json", strict=True)
    sizes = {image.filename: image.size for image in project.images}
    files = [path for path in (tmp_path / "zip").iterdir() if path.suffix == ".jpg"]
    assert sizes == {path.name: path.stat().st_size for path in files}
    assert len(files) == 6
    name, drawn = saved["new/Video"]
    assert name == "new_walk.mp4"
    clip = decode_clip(name, drawn)
    assert [frame.shape for frame in clip.frames] == [(288, 288, 3)] * 6
    assert clip.seconds == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])

    app.slider(key="threshold").set_value(1.0).run()
    assert len(sound(app).get("video")) == 2
    assert len(calls.models) == 6


def test_a_video_that_breaks_off_is_shown_as_far_as_it_goes(
    app: AppTest, figures: FiguresPaths, tmp_path: Path
) -> None:
    data = video_of(figures, 20, tmp_path)
    app.file_uploader(key="files").upload("cut.mp4", data[: len(data) * 3 // 4])
    app.file_uploader(key="files").upload("none.mp4", data[:40]).run()
    assert not app.exception
    assert "broken" in app.warning[0].value
    assert len(app.get("video")) == 2
    app.selectbox(key="file").select("none.mp4").run()
    assert not app.exception
    assert r"none\.mp4" in app.error[0].value


def test_without_a_run_it_says_how_to_make_one(open_app: Open, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        app = sound(open_app(folder))
        assert "no trained run" in app.info[0].value
        assert "make demo" in app.code[0].value
        assert "roilab train --config-file CONFIG" in app.code[0].value
        assert not app.file_uploader


def test_a_page_that_streamlit_is_started_with_allows_trusted_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    arguments = ["app.py", "--runs", str(tmp_path), "--trust", "my_package.heads"]
    monkeypatch.setattr(sys, "argv", arguments)
    sound(AppTest.from_file(roilab.cli.app.__file__, default_timeout=LONG).run())
    assert "my_package.heads" in trusted.settings_file().read_text()


def test_a_run_that_cannot_be_loaded_is_told_and_the_other_is_shown(
    open_app: Open, runs: Path, calls: Calls
) -> None:
    (runs / "new" / "model_final.pth").write_bytes(b"no checkpoint")
    os.utime(runs / "new" / "model_final.pth", (2e9, 2e9))
    app = open_app(runs)
    assert not app.exception
    assert r"model\_final\.pth" in app.error[0].value
    assert calls.models == []
    app.selectbox(key="other").select("old").run()
    assert not app.exception
    assert len(app.error) == 1
    assert len(app.image) == 2
    shutil.rmtree(runs / "old")  # it was chosen, and goes
    app.run()
    assert not app.exception
    assert "not a run folder" in app.error[1].value


def test_new_weights_are_loaded(app: AppTest, runs: Path, calls: Calls) -> None:
    os.utime(runs / "new" / "model_final.pth", (3e9, 3e9))
    app.run()
    assert calls.loads == ["new", "new"]
    assert len(calls.models) == 2


def test_what_the_model_cannot_do_is_told(open_app: Open, runs: Path, monkeypatch) -> None:
    def fails(self: Predictor, image: Any) -> None:
        raise RuntimeError("out of memory\nsecond line")

    monkeypatch.setattr(Predictor, "__call__", fails)
    app = open_app(runs)
    assert not app.exception
    assert app.error[0].value.endswith(r"found\: out of memory")


def test_a_video_ends_where_the_model_fails(
    app: AppTest,
    calls: Calls,
    figures: FiguresPaths,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predict = Predictor.__call__

    def fails(self: Predictor, image: Any, **more: Any) -> Any:
        if len(calls.models) == 3 and not isinstance(image, list):
            raise RuntimeError("out of memory")
        return predict(self, image, **more)

    monkeypatch.setattr(Predictor, "__call__", fails)
    app.file_uploader(key="files").upload("walk.mp4", video_of(figures, 6, tmp_path)).run()
    assert not app.exception
    (error,) = app.error
    assert r"walk\_000002\.jpg" in error.value
    assert not app.get("video")
    assert len(calls.models) == 3


def test_without_streamlit_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(UserError, match="pip install streamlit"):
        roilab.cli.app.main([])


def test_it_starts_streamlit_with_its_options(monkeypatch, tmp_path: Path) -> None:
    commands = []

    class Server:
        def __init__(self, command: list[str], **options: object) -> None:
            commands.append(command)

        def wait(self, seconds: float | None = None) -> int:
            return 3

    monkeypatch.setattr(subprocess, "Popen", Server)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    options = ["--server.port", "1234", "--runs", str(tmp_path), "--max-memory", "2"]
    assert roilab.cli.app.main(options) == 3
    (command,) = commands
    command = command[command.index("-m") - 1 :]
    place = command.index("--")
    assert command[1:4] == ["-m", "streamlit", "run"]
    assert command[place - 2 : place] == ["--server.port", "1234"]
    assert command[place + 1 :] == options


@pytest.mark.parametrize("heeds", [True, False])
def test_a_signal_ends_the_server_and_is_the_exit_status(heeds: bool, tmp_path: Path) -> None:
    """Also where the server does not heed it, as with a model at work."""
    code = "import signal, time; print('up', flush=True); " + (
        "time.sleep(60)" if heeds else "signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    )
    serve = (
        "import signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); "  # as nohup does
        "from roilab.cli import app; "
        f"app.GRACE = 0.3; sys.exit(app.serve([sys.executable, '-c', {code!r}]))"
    )
    served = subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE)
    assert served.stdout is not None
    assert served.stdout.readline() == b"up\n"
    served.send_signal(signal.SIGHUP)
    served.terminate()
    assert served.wait() == 128 + signal.SIGTERM
    served.stdout.close()
