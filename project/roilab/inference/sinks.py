"""The files of a prediction: their plan, and sinks that write each whole or not at all."""

import contextlib
import functools
import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from roilab import via
from roilab.draw import Picture, side_by_side
from roilab.errors import UserError
from roilab.files import whole, write_whole, writing
from roilab.inference import formats, rendering
from roilab.inference.predictor import FramePrediction
from roilab.inference.sources import Frame, Source
from roilab.inference.video import video_writer

DATA_FILES: Mapping[str, str] = {
    "json": "predictions.json",
    "via": "via_project.json",
    "via-json": "via.json",
    "via-csv": "via.csv",
    "coco": "coco.json",
    "csv": "predictions.csv",
}
KINDS = ("picture", *DATA_FILES, "video")


@dataclass(frozen=True)
class OutputPlan:
    """The output files of a prediction, in a folder, of some of `KINDS`.

    The data hold the instances of the first run; those of others are drawn beside it.
    """

    source: Source
    folder: Path
    kinds: Sequence[str]
    runs: Sequence[formats.RunDescription]

    @property
    def saves_frames(self) -> bool:
        """Whether the frames of a video become image files, for data that refer to such."""
        return self.source.video is not None and not {"coco", *via.WRITERS}.isdisjoint(self.kinds)

    @property
    def data_files(self) -> dict[str, Path]:
        """The file of each kind of data."""
        return {kind: self.folder / name for kind, name in DATA_FILES.items() if kind in self.kinds}

    @property
    def video_file(self) -> Path:
        """The file of the video."""
        return self.folder / f"{self.source.video}.mp4"

    @property
    def frame_folder(self) -> Path:
        """The folder of a video's frames."""
        return self.folder / "frames"

    @functools.cached_property
    def picture_names(self) -> dict[Path, str]:
        """The name of each image's picture."""
        names = rendering.picture_names(self.source.inputs)
        return dict(zip(self.source.inputs, names, strict=True))

    def frame_name(self, frame: Frame) -> str:
        """The file name of the picture of a video's frame."""
        return f"{self.source.video}_{frame.index:06}.jpg"

    def check(self) -> None:
        """Refuse a video of images, and outputs that would replace an input or lie beside it."""
        inputs = self.source.inputs
        is_video = self.source.video is not None
        if "video" in self.kinds and not is_video:
            expected = "a video or a webcam as input, or picture in place of video"
            raise UserError("images make no video", key="save", found="video", expected=expected)
        folders = [self.folder, *([self.frame_folder] if self.saves_frames else [])]
        for folder in folders:
            if folder.resolve() in {file.parent.resolve() for file in inputs}:
                # Pictures would replace the images, or be taken for images the next time.
                message = "the outputs would lie among the inputs"
                expected = "another folder than that of the inputs"
                raise UserError(message, key="output", found=folder, expected=expected)
        outputs = [*self.data_files.values()]
        if "video" in self.kinds:
            outputs.append(self.video_file)
        if "picture" in self.kinds and not is_video:
            names = (rendering.OVERVIEW, *self.picture_names.values())
            outputs += [self.folder / name for name in names]
        files = {file.resolve() for file in inputs}
        for path in outputs:
            if path.resolve() in files:
                message = "an input would be written over"
                expected = "a folder without links to the inputs"
                raise UserError(message, key="output", file=path, expected=expected)


@dataclass(frozen=True, eq=False)
class _Item:
    """A frame's predictions with the data and the picture that sinks share, each made once."""

    result: FramePrediction
    plan: OutputPlan

    @functools.cached_property
    def row(self) -> dict[str, Any]:
        """The first run's instances, see `to_json`."""
        frame, prediction = self.result.frame, self.result.predictions[0]
        if {"json", "coco"}.isdisjoint(self.plan.kinds):
            prediction = replace(prediction, masks=None)  # a table has none
        tracks = self.result.tracks[0]
        return formats.to_json(frame.file_name, prediction, tracks, frame.index, frame.seconds)

    @functools.cached_property
    def picture(self) -> Picture:
        """The picture of a prediction; of several runs, the image and each run's picture."""
        image = self.result.frame.image
        runs = self.plan.runs
        pictures = []
        parts = zip(self.result.predictions, self.result.tracks, runs, strict=True)
        for prediction, colours, run in parts:
            picture = rendering.draw_prediction(image, prediction, run.skeleton, colours=colours)
            pictures.append(picture)
        if len(pictures) == 1:
            return pictures[0]
        titles = ["original", *(run.title for run in runs)]
        return side_by_side([rendering.enlarged(image), *pictures], titles)

    @functools.cached_property
    def image_file(self) -> Path:
        """The file of the image, which a frame of a video becomes, for data that refer to it."""
        frame = self.result.frame
        if frame.path is not None:
            return frame.path
        path = self.plan.frame_folder / self.plan.frame_name(frame)
        write_whole(path, rendering.jpeg(frame.image, rendering.FRAME_QUALITY))
        return path


_Add: TypeAlias = Callable[[_Item], None]


