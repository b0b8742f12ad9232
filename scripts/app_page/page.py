"""The page as a whole."""

from pathlib import Path

import streamlit as st

from app_page.inputs import MOST, SUFFIXES, Shot, sample_shot, shots_of
from app_page.messages import plain
from app_page.models import Model, find_all, load_model, named_runs
from app_page.results import View, show_shot
from roilab.inference.export import KEYPOINT_THRESHOLD

ALONE = "no other run"
ABOUT = "Finds objects, their outlines and their keypoints with a model that you trained."
# Streamlit leaves a sixth of the window free above the title.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 2.5rem; padding-bottom: 3rem; }
</style>"""


def show_page(root: Path) -> None:
    """Draw the page, as Streamlit does at every change of a widget.

    Args:
        root: the folder of the runs.
    """
    st.set_page_config(page_title="RoILab", layout="wide")
    st.html(STYLE)
    st.title("RoILab", anchor=False)
    st.markdown(ABOUT)
    runs = named_runs(str(root))
    if not runs:
        _say_how_to_train(root)
        return
    with st.sidebar:
        chosen = _choose_runs(list(runs))
        shots = _choose_files()
        view = _choose_view()
    models = [model for name in chosen if (model := load_model(name, runs[name])) is not None]
    if models:
        _show_images(models, shots, view)


def _say_how_to_train(root: Path) -> None:
    """Nothing can be found without a run."""
    st.info(f"There is no trained run in the folder {plain(str(root))}.")
    st.markdown("Make one with the sample set, in minutes and without a GPU, or train your own:")
    train = f"python scripts/train.py --config-file CONFIG train.output_dir={root / 'mine'}"
    st.code(f"make demo\n{train}", language="bash")
    st.markdown("Then load this page again. `--runs DIR` names another folder.")


def _choose_runs(names: list[str]) -> list[str]:
    """One run, or two to compare."""
    st.header("Model", anchor=False)
    first = st.selectbox("Run", names, key="run")
    others = [ALONE, *(name for name in names if name != first)]
    second = st.selectbox("Compare with", others, key="other", disabled=len(others) == 1)
    return [first] if second == ALONE else [first, second]


def _choose_files() -> list[Shot]:
    """What was dropped, or the sample."""
    st.header("Input", anchor=False)
    files = st.file_uploader("Images", SUFFIXES, accept_multiple_files=True, key="files")
    if not files:
        st.caption("A sample is shown until you drop your own.")
        return [sample_shot()]
    if len(files) > MOST:
        st.warning(f"The first {MOST} of {len(files)} are taken.")
    return shots_of(files[:MOST])


def _choose_view() -> View:
    """Sliders and switches."""
    st.header("Show", anchor=False)
    threshold = st.slider("Score from", 0.0, 1.0, 0.5, 0.01, key="threshold")
    keypoint_threshold = st.slider(
        "Keypoint score above", 0.0, 1.0, KEYPOINT_THRESHOLD, 0.01, key="keypoint_threshold"
    )
    left, right = st.columns(2)
    with left:
        boxes = st.toggle("Boxes", True, key="boxes")
        masks = st.toggle("Masks", True, key="masks")
        labels = st.toggle("Labels", True, key="labels")
    with right:
        keypoints = st.toggle("Keypoints", True, key="keypoints")
        skeleton = st.toggle("Skeleton", True, key="skeleton", disabled=not keypoints)
    return View(threshold, keypoint_threshold, boxes, masks, keypoints, skeleton, labels)


def _show_images(models: list[Model], shots: list[Shot], view: View) -> None:
    shots, found = find_all(models, shots)
    if not shots:
        return
    names = [shot.name for shot in shots]
    name = st.selectbox("Image", names, key="image") if len(names) > 1 else names[0]
    show_shot(shots[names.index(name)], shots, models, found, view)
