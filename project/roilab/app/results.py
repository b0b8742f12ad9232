"""An image or a video with the predictions of models: pictures, tables, files."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import streamlit as st
from pycocotools import mask as mask_utils

from roilab.app.downloads import Downloads, ImagePrediction, png
from roilab.app.inputs import Shot, Upload, cached_clip, shots_of
from roilab.app.messages import escape_streamlit, milliseconds, show_error
from roilab.app.models import Key, Model, Result, predict_shots, track_shots
from roilab.app.uploads import Clip, encode_clip, stem_of
from roilab.draw import Picture
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.inference import Prediction, draw_prediction
from roilab.text import counted

# The text on a button, the name of its file, and a function that returns the file's content.
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


def show_image(shots: Sequence[Shot], shot: Shot, results: Sequence[Result], view: View) -> None:
    """An image beside its predictions, and files of all images."""
    drawn = _show_shot(shot, results, view)
    for column, result, picture in zip(st.columns(len(results)), results, drawn, strict=True):
        files = _files_of(shots, result, view)
        with column:
            _show_table(shot, result, view)
            more = [("VIA project", "via_project.json", files.via)]
            _show_buttons(shot, picture, result, files, more)


def show_video(models: Sequence[Model], upload: Upload, view: View) -> None:
    """The beginning of a video beside its predictions, as videos and as one frame."""
    try:
        clip, reading = cached_clip(upload.digest, upload)
    except UserError as error:
        show_error(error)
        return
    shots, results = predict_shots(models, shots_of(upload, clip, reading))
    if len(shots) < len(clip.frames):
        return
    results = [track_shots(result, shots, view.threshold) for result in results]
    first, *others = st.columns(1 + len(results))
    with first:
        st.video(_plain_video(upload.digest, clip))
        length = f"{len(clip.frames)} frames, {clip.seconds[-1]:.1f} s"
        st.caption(f"**{escape_streamlit(upload.name)}** · {length}")
        if clip.ends is not None:
            st.warning(escape_streamlit(clip.ends))
    videos = []
    for column, result in zip(others, results, strict=True):
        with column:
            videos.append(_drawn_video(result.model.key, upload.digest, view, clip, shots, result))
            st.video(videos[-1])
            st.caption(f"**{escape_streamlit(result.model.name)}**")
    last = len(shots) - 1
    shot = shots[st.slider("Frame", 0, last, 0, key="frame") if last else 0]
    drawn = _show_shot(shot, results, view)
    for column, result, picture, video in zip(
        st.columns(len(results)), results, drawn, videos, strict=True
    ):
        files = _files_of(shots, result, view)
        more = [
            ("Video", f"{stem_of(upload.name)}.mp4", lambda video=video: video),
            ("VIA project", "via.zip", lambda files=files: files.via_with_frames(clip.frames)),
        ]
        with column:
            _show_table(shot, result, view)
            _show_buttons(shot, picture, result, files, more)


@st.cache_data(max_entries=2, show_spinner="Encoding the video")
def _plain_video(digest: str, _clip: Clip) -> bytes:
    # Browsers play few of the videos that FFmpeg reads.
    return encode_clip(_clip.frames, _clip)


@st.cache_data(max_entries=6, show_spinner="Drawing the video")
def _drawn_video(
    key: Key, digest: str, view: View, _clip: Clip, _shots: Sequence[Shot], _result: Result
) -> bytes:
    pairs = zip(_clip.frames, _shots, strict=True)
    return encode_clip((_drawn(frame, shot, _result, view) for frame, shot in pairs), _clip)


def _show_shot(shot: Shot, results: Sequence[Result], view: View) -> list[Picture]:
    """An image beside the pictures of its predictions, which are returned."""
    picture, reading = shot.read()
    first, *others = st.columns(1 + len(results))
    with first:
        st.image(picture, width="stretch", output_format="PNG")
        height, width = picture.shape[:2]
        size = f"{width} × {height} pixels"
        st.caption(f"**{escape_streamlit(shot.name)}** · {size} · read in {milliseconds(reading)}")
    drawn = []
    for column, result in zip(others, results, strict=True):
        start = time.perf_counter()
        drawn.append(_drawn(picture, shot, result, view))
        times = (
            f"found in {milliseconds(result.predictions[shot.digest][1])}",
            f"drawn in {milliseconds(time.perf_counter() - start)}",
        )
        with column:
            st.image(drawn[-1], width="stretch", output_format="PNG")
            st.caption(" · ".join([f"**{escape_streamlit(result.model.name)}**", *times]))
    return drawn


def _drawn(picture: Picture, shot: Shot, result: Result, view: View) -> Picture:
    """The instances, as the side bar has it, over the picture."""
    prediction = result.predictions[shot.digest][0].above(view.threshold).decompressed()
    options = asdict(view)
    del options["threshold"]
    tracks = result.tracks.get(shot.digest)
    skeleton = result.model.predictor.skeleton
    return draw_prediction(picture, prediction, skeleton, colours=tracks, **options)


def _show_table(shot: Shot, result: Result, view: View) -> None:
    """A row an instance, the best first."""
    prediction = result.predictions[shot.digest][0].above(view.threshold)
    count = counted(len(prediction), "instance")
    least = f"a score of {view.threshold:.2f} or more"
    st.markdown(f"**{escape_streamlit(result.model.name)}**: {count} with {least}")
    if not len(prediction):
        st.info("Move the slider of the score to the left to see less certain ones.")
        return
    one_decimal = st.column_config.NumberColumn(format="%.1f", help="pixels")
    config = {
        "score": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
        **dict.fromkeys(("x", "y", "width", "height"), one_decimal),
        "keypoints": st.column_config.NumberColumn(help="those above the slider's score"),
        "mask area": st.column_config.NumberColumn(help="pixels"),
    }
    columns = _columns(prediction, view.keypoint_threshold)
    st.dataframe(columns, column_config=config, hide_index=True)


def _columns(prediction: Prediction, keypoint_threshold: float) -> dict[str, Any]:
    x0, y0, x1, y1 = prediction.boxes.astype(float).T
    columns: dict[str, Any] = {
        "class": list(map(one_line, prediction.labels)),
        "score": prediction.scores,
        "x": x0,
        "y": y0,
        "width": x1 - x0,
        "height": y1 - y0,
    }
    if prediction.keypoints is not None:
        # Those of classes without keypoints are NaN, which is not above anything.
        columns["keypoints"] = np.sum(prediction.keypoints[:, :, 2] > keypoint_threshold, axis=1)
    if prediction.rles is not None:
        columns["mask area"] = mask_utils.area(list(prediction.rles))
    return columns


def _files_of(shots: Sequence[Shot], result: Result, view: View) -> Downloads:
    """The files of a model's predictions for all of these images."""
    images = [
        ImagePrediction(
            shot.name,
            shot.size,
            result.predictions[shot.digest][0],
            shot.moment,
            result.tracks.get(shot.digest),
        )
        for shot in shots
    ]
    run = replace(
        result.model.description,
        threshold=view.threshold,
        keypoint_threshold=view.keypoint_threshold,
    )
    return Downloads(run, images)


def _show_buttons(
    shot: Shot, drawn: Picture, result: Result, files: Downloads, more: Sequence[Button]
) -> None:
    """Buttons for files, which are written when a button is pressed.

    Args:
        drawn: the picture of the shot.
        more: further buttons. The run is put before all names of files.
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
        for label, name, content in buttons:
            st.download_button(
                label,
                content,
                f"{run}_{name}",
                key=f"{result.model.name}/{label}",
                on_click="ignore",
                icon=":material/download:",
            )
