"""Export of a run folder to a file in one of the formats, checked before it is written."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detectron2.data.transforms as T
import numpy as np
import numpy.typing as npt
from PIL import Image

from roilab import __version__
from roilab.engine.load_run import load_run
from roilab.engine.run_folder import Run
from roilab.errors import UserError
from roilab.export import parity
from roilab.export.detector import Detector
from roilab.export.formats import runner, serialise
from roilab.files import write_whole
from roilab.inference import Predictor

# The plain layers: those that are faster on the CPU choose their way by values.
_PLAIN = ("train.device=cpu", "train.cpu_kernels=false", "train.channels_last=false")


@dataclass(frozen=True)
class Exported:
    """The exported file's size in bytes, its outputs, and how far it differs from the model."""

    bytes: int
    outputs: tuple[str, ...]
    differences: tuple[parity.Differences, ...]  # one for each image of the check


def export_run(
    run: Run,
    output: Path,
    format: str,
    check: Sequence[npt.NDArray[np.uint8]],
    *,
    overrides: Sequence[str] = (),
    expected: Path | None = None,
) -> Exported:
    """Write the model of a run as a file, if the file predicts what the model predicts.

    Args:
        format: one of `FORMATS`.
        check: H x W x 3 RGB images with instances, for the comparison.
        overrides: of the run's config.
        expected: an .npz file to write, with those images and the model's predictions.

    Raises:
        UserError: the model cannot be exported, or the file predicts something else; then nothing
            is written.
    """
    for path in (output, expected):
        if path is not None and path.is_dir():
            raise UserError("a file is written, and this is a folder", file=path)
    predictor = Predictor.from_run(run, [*overrides, "train.device=cpu"])
    metadata = _metadata(predictor)
    _, plain = load_run(run, [*overrides, *_PLAIN])
    detector = Detector(plain, predictor.image_format, predictor.classes, predictor.skeleton)
    content = serialise(detector, format, metadata)
    model = runner(content, format, detector.outputs)
    of_boxes = detector.model.roi_heads.box_predictor
    limits = (of_boxes.test_score_thresh, of_boxes.test_topk_per_image)
    varied = list(parity.check_images(check))
    references = [parity.reference(predictor, image) for image in varied]
    differences = tuple(
        parity.check_parity(prediction, parity.predicted(model, predictor, image), *limits, ignore)
        for image, (prediction, ignore) in zip(varied, references, strict=True)
    )
    parity.refuse_different(differences)
    if expected is not None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **parity.expected_arrays(varied, references))
        write_whole(expected, buffer.getvalue())
    write_whole(output, content)
    return Exported(len(content), detector.outputs, differences)


def _metadata(predictor: Predictor) -> dict[str, Any]:
    """The metadata of an exported file; docs/export.md has the list."""
    model: Any = predictor.model
    skeleton = predictor.skeleton
    return {
        "classes": list(predictor.classes),
        "skeleton": None if skeleton is None else skeleton.to_dict(),
        "resize": _resizing(list(_flat(predictor.augmentations))),
        "score_threshold": model.roi_heads.box_predictor.test_score_thresh,
        "roilab": __version__,
    }


def _flat(augmentation: T.Augmentation) -> Iterator[T.Augmentation]:
    if isinstance(augmentation, T.AugmentationList):
        for part in augmentation.augs:
            yield from _flat(part)
    else:
        yield augmentation


def _resizing(augmentations: Sequence[T.Augmentation]) -> dict[str, int] | None:
    """The sides to which images are resized for the model; None: they keep their own."""
    if not augmentations:
        return None
    first, *others = augmentations
    plain = type(first) is T.ResizeShortestEdge and first.interp == Image.Resampling.BILINEAR
    sides = set(first.short_edge_length) if plain and not others else set()
    if len(sides) != 1:
        raise UserError(
            "whoever runs the file has to prepare images as the evaluation does",
            key="dataloader.test.augmentations",
            found=", ".join(map(str, augmentations)),
            expected="none, or one ResizeShortestEdge with one length and bilinear resizing",
        )
    return {"short_edge": int(sides.pop()), "max_size": int(first.max_size)}
