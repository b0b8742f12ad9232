"""An image with what was found in it: pictures, tables, files."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from roilab.app.inputs import Shot
from roilab.app.messages import escape_streamlit, milliseconds
from roilab.app.models import Result
from roilab.draw import Picture
from roilab.escaping import one_line
from roilab.inference import Prediction, draw_prediction
from roilab.inference.downloads import Downloads, FoundImage, png
from roilab.inference.uploads import stem_of
from roilab.text import counted

# What is on a button, the name of its file, and what makes it.
Button = tuple[str, str, Callable[[], bytes]]


@dataclass(frozen=True)
class View:
    """The settings of the side bar."""

    threshold: float
    keypoint_threshold: float
    boxes: bool
    masks: bool
    keypoints: bool
    links: bool
    labels: bool


def show_shot(shot: Shot, results: Sequence[Result], view: View) -> list[Picture]:
    """An image, and beside it what each model finds in it; the latter are returned."""
    picture, reading = shot.read()
    first, *others = st.columns(1 + len(results))
    with first:
        st.image(picture, width="stretch", output_format="PNG")
        height, width = picture.shape[:2]
        size = f"{width} × {height} pixels"
        st.caption(f"**{escape_streamlit(shot.name)}** · {size} · read in {milliseconds(reading)}")
    drawn = []
    for column, result in zip(others, results, strict=True):
        began = time.perf_counter()
        drawn.append(draw(picture, shot, result, view))
        times = (
            f"found in {milliseconds(result.found[shot.digest][1])}",
            f"drawn in {milliseconds(time.perf_counter() - began)}",
        )
        with column:
            st.image(drawn[-1], width="stretch", output_format="PNG")
            st.caption(" · ".join([f"**{escape_streamlit(result.model.name)}**", *times]))
    return drawn


def draw(picture: Picture, shot: Shot, result: Result, view: View) -> Picture:
    """The instances, or what the switches leave of them, over the picture."""
    packed, _ = result.found[shot.digest]
    return draw_prediction(
        picture,
        packed.above(view.threshold),
        result.model.predictor.skeleton,
        colours=result.tracks.get(shot.digest),
        boxes=view.boxes,
        masks=view.masks,
        keypoints=view.keypoints,
        links=view.links,
        labels=view.labels,
        keypoint_threshold=view.keypoint_threshold,
    )


def show_table(shot: Shot, result: Result, view: View) -> None:
    """A row an instance, the best first."""
    shown = result.found[shot.digest][0].above(view.threshold)
    count = counted(len(shown), "instance")
    least = f"a score of {view.threshold:.2f} or more"
    st.markdown(f"**{escape_streamlit(result.model.name)}**: {count} with {least}")
    if not len(shown):
        st.info("Move the slider of the score to the left to see less certain ones.")
        return
    one_decimal = st.column_config.NumberColumn(format="%.1f", help="pixels")
    config = {
        "score": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
        **dict.fromkeys(("x", "y", "width", "height"), one_decimal),
        "keypoints": st.column_config.NumberColumn(help="those above the slider's score"),
        "mask area": st.column_config.NumberColumn(help="pixels"),
    }
    columns = _columns(shown, view.keypoint_threshold)
    st.dataframe(columns, column_config=config, hide_index=True)


def _columns(shown: Prediction, keypoint_threshold: float) -> dict[str, Any]:
    x0, y0, x1, y1 = shown.boxes.astype(float).T
    columns: dict[str, Any] = {
        "class": list(map(one_line, shown.labels)),
        "score": shown.scores,
        "x": x0,
        "y": y0,
        "width": x1 - x0,
        "height": y1 - y0,
    }
    if shown.keypoints is not None:
        # Those of classes without keypoints are NaN, which is not above anything.
        columns["keypoints"] = np.sum(shown.keypoints[:, :, 2] > keypoint_threshold, axis=1)
    if shown.masks is not None:
        columns["mask area"] = np.sum(shown.masks, axis=(1, 2))
    return columns


def files_of(shots: Sequence[Shot], result: Result, view: View) -> Downloads:
    """The files of what a model finds in all of these images."""
    model = result.model
    images = [
        FoundImage(
            shot.name,
            shot.size,
            result.found[shot.digest][0],
            shot.moment,
            result.tracks.get(shot.digest),
        )
        for shot in shots
    ]
    return Downloads(
        model.name,
        images,
        model.predictor.classes,
        model.category_ids,
        model.predictor.skeleton,
        model.attributes,
        view.threshold,
        view.keypoint_threshold,
    )


def show_buttons(
    shot: Shot, drawn: Picture, result: Result, files: Downloads, more: Sequence[Button]
) -> None:
    """Files to take away, which are made when they are asked for.

    Args:
        drawn: the picture of the shot.
        more: further ones. The run is put before all names of files.
    """
    run = stem_of(result.model.name)
    buttons: list[Button] = [
        ("Picture", f"{stem_of(shot.name)}.png", lambda: png(drawn)),
        ("JSON", "predictions.json", files.json),
        ("CSV", "predictions.csv", files.csv),
        ("COCO", "coco.json", files.coco),
        *more,
    ]
    with st.container(horizontal=True):
        for label, name, make in buttons:
            st.download_button(
                label,
                make,
                f"{run}_{name}",
                key=f"{result.model.name}/{label}",
                on_click="ignore",
                icon=":material/download:",
            )
