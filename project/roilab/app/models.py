"""Loaded runs and their predictions, which are cached: no slider runs a model again.

What cannot be loaded or predicted is an error as a red box on the page.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import streamlit as st

from roilab.app.uploads import Shot
from roilab.engine.run_folder import Run, find_runs, open_run, reading
from roilab.errors import UserError
from roilab.escaping import escape_streamlit, one_line
from roilab.inference import Prediction, Predictor
from roilab.inference.formats import RunDescription, describe_run
from roilab.inference.tracking import Tracker

WITH_OPTIONS = "with_options"  # key in the session of a function that names options in an error
# The file of the weights, and when it was written, in nanoseconds.
Key: TypeAlias = tuple[str, int]
# Seconds after which the progress is shown: cached predictions take less.
_SOON = 0.3


@dataclass(frozen=True)
class Model:
    """A run that is loaded.

    Attributes:
        key: another one for other weights.
        description: of the run, for its files; its title is the folder below that of all runs.
    """

    key: Key
    predictor: Predictor
    description: RunDescription


@dataclass(frozen=True)
class Result:
    """The predictions of one model for several images.

    Attributes:
        predictions: by the digest of the shot.
        seconds: that the model took, by the digest of the shot.
        tracks: the numbers of the instances from a score on, by the digest of a video's frame.
        video: an mp4 of a video's frames with the predictions.
    """

    model: Model
    predictions: dict[str, Prediction]
    seconds: dict[str, float]
    tracks: dict[str, list[int]]
    video: bytes | None = None


def show_error(error: UserError) -> None:
    """Show an error in a red box."""
    text = str(st.session_state[WITH_OPTIONS](error))
    message, *parts = map(escape_streamlit, text.splitlines())
    st.error("  \n".join([f"**{message}**", *parts]))


@st.cache_data(ttl=10, show_spinner=False)
def named_runs(root: str) -> dict[str, str]:
    """The folders of runs by their path below the root, the newest weights first."""
    folders = {}
    for run in find_runs(root):
        folder = run.folder
        name = folder.name if str(folder) == root else str(folder.relative_to(root))
        folders[one_line(name)] = str(folder)
    return folders


def cached_model(name: str, folder: str, max_memory: int | None) -> Model | None:
    """The model of a run; None, and a message on the page, where it cannot be loaded."""
    try:
        run = open_run(folder)
        key = (str(run.weights), run.weights.stat().st_mtime_ns)
        with st.spinner(f"Loading {escape_streamlit(name)}"):
            return _load(key, name, run, max_memory)
    except UserError as error:
        show_error(error)
    except OSError as error:
        show_error(UserError("cannot read the run", file=folder, found=error.strerror or error))
    return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(key: Key, name: str, _run: Run, max_memory: int | None) -> Model:
    with reading(_run):
        predictor = Predictor.from_run(_run, fast=True, max_memory=max_memory)
        return Model(key, predictor, describe_run(_run, title=name, threshold=0))


def predict_shots(
    models: Sequence[Model], shots: Sequence[Shot]
) -> tuple[list[Shot], list[Result]]:
    """Predict each image with each model; one that fails is reported, left out, and ends a video.

    Returns:
        The images that every model could predict, and the result of each model.
    """
    done: list[Shot] = []
    results = [Result(model, {}, {}, {}) for model in models]
    slot = st.empty()
    start = time.perf_counter()
    with st.spinner("Looking", show_time=True):
        for place, shot in enumerate(shots):
            if time.perf_counter() - start > _SOON:
                slot.progress(place / len(shots), f"{place} of {len(shots)}")
            try:
                for result in results:
                    model = result.model
                    prediction, seconds = _predict(model.key, shot.digest, model, shot)
                    result.predictions[shot.digest] = prediction
                    result.seconds[shot.digest] = seconds
            except UserError as error:
                show_error(error)
                if shot.frame is not None:
                    break
            else:
                done.append(shot)
    slot.empty()
    return done, results


def track_shots(result: Result, shots: Sequence[Shot], threshold: float) -> Result:
    """The same, its instances from a score on numbered over the frames of a video."""
    tracker = Tracker(result.model.predictor.skeleton)
    tracks = {}
    for shot in shots:
        prediction = result.predictions[shot.digest].above(threshold)
        tracks[shot.digest] = tracker.update(prediction)
    return replace(result, tracks=tracks)


@st.cache_resource(max_entries=1000, show_spinner=False)
def _predict(key: Key, digest: str, _model: Model, _shot: Shot) -> tuple[Prediction, float]:
    """Compressed instances, whatever their scores, and the seconds that the model took."""
    picture, _ = _shot.read()
    start = time.perf_counter()
    try:
        prediction = _model.predictor(picture)
    except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError("the model fails on this image", file=_shot.name, found=reason) from error
    return prediction.compressed(), time.perf_counter() - start