@dataclass(eq=False)
class Outputs:
    """The files of a plan, to which `add` writes.

    Attributes:
        problems: what the files of data cannot hold, which is known at the end.
        images, instances: how many were added, of the first run.
    """

    plan: OutputPlan
    sinks: list[_Add]
    problems: list[via.Problem]
    images: int = 0
    instances: int = 0

    def add(self, result: FramePrediction) -> None:
        """Draw and write the predictions of the next frame, or raise a UserError."""
        item = _Item(result, self.plan)
        for add in self.sinks:
            add(item)
        self.images += 1
        self.instances += len(result.predictions[0])


@contextlib.contextmanager
def open_outputs(plan: OutputPlan) -> Iterator[Outputs]:
    """The files of a plan: data and videos get their names when the block ends.

    When the block raises, there are none of them.
    """
    problems: list[via.Problem] = []
    sinks = {"picture": _pictures, "video": _video, "json": _json, "csv": _csv, "coco": _coco}
    contexts = [sink(plan) for kind, sink in sinks.items() if kind in plan.kinds]
    if not via.WRITERS.keys().isdisjoint(plan.kinds):
        contexts.append(_via(plan, problems))
    with contextlib.ExitStack() as stack:
        yield Outputs(plan, [stack.enter_context(context) for context in contexts], problems)


@contextlib.contextmanager
def _pictures(plan: OutputPlan) -> Iterator[_Add]:
    """A JPEG for each picture, and of images the first together."""
    with rendering.picture_folder(plan.folder) as write:

        def add(item: _Item) -> None:
            frame = item.result.frame
            if frame.path is not None:
                write(plan.picture_names[frame.path], item.picture)
            else:
                path = plan.folder / plan.frame_name(frame)
                write_whole(path, rendering.jpeg(item.picture, rendering.PICTURE_QUALITY))

        yield add


@contextlib.contextmanager
def _video(plan: OutputPlan) -> Iterator[_Add]:
    with video_writer(plan.video_file, plan.source.rate, plan.source.tick) as write:
        yield lambda item: write(item.picture, item.result.frame.seconds or 0.0)


@contextlib.contextmanager
def _json(plan: OutputPlan) -> Iterator[_Add]:
    """Written frame by frame: the data of a long video are not held."""
    video = plan.source.video
    rate = plan.source.rate
    head = formats.json_head(plan.runs[0], is_video=video is not None, rate=rate)
    separators = itertools.chain([""], itertools.repeat(","))
    with _text(plan.data_files["json"]) as write:
        write(json.dumps(head)[:-1] + ', "images": [')
        yield lambda item: write(f"{next(separators)}\n{json.dumps(item.row)}")
        write("\n]}\n")


@contextlib.contextmanager
def _csv(plan: OutputPlan) -> Iterator[_Add]:
    skeleton = plan.runs[0].skeleton
    with _text(plan.data_files["csv"]) as write:
        write(formats.csv_text([formats.csv_columns(skeleton)]))
        yield lambda item: write(formats.csv_text(formats.csv_rows(item.row, skeleton)))


@contextlib.contextmanager
def _text(path: Path) -> Iterator[Callable[[str], None]]:
    """A function that adds text to a file, which gets its name when the block has ended.

    Raises UserError if the file cannot be written. What the block raises is its own.
    """

    def write(text: str) -> None:
        # The name of an image may be no Unicode.
        content = text.encode("utf-8", errors="backslashreplace")
        with writing(path), part.open("r+b") as stream:
            stream.seek(0, os.SEEK_END)
            stream.write(content)

    with whole(path) as part:
        with writing(path):
            part.touch(exist_ok=False)
        yield write


@contextlib.contextmanager
def _coco(plan: OutputPlan) -> Iterator[_Add]:
    rows: list[dict[str, Any]] = []

    def add(item: _Item) -> None:
        row = item.row
        if plan.saves_frames:
            row = row | {"file_name": f"{plan.frame_folder.name}/{item.image_file.name}"}
        rows.append(row)

    yield add
    content = formats.predictions_to_coco(rows, plan.runs[0])
    write_whole(plan.data_files["coco"], json.dumps(content) + "\n")


@contextlib.contextmanager
def _via(plan: OutputPlan, problems: list[via.Problem]) -> Iterator[_Add]:
    """Files for VIA, which open where the images, or the frames of the video, now are."""
    records: list[formats.PredictedImage] = []
    folder = plan.frame_folder.resolve() if plan.saves_frames else plan.source.folder

    def add(item: _Item) -> None:
        name = item.image_file.name if plan.saves_frames else item.result.frame.file_name
        size = item.image_file.stat().st_size
        records.append(formats.via_record(name, size, item.result.predictions[0], plan.runs[0]))

    yield add
    annotations = formats.via_annotations(records, plan.runs[0], f"{folder}{os.sep}")
    problems += annotations.problems
    for kind, path in plan.data_files.items():
        if kind in via.WRITERS:
            lost = via.WRITERS[kind](path, annotations)
            problems += [problem for problem in lost if problem.severity != "note"]
