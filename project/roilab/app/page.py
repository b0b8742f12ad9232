"""The layout of the page."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from roilab.app.models import WITH_OPTIONS, Model, cached_model, named_runs, predict_shots
from roilab.app.results import View, show_results, show_video
from roilab.app.uploads import IMAGES, VIDEOS, Upload, sample_upload, shot_of, uploads_of
from roilab.errors import UserError
from roilab.escaping import escape_streamlit
from roilab.inference.predictor import KEYPOINT_THRESHOLD

MOST = 50  # files at a time
ALONE = "no other run"
ABOUT = "Finds objects, their outlines and their keypoints with a model that you trained."
HOW_TO_TRAIN = "Make one with the sample set, in minutes and without a GPU, or train your own:"
# Streamlit leaves a sixth of the window free above the title.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 2.5rem; padding-bottom: 3rem; }
</style>"""


def show_page(
    root: Path,
    max_memory: int | None,
    with_options: Callable[[UserError], UserError],
    train_command: str,
) -> None:
    """Draw the page, as Streamlit does at every change of a widget.

    Args:
        root: the folder of the runs.
        max_memory: the most bytes that the work on an image may take; None: what is available.
        with_options: returns an error with options of the command in place of parameters.
        train_command: a command that trains a run of the folder, for a page without a run.
    """
    st.session_state[WITH_OPTIONS] = with_options
    st.set_page_config(page_title="RoILab", layout="wide")
    st.html(STYLE)
    st.title("RoILab", anchor=False)
    st.markdown(ABOUT)
    runs = named_runs(str(root))
    if not runs:
        st.info(f"There is no trained run in the folder {escape_streamlit(str(root))}.")
        st.markdown(HOW_TO_TRAIN)
        st.code(f"make demo\n{train_command}", language="bash")
        st.markdown("Then load this page again, or start the app with another folder of runs.")
        return
    with st.sidebar:
        st.header("Model", anchor=False)
        names = [st.selectbox("Run", list(runs), key="run")]
        others = [ALONE, *(name for name in runs if name not in names)]
        other = st.selectbox("Compare with", others, key="other", disabled=len(others) == 1)
        if other != ALONE:
            names.append(other)
        uploads = _choose_files()
        view = _choose_view()
    models = [cached_model(name, runs[name], max_memory) for name in names]
    if any(models):
        _show_files([model for model in models if model is not None], uploads, view)


def _choose_files() -> list[Upload]:
    st.header("Input", anchor=False)
    types = IMAGES + VIDEOS
    files = st.file_uploader("Images and videos", types, accept_multiple_files=True, key="files")
    if not files:
        st.caption("A sample is shown until you drop your own.")
        return [sample_upload()]
    if len(files) > MOST:
        st.warning(f"The first {MOST} of {len(files)} are taken.")
    return uploads_of(files[:MOST])


def _choose_view() -> View:
    st.header("Show", anchor=False)
    threshold = st.slider("Score from", 0.0, 1.0, 0.5, 0.01, key="threshold")
    keypoint_threshold = st.slider(
        "Keypoint score above", 0.0, 1.0, KEYPOINT_THRESHOLD, 0.01, key="keypoint_threshold"
    )
    left, right = st.columns(2)
    keypoints = right.toggle("Keypoints", True, key="keypoints")
    return View(
        threshold,
        keypoint_threshold,
        boxes=left.toggle("Boxes", True, key="boxes"),
        masks=left.toggle("Masks", True, key="masks"),
        labels=left.toggle("Labels", True, key="labels"),
        keypoints=keypoints,
        links=right.toggle("Skeleton", True, key="links", disabled=not keypoints),
    )


def _show_files(models: Sequence[Model], uploads: Sequence[Upload], view: View) -> None:
    """The chosen file beside the predictions of each model."""
    shots = [shot_of(upload) for upload in uploads if not upload.is_video]
    shots, results = predict_shots(models, shots)
    by_name = {shot.name: shot for shot in shots}
    videos = {upload.name: upload for upload in uploads if upload.is_video}
    names = [*by_name, *videos]
    if not names:
        return
    name = st.selectbox("File", names, key="file") if len(names) > 1 else names[0]
    if name in videos:
        show_video(models, videos[name], view)
    else:
        show_results(shots, by_name[name], results, view)
