"""Sinks of a prediction: pictures, videos, data, VIA projects, each written whole or not at all."""

import contextlib
import csv
import functools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from roilab import via
from roilab.draw import Picture, draw_instances, side_by_side
from roilab.files import whole, write_whole, writing
from roilab.inference import csv_rows
from roilab.inference.output_plan import VIA_FILES, Plan
from roilab.inference.pipeline import Found
from roilab.inference.rendering import (
    FRAME_QUALITY,
    OVERVIEW,
    OVERVIEW_PICTURES,
    PICTURE_QUALITY,
    draw_prediction,
    jpeg,
    json_head,
    legible_scale,
    overview,
    overview_cell,
    to_json,
)
from roilab.inference.to_annotations import predictions_to_coco, via_annotations, via_record
from roilab.inference.video import video_writer


@dataclass(frozen=True, eq=False)
class _Item:
    """A frame as the writers take it.

    Attributes:
        row: the first run's instances, see `to_json`.
    """

    found: Found
    row: dict[str, Any]
    plan: Plan

    @functools.cached_property
    def picture(self) -> Picture:
        """The picture of a prediction; of several runs, the image and each run's picture."""
        image = self.found.frame.image
        shown = zip(self.found.predictions, self.found.tracks, self.plan.skeletons, strict=True)
        pictures = [
            draw_prediction(image, prediction, skeleton, colours=tracks)
            for prediction, tracks, skeleton in shown
        ]
        if len(pictures) == 1:
            return pictures[0]
        original = draw_instances(image, scale=legible_scale(image))
        return side_by_side([original, *pictures], ["original", *self.plan.titles])


_Add: TypeAlias = Callable[[_Item], None]


@dataclass(eq=False)
class Outputs:
    """The files of a plan. A context manager: data and videos get their names when its block ends.

    When the block raises, there are none of them.

    Attributes:
        images, instances: how many were added, of the first run.
        problems: what the files of data cannot hold.
    """

    plan: Plan
    images: int = 0
    instances: int = 0
    problems: list[via.Problem] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, init=False)
    _writers: list[_Add] = field(default_factory=list, init=False)

    def __enter__(self) -> "Outputs":
        plan = self.plan
        via_files = {kind: path for kind, path in plan.data_files.items() if kind in VIA_FILES}
        with contextlib.ExitStack() as stack:
            writers = [_pictures(plan)] if "picture" in plan.kinds else []
            if "video" in plan.kinds:
                writers.append(_video(plan))
            if plan.saves_frames:
                writers.append(_frames(plan))
            for kind, writer in (("json", _json), ("csv", _csv), ("coco", _coco)):
                if kind in plan.kinds:
                    writers.append(writer(plan))
            if via_files:
                writers.append(_via(plan, via_files, self.problems))
            self._writers = [stack.enter_context(writer) for writer in writers]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def add(self, found: Found) -> None:
        """Draw and write what is found in the next frame.

        Raises:
            UserError: a file cannot be written.
        """
        frame = found.frame
        row = to_json(
            frame.file_name, found.predictions[0], found.tracks[0], frame.index, frame.seconds
        )
        item = _Item(found, row, self.plan)
        for add in self._writers:
            add(item)
        self.images += 1
        self.instances += len(found.predictions[0])


@contextlib.contextmanager
def _pictures(plan: Plan) -> Iterator[_Add]:
    """A JPEG for each picture, and of images the first together."""
    files = plan.picture_files
    cells: list[Picture] = []

    def add(item: _Item) -> None:
        frame = item.found.frame
        path = plan.folder / plan.frame_name(frame) if frame.path is None else files[frame.path]
        write_whole(path, jpeg(item.picture, PICTURE_QUALITY))
        if frame.path is not None and len(cells) < OVERVIEW_PICTURES:
            cells.append(overview_cell(item.picture))

    yield add
    if cells:
        write_whole(plan.folder / OVERVIEW, jpeg(overview(cells), PICTURE_QUALITY))


