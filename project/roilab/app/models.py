"""Runs that are loaded once, and what they find, which is kept: no slider runs a model again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import streamlit as st

from roilab.app.inputs import Shot
from roilab.app.messages import escape_streamlit, show_error
from roilab.engine.run_folder import Run, find_runs, open_run, reading
from roilab.errors import UserError
from roilab.escaping import one_line
from roilab.inference import Predictor
from roilab.inference.rle_prediction import PackedPrediction, pack
from roilab.inference.to_annotations import attribute_names
from roilab.inference.tracking import Tracker

# The file of the weights, and when it was written, in nanoseconds.
Key: TypeAlias = tuple[str, int]
# What a model finds in an image, whatever the scores, and the seconds that it took.
Found: TypeAlias = tuple[PackedPrediction, float]

# Seconds after which it is worth saying how far it is: what is known already takes less.
_SOON = 0.3


@dataclass(frozen=True)
class Model:
    """A run that is loaded.

    Attributes:
        name: its folder below that of all runs.
        key: another one for other weights.
        attributes: of its training data, see `attribute_names`.
        category_ids: of its classes, in COCO.
    """

    name: str
    key: Key
    predictor: Predictor
    attributes: dict[str, str]
    category_ids: tuple[int | str, ...]


@dataclass(frozen=True)
class Result:
    """The predictions of one model for several images.

    Attributes:
        found: by the digest of the image.
        tracks: the same of the numbers of instances from a score on; only of frames of a video.
    """

    model: Model
    found: dict[str, Found]
    tracks: dict[str, list[int]]


@st.cache_data(ttl=10, show_spinner=False)
def named_runs(root: str) -> dict[str, str]:
    """The folders of runs by their path below the root, the newest weights first."""
    folders = [run.folder for run in find_runs(root)]
    names = (str(f.relative_to(root)) if str(f) != root else f.name for f in folders)
    return {one_line(name): str(f) for name, f in zip(names, folders, strict=True)}


def cached_model(name: str, folder: str, max_memory: int | None) -> Model | None:
    """The model of a run; None, and a message on the page, where it cannot be loaded."""
    try:
        run = open_run(folder)
        key = (str(run.weights), run.weights.stat().st_mtime_ns)
        with st.spinner(f"Loading {escape_streamlit(name)}"):
            return Model(name, key, *_load(key, run, max_memory))
    except UserError as error:
        show_error(error)
    except OSError as error:
        show_error(UserError("cannot read the run", file=folder, found=error.strerror or error))
    return None


@st.cache_resource(max_entries=4, show_spinner=False)
def _load(
    key: Key, _run: Run, max_memory: int | None
) -> tuple[Predictor, dict[str, str], tuple[int | str, ...]]:
    with reading(_run):
        predictor = Predictor.from_run(_run, fast=True, max_memory=max_memory)
        return predictor, attribute_names(_run), _run.category_ids()


def find_all(models: Sequence[Model], shots: Sequence[Shot]) -> tuple[list[Shot], list[Result]]:
    """Predict each image with each model; one that fails is reported, left out, and ends a video.

    Returns:
        The images that all models have looked at, and for each model what it has found in them.
    """
    done: list[Shot] = []
    results = [Result(model, {}, {}) for model in models]
    slot, began = st.empty(), time.perf_counter()
    with st.spinner("Looking", show_time=True):
        for place, shot in enumerate(shots):
            if time.perf_counter() - began > _SOON:
                slot.progress(place / len(shots), f"{place} of {len(shots)}")
            try:
                for each in results:
                    each.found[shot.digest] = _find(each.model.key, shot.digest, each.model, shot)
            except UserError as error:
                show_error(error)
                if shot.moment is not None:
                    break
            else:
                done.append(shot)
    slot.empty()
    return done, results


def follow(result: Result, shots: Sequence[Shot], threshold: float) -> Result:
    """The same, its instances from a score on numbered over the frames of a video."""
    tracker = Tracker(result.model.predictor.skeleton)
    tracks = {}
    for shot in shots:
        packed, _ = result.found[shot.digest]
        tracks[shot.digest] = tracker.update(packed.bare.above(threshold)).tolist()
    return replace(result, tracks=tracks)


@st.cache_resource(max_entries=1000, show_spinner=False)
def _find(key: Key, digest: str, _model: Model, _shot: Shot) -> Found:
    picture, _ = _shot.read()
    began = time.perf_counter()
    try:
        prediction = _model.predictor(picture)
    except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError("the model fails on this image", file=_shot.name, found=reason) from error
    return pack(prediction), time.perf_counter() - began
