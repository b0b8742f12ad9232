"""An image or a video with the predictions of models: pictures, tables, files to download."""

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st
from pycocotools import mask as mask_utils

from roilab.app.models import Key, Model, Result, predict_shots, show_error, track_shots
from roilab.app.uploads import Clip, Shot, Upload, cached_clip, encode_clip, png, shots_of, stem_of
from roilab.draw import Picture
from roilab.errors import UserError
from roilab.escaping import escape_streamlit, one_line
from roilab.inference import Prediction, draw_prediction, formats
from roilab.inference.rendering import FRAME_QUALITY, jpeg
from roilab.inference.sinks import DATA_FILES
from roilab.text import counted
from roilab.via import write_project


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
    for place, (column, result) in enumerate(zip(others, results, strict=True)):
        with column:
            video = _drawn_video(result.model.key, upload.digest, view, clip, shots, result)
            st.video(video)
            st.caption(f"**{escape_streamlit(result.model.description.title)}**")
            results[place] = replace(result, video=video)
    last = len(shots) - 1
    shot = shots[st.slider("Frame", 0, last, 0, key="frame") if last else 0]
    show_results(shots, shot, results, view)


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


def show_results(shots: Sequence[Shot], shot: Shot, results: Sequence[Result], view: View) -> None:
    """An image beside the pictures of its predictions, their tables, and files of all images."""
    picture, reading = shot.read()
    first, *others = st.columns(1 + len(results))
    first.image(picture, width="stretch", output_format="PNG")
    height, width = picture.shape[:2]
    text = f"{width} × {height} pixels · read in {1000 * reading:.0f} ms"
    first.caption(f"**{escape_streamlit(shot.name)}** · {text}")
    pictures = []
    for column, result in zip(others, results, strict=True):
        start = time.perf_counter()
        pictures.append(_drawn(picture, shot, result, view))
        finding = result.seconds[shot.digest]
        drawing = time.perf_counter() - start
        column.image(pictures[-1], width="stretch", output_format="PNG")
        times = f"found in {1000 * finding:.0f} ms · drawn in {1000 * drawing:.0f} ms"
        column.caption(f"**{escape_streamlit(result.model.description.title)}** · {times}")
    columns = st.columns(len(results))
    for column, result, drawn in zip(columns, results, pictures, strict=True):
        with column:
            _show_table(shot, result, view)
            with st.container(horizontal=True):
                _offer_files(shots, shot, result, view, drawn)


def _offer_files(
    shots: Sequence[Shot], shot: Shot, result: Result, view: View, drawn: Picture
) -> None:
    """A button for the picture of an image, and for each file of the predictions of all images."""
    run = replace(
        result.model.description,
        threshold=view.threshold,
        keypoint_threshold=view.keypoint_threshold,
    )
    files = Downloads(run, shots, result.predictions, result.tracks)
    # The content of a file is written when its button is pressed.
    buttons: list[tuple[str, str, Callable[[], bytes]]] = [
        ("Picture", f"{stem_of(shot.name)}.png", partial(png, drawn)),
        ("JSON", DATA_FILES["json"], files.json),
        ("CSV", DATA_FILES["csv"], files.csv),
        ("COCO", DATA_FILES["coco"], files.coco),
    ]
    if shot.frame is None or result.video is None:
        buttons.append(("VIA project", DATA_FILES["via"], files.via))
    else:
        video = f"{stem_of(shot.frame.file_name)}.mp4"
        buttons.append(("Video", video, partial(bytes, result.video)))
        buttons.append(("VIA project", "via.zip", files.via_with_frames))
    for label, name, content in buttons:
        st.download_button(
            label,
            content,
            f"{stem_of(result.model.description.title)}_{name}",
            key=f"{result.model.description.title}/{label}",
            on_click="ignore",
            icon=":material/download:",
        )


def _drawn(picture: Picture, shot: Shot, result: Result, view: View) -> Picture:
    """The instances, as the side bar has it, over the picture."""
    prediction = result.predictions[shot.digest].above(view.threshold).decompressed()
    options = asdict(view)
    del options["threshold"]
    tracks = result.tracks.get(shot.digest)
    skeleton = result.model.predictor.skeleton
    return draw_prediction(picture, prediction, skeleton, colours=tracks, **options)