@contextlib.contextmanager
def _video(plan: Plan) -> Iterator[_Add]:
    source = plan.source
    with video_writer(plan.video_file, source.rate, source.tick) as write:

        def add(item: _Item) -> None:
            write(item.picture, item.found.frame.seconds or 0.0)

        yield add


@contextlib.contextmanager
def _frames(plan: Plan) -> Iterator[_Add]:
    """The frames of a video as they are, for data that refer to image files."""

    def add(item: _Item) -> None:
        path = plan.frame_folder / plan.frame_name(item.found.frame)
        write_whole(path, jpeg(item.found.frame.image, FRAME_QUALITY))

    yield add


@contextlib.contextmanager
def _json(plan: Plan) -> Iterator[_Add]:
    """Written as it comes: of a long video, it is not held."""
    path = plan.data_files["json"]
    head = json_head(
        plan.titles[0],
        plan.classes,
        plan.skeleton,
        plan.threshold,
        is_video=plan.source.video is not None,
        rate=plan.source.rate,
    )
    between = ""
    with _text(path) as stream:
        stream.write(json.dumps(head)[:-1] + ', "images": [')

        def add(item: _Item) -> None:
            nonlocal between
            with writing(path):
                stream.write(f"{between}\n{json.dumps(item.row)}")
            between = ","

        yield add
        with writing(path):
            stream.write("\n]}\n")


@contextlib.contextmanager
def _csv(plan: Plan) -> Iterator[_Add]:
    path = plan.data_files["csv"]
    with _text(path) as stream:
        writer = csv.writer(stream)  # with "\n" as line end it would not quote a "\r" in a name
        writer.writerow(csv_rows.columns(plan.skeleton))

        def add(item: _Item) -> None:
            with writing(path):
                writer.writerows(csv_rows.rows(item.row, plan.skeleton))

        yield add


@contextlib.contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """A stream into a file that gets its name when the block has ended.

    Raises:
        UserError: the file cannot be opened or closed. What the block raises is its own.
    """
    with whole(path) as part:
        with writing(path):
            # The name of an image may be no Unicode.
            stream = part.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        try:
            yield stream
            with writing(path):
                stream.close()
        finally:
            # What is not written by now must not hide what the block has raised.
            with contextlib.suppress(OSError):
                stream.close()


@contextlib.contextmanager
def _coco(plan: Plan) -> Iterator[_Add]:
    rows: list[dict[str, Any]] = []

    def add(item: _Item) -> None:
        row = item.row
        if plan.saves_frames:
            name = plan.frame_name(item.found.frame)
            row = row | {"file_name": f"{plan.frame_folder.name}/{name}"}
        rows.append(row)

    yield add
    content = predictions_to_coco(rows, plan.classes, plan.category_ids, plan.skeleton)
    write_whole(plan.data_files["coco"], json.dumps(content) + "\n")


@contextlib.contextmanager
def _via(plan: Plan, files: dict[str, Path], problems: list[via.Problem]) -> Iterator[_Add]:
    """Files for VIA, which open where the images, or the frames of the video, now are."""
    records: list[via.ImageRecord] = []
    folder = plan.source.folder
    if plan.saves_frames or folder is None:
        folder = plan.frame_folder.resolve()

    def add(item: _Item) -> None:
        frame = item.found.frame
        path, name = frame.path, frame.file_name
        if path is None:
            name = plan.frame_name(frame)
            path = plan.frame_folder / name
        found = item.found.predictions[0]
        records.append(via_record(name, path.stat().st_size, found, plan.skeleton, plan.names))

    yield add
    annotations = via_annotations(
        records, plan.classes, plan.skeleton, f"{folder}{os.sep}", plan.names
    )
    problems += annotations.problems
    for kind, path in files.items():
        told = via.WRITERS[kind](path, annotations)
        problems += [problem for problem in told if problem.severity != "note"]
