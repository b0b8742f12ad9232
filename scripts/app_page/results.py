"""An image with what was found in it: pictures, tables, files."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from app_page.inputs import Shot
from app_page.messages import milliseconds, plain
from app_page.models import Found, Model
from roilab.draw import Picture
from roilab.inference import Prediction, draw_prediction
from roilab.inference.downloads import Downloads, FoundImage, png
from roilab.inference.uploads import stem_of


@dataclass(frozen=True)
class View:
    """What the side bar says of what is shown."""

    threshold: float
    keypoint_threshold: float
    boxes: bool
    masks: bool
    keypoints: bool
    skeleton: bool
    labels: bool


def show_shot(
    shot: Shot,
    shots: Sequence[Shot],
    models: Sequence[Model],
    found: Sequence[dict[str, Found]],
    view: View,
) -> None:
    """An image, what each model found in it, and files of what it found in all.

    Args:
        shot: one of `shots`.
        found: by model, the instances by the digest of their image.
    """
    picture, reading = shot.read()
    first, *others = st.columns(1 + len(models))
    with first:
        st.image(picture, width="stretch", output_format="PNG")
        height, width = picture.shape[:2]
        size = f"{width} × {height} pixels"
        st.caption(f"**{plain(shot.name)}** · {size} · read in {milliseconds(reading)}")
    results = []
    for column, model, each in zip(others, models, found, strict=True):
        packed, predicting = each[shot.digest]
        shown = packed.above(view.threshold)
        began = time.perf_counter()
        drawn = _draw(picture, shown, model, view)
        drawing = time.perf_counter() - began
        results.append((model, each, shown, drawn))
        with column:
            st.image(drawn, width="stretch", output_format="PNG")
            times = f"found in {milliseconds(predicting)} · drawn in {milliseconds(drawing)}"
            st.caption(f"**{plain(model.name)}** · {times}")
    for column, (model, each, shown, drawn) in zip(st.columns(len(models)), results, strict=True):
        images = [FoundImage(one.name, one.size, each[one.digest][0]) for one in shots]
        with column:
            _show_table(model, shown, view)
            _offer(model, images, drawn, shot.name, view)


def _draw(picture: Picture, shown: Prediction, model: Model, view: View) -> Picture:
    """The parts of the instances that the switches leave, over the picture."""
    skeleton = model.predictor.skeleton
    if skeleton is not None and not view.skeleton:
        skeleton = replace(skeleton, links=())
    return draw_prediction(
        picture,
        shown,
        skeleton,
        boxes=view.boxes,
        masks=view.masks,
        keypoints=view.keypoints,
        labels=view.labels,
        keypoint_threshold=view.keypoint_threshold,
    )


def _show_table(model: Model, shown: Prediction, view: View) -> None:
    """A row an instance, the best first."""
    count = len(shown)
    title = f"{count} instance{'' if count == 1 else 's'}"
    st.markdown(f"**{title}** of {plain(model.name)} with a score of {view.threshold:.2f} or more")
    if not count:
        st.info("Move the slider of the score to the left to see less certain ones.")
        return
    corners = np.round(shown.boxes.astype(float), 1)
    columns = {
        "class": shown.labels,
        "score": shown.scores,
        "x": corners[:, 0],
        "y": corners[:, 1],
        "width": corners[:, 2] - corners[:, 0],
        "height": corners[:, 3] - corners[:, 1],
    }
    if shown.keypoints is not None:
        # Those of classes without keypoints are NaN, which is not above anything.
        seen = shown.keypoints[:, :, 2] > view.keypoint_threshold
        columns["keypoints"] = seen.sum(axis=1)
    if shown.masks is not None:
        columns["mask area"] = shown.masks.sum(axis=(1, 2))
    one_decimal = st.column_config.NumberColumn(format="%.1f", help="pixels")
    config = {
        "score": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
        **dict.fromkeys(("x", "y", "width", "height"), one_decimal),
        "keypoints": st.column_config.NumberColumn(help="those above the slider's score"),
        "mask area": st.column_config.NumberColumn(help="pixels"),
    }
    st.dataframe(columns, column_config=config, hide_index=True)


def _offer(
    model: Model, images: Sequence[FoundImage], picture: Picture, name: str, view: View
) -> None:
    """Buttons for files, which are made when they are pressed."""
    files = Downloads(
        images,
        model.predictor.classes,
        model.predictor.skeleton,
        model.attributes,
        view.threshold,
        view.keypoint_threshold,
    )
    run = stem_of(model.name)
    makers: list[tuple[str, str, Callable[[], bytes]]] = [
        ("Picture", f"{stem_of(name)}_{run}.png", lambda: png(picture)),
        ("JSON", f"{run}_predictions.json", files.json),
        ("COCO", f"{run}_coco.json", files.coco),
        ("VIA project", f"{run}_via_project.json", files.via),
    ]
    with st.container(horizontal=True):
        for label, file_name, make in makers:
            st.download_button(
                label,
                make,
                file_name,
                key=f"{model.name}/{label}",
                on_click="ignore",
                icon=":material/download:",
            )
