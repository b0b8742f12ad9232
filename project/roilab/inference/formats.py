"""Predictions as data: JSON, tables, COCO json, and VIA annotations that a person corrects."""

import csv
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from roilab import via
from roilab.data.coco import coco_annotation, coco_document, coco_row
from roilab.data.coordinates import to_pixel_index
from roilab.data.mask_to_polygons import rings_of
from roilab.engine import config
from roilab.engine.run_folder import Run
from roilab.evaluation import Views
from roilab.inference.predictor import KEYPOINT_THRESHOLD, Prediction
from roilab.skeleton import Skeleton
from roilab.via.records import TAGS, image_key

# How far, in pixels, an outline may leave a mask's edge, so that a person can drag its vertices.
_TOLERANCE = 0.75


@dataclass(frozen=True)
class RunDescription:
    """The facts of a run that files of its predictions state.

    Attributes:
        classes, category_ids: of the model, in its order.
        skeleton: of the keypoints; None: the model has none.
        attributes: role -> attribute in VIA, see `attribute_names`.
        threshold: the least score of an instance.
        keypoint_threshold: keypoints are marked in COCO and VIA from above this score on.
        tta: the views of test-time augmentation; None: the images alone.
    """

    title: str
    classes: Sequence[str]
    category_ids: Sequence[int | str]
    skeleton: Skeleton | None
    attributes: Mapping[str, str]
    threshold: float
    keypoint_threshold: float = KEYPOINT_THRESHOLD
    tta: Views | None = None


def describe_run(
    run: Run, title: str, threshold: float, tta: Views | None = None
) -> RunDescription:
    """The description of a run folder."""
    return RunDescription(
        title=title,
        classes=run.classes(),
        category_ids=run.category_ids(),
        skeleton=run.skeleton(),
        attributes=attribute_names(run),
        threshold=threshold,
        tta=tta,
    )


def attribute_names(run: Run) -> dict[str, str]:
    """Role -> the attribute of the run's training data that has it, so that predictions fit them.

    Where the config names none, because it was found in the file, it is called as the role;
    `roilab.curation.merge` then brings the two under one name.
    """
    rules = OmegaConf.select(config.read_config(run.config_file), "data.train.rules")
    rules = rules if isinstance(rules, DictConfig) else {}
    stated: dict[str, str] = {}
    for role in TAGS:
        name = rules.get(f"{role}_attribute")
        if name and isinstance(name, str):  # several attributes, a class each, are predicted as one
            stated[role] = name
    own = {role: f"predicted {role}" if role in stated.values() else role for role in TAGS}
    return own | stated


def json_head(run: RunDescription, *, is_video: bool, rate: Fraction | None) -> dict[str, Any]:
    """The JSON data that all images, or all frames of a video, `rate` a second, share."""
    head: dict[str, Any] = {
        "run": run.title,
        "classes": list(run.classes),
        "keypoints": [] if run.skeleton is None else list(run.skeleton.keypoints),
        "threshold": run.threshold,
    }
    if run.tta is not None:
        head["tta"] = run.tta.to_dict()
    if is_video:
        head["frames_per_second"] = None if rate is None else float(rate)
    return head


def to_json(
    file_name: str,
    prediction: Prediction,
    tracks: Sequence[int] | None = None,
    frame: int | None = None,
    seconds: float | None = None,
) -> dict[str, Any]:
    """One image's instances as JSON data, with the numbers of their tracks if there are any.

    Boxes are x, y, width, height; masks are COCO RLE; keypoints are x, y, score in pixel indices,
    as VIA and COCO hold them, absent for classes that have none. `frame` and `seconds` are the
    place and the time in a video.
    """
    rles = prediction.encoded_masks()
    instances = []
    for index, label in enumerate(prediction.labels):
        x0, y0, x1, y1 = map(float, prediction.boxes[index])
        box = [x0, y0, x1 - x0, y1 - y0]
        instance = {"class": label, "score": float(prediction.scores[index]), "bbox": box}
        if rles is not None:
            instance["segmentation"] = rles[index]
        if prediction.mask_scores is not None:
            instance["mask_score"] = float(prediction.mask_scores[index])
        if (points := _pixel_keypoints(prediction, index)) is not None:
            instance["keypoints"] = points
        if tracks is not None:
            instance["track"] = int(tracks[index])
        instances.append(instance)
    size = {"width": prediction.width, "height": prediction.height}
    data: dict[str, Any] = {"file_name": file_name, **size, "instances": instances}
    if frame is not None and seconds is not None:
        data |= {"frame": frame, "time": round(seconds, 6)}
    return data


def csv_columns(skeleton: Skeleton | None) -> list[str]:
    """The names of a table's columns: image, instance, box, keypoints."""
    names = ["file_name", "frame", "time", "track", "class", "score", "x", "y", "width", "height"]
    for keypoint in skeleton.keypoints if skeleton is not None else ():
        names += [f"{keypoint}_x", f"{keypoint}_y", f"{keypoint}_score"]
    return names


