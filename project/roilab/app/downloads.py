"""Predictions for several images as the content of files to download."""

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from roilab.draw import Picture
from roilab.inference import Prediction, formats
from roilab.inference.rendering import FRAME_QUALITY, jpeg
from roilab.via import write_project

_PROJECT = "via_project.json"


@dataclass(frozen=True)
class Moment:
    """The place of a frame in its video.

    Attributes:
        video: the name of its file.
        index: the frame's place, from 0.
        seconds: since the first frame.
        rate: of the video, in frames a second; None where that is not known.
    """

    video: str
    index: int
    seconds: float
    rate: Fraction | None


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """An image with its prediction.

    Attributes:
        name: of its file.
        size: of its file in bytes, by which VIA knows it.
        prediction: compressed, of instances whatever their scores.
        moment: of a frame of a video.
        tracks: the numbers of the instances that reach the threshold; None for an image.
    """

    name: str
    size: int
    prediction: Prediction
    moment: Moment | None = None
    tracks: Sequence[int] | None = None


@dataclass(frozen=True, eq=False)
class Downloads:
    """Files of a run's predictions for some images, as `roilab predict` writes them.

    Args:
        run: its threshold is the least score of an instance; others are left out.
        images: no two of one name.
    """

    run: formats.RunDescription
    images: Sequence[ImagePrediction]

    def json(self) -> bytes:
        """All that is known of the instances."""
        moment = self.images[0].moment if self.images else None
        rate = None if moment is None else moment.rate
        head = formats.json_head(self.run, is_video=moment is not None, rate=rate)
        return _encoded(head | {"images": [self._row(image) for image in self.images]})

    def csv(self) -> bytes:
        """A row an instance."""
        rows: list[list[object]] = [[*formats.csv_columns(self.run.skeleton)]]
        for image in self.images:
            rows += formats.csv_rows(self._row(image), self.run.skeleton)
        return formats.csv_text(rows).encode()

    def coco(self) -> bytes:
        """COCO json, which names the frames of a video as images."""
        rows = [self._row(image) | {"file_name": image.name} for image in self.images]
        return _encoded(formats.predictions_to_coco(rows, self.run))

    def via(self) -> bytes:
        """A VIA 2 project."""
        records = []
        for image in self.images:
            # One image after the other: the masks of all would not fit into memory.
            prediction = image.prediction.above(self.run.threshold).decompressed()
            records.append(formats.via_record(image.name, image.size, prediction, self.run))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _PROJECT
            write_project(path, formats.via_annotations(records, self.run, default_path=""))
            return path.read_bytes()

    def via_with_frames(self, frames: Sequence[Picture]) -> bytes:
        """A zip of the images of a video, which have no files yet, and of their VIA 2 project."""
        images, files = [], {}
        for image, frame in zip(self.images, frames, strict=True):
            files[image.name] = jpeg(frame, FRAME_QUALITY)
            images.append(replace(image, size=len(files[image.name])))
        files[_PROJECT] = replace(self, images=images).via()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return stream.getvalue()

    def _row(self, image: ImagePrediction) -> dict[str, Any]:
        prediction, moment = image.prediction.above(self.run.threshold), image.moment
        if moment is None:
            return formats.to_json(image.name, prediction)
        return formats.to_json(moment.video, prediction, image.tracks, moment.index, moment.seconds)


def png(picture: Picture) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _encoded(data: object) -> bytes:
    return (json.dumps(data) + "\n").encode()
