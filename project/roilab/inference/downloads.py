"""Predictions for several images as the content of files to download."""

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from roilab.draw import Picture
from roilab.inference import csv_rows
from roilab.inference.rendering import FRAME_QUALITY, jpeg, json_head, to_json
from roilab.inference.rle_prediction import PackedPrediction
from roilab.inference.to_annotations import predictions_to_coco, via_annotations, via_record
from roilab.skeleton import Skeleton
from roilab.via import write_project


@dataclass(frozen=True)
class Moment:
    """Which frame of a video an image is.

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
class FoundImage:
    """An image and what was found in it.

    Attributes:
        name: of its file.
        size: of its file in bytes, by which VIA knows it.
        found: its instances.
        moment: of a frame of a video.
        tracks: the numbers of the instances that reach the threshold; None for an image.
    """

    name: str
    size: int
    found: PackedPrediction
    moment: Moment | None = None
    tracks: Sequence[int] | None = None


@dataclass(frozen=True, eq=False)
class Downloads:
    """Files of what one run found in some images, as roilab predict writes them.

    Args:
        run: its name.
        images: no two of one name.
        classes, category_ids, skeleton: of its model.
        attributes: of its training data, see `attribute_names`.
        threshold: the least score of an instance; others are left out.
        keypoint_threshold: keypoints are marked in COCO and VIA from above this score on.
    """

    run: str
    images: Sequence[FoundImage]
    classes: Sequence[str]
    category_ids: Sequence[int | str]
    skeleton: Skeleton | None
    attributes: Mapping[str, str]
    threshold: float
    keypoint_threshold: float

    def json(self) -> bytes:
        """All that is known of the instances."""
        moment = self.images[0].moment if self.images else None
        head = json_head(
            self.run,
            self.classes,
            self.skeleton,
            self.threshold,
            is_video=moment is not None,
            rate=None if moment is None else moment.rate,
        )
        return _encoded(head | {"images": [self._row(image) for image in self.images]})

    def csv(self) -> bytes:
        """A row an instance."""
        stream = io.StringIO()
        writer = csv.writer(stream)  # with "\n" as line end it would not quote a "\r" in a name
        writer.writerow(csv_rows.columns(self.skeleton))
        for image in self.images:
            writer.writerows(csv_rows.rows(self._row(image), self.skeleton))
        return stream.getvalue().encode()

    def coco(self) -> bytes:
        """COCO json, which names the frames of a video as images."""
        rows = [self._row(image) | {"file_name": image.name} for image in self.images]
        data = predictions_to_coco(
            rows, self.classes, self.category_ids, self.skeleton, self.keypoint_threshold
        )
        return _encoded(data)

    def via(self) -> bytes:
        """A VIA 2 project."""
        records = [
            via_record(
                image.name,
                image.size,
                image.found.above(self.threshold),
                self.skeleton,
                self.attributes,
                self.keypoint_threshold,
            )
            for image in self.images
        ]
        annotations = via_annotations(records, self.classes, self.skeleton, "", self.attributes)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "via_project.json"
            write_project(path, annotations)
            return path.read_bytes()

    def via_with_frames(self, frames: Sequence[Picture]) -> bytes:
        """A zip of the images of a video, which have no files yet, and of their VIA 2 project."""
        images, files = [], {}
        for image, frame in zip(self.images, frames, strict=True):
            files[image.name] = jpeg(frame, FRAME_QUALITY)
            images.append(replace(image, size=len(files[image.name])))
        files["via_project.json"] = replace(self, images=images).via()
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return target.getvalue()

    def _row(self, image: FoundImage) -> dict[str, Any]:
        # One image after the other: the masks of all would not fit into memory.
        found, moment = image.found.above(self.threshold), image.moment
        if moment is None:
            return to_json(image.name, found)
        return to_json(moment.video, found, image.tracks, moment.index, moment.seconds)


def png(picture: Picture) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _encoded(data: object) -> bytes:
    return (json.dumps(data) + "\n").encode()