def csv_rows(image: Mapping[str, Any], skeleton: Skeleton | None) -> list[list[Any]]:
    """A row of a table for each instance of an image of `to_json`; empty cells have no value."""
    none = [("", "", "")] * (len(skeleton.keypoints) if skeleton is not None else 0)
    rows = []
    for instance in image["instances"]:
        values = [
            *(image.get(key, "") for key in ("file_name", "frame", "time")),
            *(instance.get(key, "") for key in ("track", "class", "score")),
            *instance["bbox"],
            *itertools.chain(*instance.get("keypoints", none)),
        ]
        rows.append([round(value, 4) if isinstance(value, float) else value for value in values])
    return rows


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows of a table as the text of a CSV file."""
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)  # with "\n" as line end it would not quote a "\r" in a name
    return stream.getvalue()


def predictions_to_coco(images: Sequence[Mapping[str, Any]], run: RunDescription) -> dict[str, Any]:
    """COCO json of images as `to_json` returns them; annotations have a `score` beside.

    Images are numbered from 1. Of a video, they have `frame` and `time` as well, annotations a
    `track_id`. Keypoints whose score does not exceed the threshold are not labelled, all others
    visible.
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, start=1):
        facts = {key: value for key, value in image.items() if key != "instances"}
        entries.append({"id": number} | facts)
        for instance in image["instances"]:
            more = {key: instance[key] for key in ("score", "segmentation") if key in instance}
            if "keypoints" in instance:
                triples = np.array(instance["keypoints"]).reshape(-1, 3)
                triples[triples[:, 2] <= run.keypoint_threshold] = 0
                triples[:, 2] = 2 * (triples[:, 2] > 0)
                more["keypoints"] = triples.ravel().tolist()
            if "track" in instance:
                more["track_id"] = instance["track"]
            category = run.category_ids[run.classes.index(instance["class"])]
            row = coco_row(number, category, instance["bbox"], **more)
            annotations.append(coco_annotation(row, len(annotations) + 1))
    return coco_document(
        entries,
        annotations,
        run.classes,
        run.skeleton,
        category_ids=run.category_ids,
        description="predicted by RoILab",
    )


@dataclass(frozen=True, slots=True)
class PredictedImage(via.ImageRecord):
    """An image with predicted regions; `filled`: how many pixels the holes of each mask had."""

    filled: tuple[int, ...] = ()


def via_record(
    filename: str, size: int, prediction: Prediction, run: RunDescription
) -> PredictedImage:
    """The instances of an image as VIA regions; VIA knows the image by its size in bytes.

    An instance is a polygon for each part of its mask, or a rectangle where there is no mask, and a
    point for each keypoint whose score exceeds the threshold; all carry the same `instance`
    and the instance's `score`. Holes of masks are filled, and counted in the record.
    """
    names = run.attributes
    regions: list[tuple[via.Shape, dict[str, str]]] = []
    filled = []
    for index, label in enumerate(prediction.labels):
        values = {
            names["class"]: label,
            names["instance"]: str(index + 1),
            names["score"]: f"{prediction.scores[index]:.3f}",
        }
        outlines, holes = _outlines(prediction, index)
        if holes:
            filled.append(holes)
        regions += [(shape, values) for shape in outlines]
        points = _pixel_keypoints(prediction, index)
        if run.skeleton is not None and points is not None:
            regions += [
                (via.Point(x, y), values | {names["keypoint"]: name})
                for name, (x, y, score) in zip(run.skeleton.keypoints, points, strict=True)
                if score > run.keypoint_threshold
            ]
    numbered = tuple(via.Region(number, *region) for number, region in enumerate(regions))
    key = image_key(filename, size)
    return PredictedImage(key, filename, size, numbered, filled=tuple(filled))


def via_annotations(
    records: Sequence[PredictedImage], run: RunDescription, default_path: str
) -> via.Annotations:
    """The records of images as one file, those with the least certain instance first.

    Images without an instance come last. The attributes carry the tags by which
    `via.build_instances` knows their roles. Filled holes are a warning among the result's problems.
    """
    names = run.attributes

    def attribute(role: str, description: str, values: Sequence[str] = ()) -> via.Attribute:
        kind = "dropdown" if values else "text"
        options = {value: value for value in values}
        return via.Attribute(names[role], kind, f"{description} {TAGS[role]}", options)

    declared = [
        attribute("class", "what it is", run.classes),
        attribute("instance", "the same for all of one object"),
        attribute("score", "of the prediction"),
    ]
    if run.skeleton is not None:
        declared.append(attribute("keypoint", "which keypoint", run.skeleton.keypoints))
        # The model does not say it; a person may.
        declared.append(attribute("visibility", "of the keypoint", ("visible", "occluded")))
    problems = []
    filled = [pixels for record in records for pixels in record.filled]
    if filled:
        message = (
            f"holes are filled (masks: {len(filled)}, pixels: {sum(filled)}), since VIA has "
            "none; the picture and COCO json keep them"
        )
        problems.append(via.Problem("warning", message, "", "predictions"))

    def certainty(image: via.ImageRecord) -> float:
        scores = (str(region.attributes[names["score"]]) for region in image.regions)
        return min(map(float, scores), default=2.0)

    return via.Annotations(
        file="predictions",
        container=via.Container.VIA2_PROJECT,
        images=tuple(sorted(records, key=certainty)),
        region_attributes={item.name: item for item in declared},
        file_attributes={},
        default_path=default_path,
        problems=tuple(problems),
    )


def _outlines(prediction: Prediction, index: int) -> tuple[list[via.Shape], int]:
    """The outlines of an instance, and how many pixels of holes they enclose."""
    if prediction.masks is not None:
        rings, holes = rings_of(prediction.masks[index], _TOLERANCE)
        if rings:
            return [via.Polygon(tuple(ring[::2]), tuple(ring[1::2])) for ring in rings], holes
    x0, y0, x1, y1 = (float(value) for value in prediction.boxes[index])
    # A box of no extent is no rectangle in VIA.
    return [via.Rect(x0, y0, max(x1 - x0, 0.001), max(y1 - y0, 0.001))], 0


def _pixel_keypoints(prediction: Prediction, index: int) -> list[list[float]] | None:
    """K triples x, y, score in pixel indices; None for a class without keypoints."""
    if prediction.keypoints is None or np.isnan(prediction.keypoints[index]).any():
        return None
    flat = to_pixel_index(prediction.keypoints[index])
    return [flat[at : at + 3] for at in range(0, len(flat), 3)]