def _show_table(shot: Shot, result: Result, view: View) -> None:
    """A row an instance, the best first."""
    prediction = result.predictions[shot.digest].above(view.threshold)
    count = counted(len(prediction), "instance")
    least = f"a score of {view.threshold:.2f} or more"
    st.markdown(f"**{escape_streamlit(result.model.description.title)}**: {count} with {least}")
    if not len(prediction):
        st.info("Move the slider of the score to the left to see less certain ones.")
        return
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
        above = prediction.keypoints[:, :, 2] > view.keypoint_threshold
        columns["keypoints"] = above.sum(axis=1)
    if prediction.rles is not None:
        columns["mask area"] = mask_utils.area(list(prediction.rles))
    one_decimal = st.column_config.NumberColumn(format="%.1f", help="pixels")
    config = {
        "score": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
        **dict.fromkeys(("x", "y", "width", "height"), one_decimal),
        "keypoints": st.column_config.NumberColumn(help="those above the slider's score"),
        "mask area": st.column_config.NumberColumn(help="pixels"),
    }
    st.dataframe(columns, column_config=config, hide_index=True)


@dataclass(frozen=True, eq=False)
class Downloads:
    """Files of a run's predictions for some images, as `roilab predict` writes them.

    Attributes:
        run: its threshold is the least score of an instance; others are left out.
        shots: at least one, and no two of one name.
        predictions: compressed, of instances whatever their scores, by the digest of the shot.
        tracks: the numbers of the instances that reach the threshold, by the digest of a frame.
    """

    run: formats.RunDescription
    shots: Sequence[Shot]
    predictions: Mapping[str, Prediction]
    tracks: Mapping[str, Sequence[int]]

    def json(self) -> bytes:
        """All that is known of the instances."""
        first = self.shots[0]
        head = formats.json_head(self.run, is_video=first.frame is not None, rate=first.rate)
        return _encoded(head | {"images": [self._row(shot) for shot in self.shots]})

    def csv(self) -> bytes:
        """A row an instance."""
        rows: list[list[object]] = [[*formats.csv_columns(self.run.skeleton)]]
        for shot in self.shots:
            rows += formats.csv_rows(self._row(shot), self.run.skeleton)
        return formats.csv_text(rows).encode()

    def coco(self) -> bytes:
        """COCO json, which names the frames of a video as images."""
        rows = [self._row(shot) | {"file_name": shot.name} for shot in self.shots]
        return _encoded(formats.predictions_to_coco(rows, self.run))

    def via(self) -> bytes:
        """A VIA 2 project."""
        # One image after the other: the masks of all would not fit into memory.
        records = [
            formats.via_record(shot.name, shot.size, self._above(shot).decompressed(), self.run)
            for shot in self.shots
        ]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / DATA_FILES["via"]
            write_project(path, formats.via_annotations(records, self.run, default_path=""))
            return path.read_bytes()

    def via_with_frames(self) -> bytes:
        """A zip of the images of a video, which have no files yet, and of their VIA 2 project."""
        files = {shot.name: jpeg(shot.read()[0], FRAME_QUALITY) for shot in self.shots}
        shots = [replace(shot, size=len(files[shot.name])) for shot in self.shots]
        files[DATA_FILES["via"]] = replace(self, shots=shots).via()
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return stream.getvalue()

    def _above(self, shot: Shot) -> Prediction:
        return self.predictions[shot.digest].above(self.run.threshold)

    def _row(self, shot: Shot) -> dict[str, Any]:
        prediction = self._above(shot)
        frame = shot.frame
        if frame is None:
            return formats.to_json(shot.name, prediction)
        tracks = self.tracks.get(shot.digest)
        return formats.to_json(frame.file_name, prediction, tracks, frame.index, frame.seconds)


def _encoded(data: object) -> bytes:
    return (json.dumps(data) + "\n").encode()
