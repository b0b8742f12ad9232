"""What was found in several images, as the content of files to take away."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from roilab.draw import Picture
from roilab.inference.export import coco_json, via_annotations, via_record
from roilab.inference.packed import PackedPrediction
from roilab.inference.sinks import to_json
from roilab.skeleton import Skeleton
from roilab.via import write_project


@dataclass(frozen=True)
class FoundImage:
    """An image and what was found in it.

    Attributes:
        name: of its file.
        size: of its file in bytes, by which VIA knows it.
        found: its instances.
    """

    name: str
    size: int
    found: PackedPrediction


@dataclass(frozen=True)
class Downloads:
    """Files of what one model found in some images.

    Args:
        images: no two of one name.
        classes, skeleton: of the model.
        names: of the attributes in VIA, see `attribute_names`.
        threshold: the least score of an instance; others are left out.
        keypoint_threshold: keypoints are marked in COCO and VIA from above this score on.
    """

    images: Sequence[FoundImage]
    classes: Sequence[str]
    skeleton: Skeleton | None
    names: Mapping[str, str]
    threshold: float
    keypoint_threshold: float

    def json(self) -> bytes:
        """As `predictions.json` of scripts/demo.py."""
        data = {
            "classes": list(self.classes),
            "keypoints": list(self.skeleton.keypoints) if self.skeleton is not None else [],
            "threshold": self.threshold,
            "images": self._images(),
        }
        return _encoded(data)

    def coco(self) -> bytes:
        """As `coco.json` of scripts/demo.py."""
        return _encoded(
            coco_json(self._images(), self.classes, self.skeleton, self.keypoint_threshold)
        )

    def via(self) -> bytes:
        """A VIA 2 project; VIA looks for the images beside it."""
        records = [
            via_record(
                image.name,
                image.size,
                image.found.above(self.threshold),
                self.skeleton,
                self.names,
                self.keypoint_threshold,
            )
            for image in self.images
        ]
        annotations = via_annotations(records, self.classes, self.skeleton, "", self.names)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "via_project.json"
            write_project(path, annotations)
            return path.read_bytes()

    def _images(self) -> list[dict[str, Any]]:
        # One after the other: the masks of all would not fit into memory.
        return [to_json(image.name, image.found.above(self.threshold)) for image in self.images]


def png(picture: Picture) -> bytes:
    """A picture as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


def _encoded(data: object) -> bytes:
    return (json.dumps(data) + "\n").encode()
