"""A video: the drawn one, and one of its frames at a time."""

from collections.abc import Sequence

import streamlit as st

from roilab.app.inputs import Shot, Upload, clip_of, shots_of
from roilab.app.messages import escape_streamlit, show_error
from roilab.app.models import Key, Model, Result, find_all, follow
from roilab.app.results import View, draw, files_of, show_buttons, show_shot, show_table
from roilab.errors import UserError
from roilab.inference.clips import Clip, encode_clip
from roilab.inference.uploads import stem_of


def show_video(models: Sequence[Model], upload: Upload, view: View) -> None:
    """The beginning of a video beside what each model finds in it, as videos and as a frame."""
    try:
        clip, reading = clip_of(upload.digest, upload)
    except UserError as error:
        show_error(error)
        return
    shots, results = find_all(models, shots_of(upload, clip, reading))
    if len(shots) < len(clip.frames):
        return
    results = [follow(result, shots, view.threshold) for result in results]
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
    drawn = show_shot(shot, results, view)
    for column, result, picture, video in zip(
        st.columns(len(results)), results, drawn, videos, strict=True
    ):
        files = files_of(shots, result, view)
        more = [
            ("Video", f"{stem_of(upload.name)}.mp4", lambda video=video: video),
            ("VIA project", "via.zip", lambda files=files: files.via_with_frames(clip.frames)),
        ]
        with column:
            show_table(shot, result, view)
            show_buttons(shot, picture, result, files, more)


@st.cache_data(max_entries=2, show_spinner="Encoding the video")
def _plain_video(digest: str, _clip: Clip) -> bytes:
    # Browsers play few of the videos that FFmpeg reads.
    return encode_clip(_clip.frames, _clip)


@st.cache_data(max_entries=6, show_spinner="Drawing the video")
def _drawn_video(
    key: Key, digest: str, view: View, _clip: Clip, _shots: Sequence[Shot], _result: Result
) -> bytes:
    pictures = (
        draw(frame, shot, _result, view) for frame, shot in zip(_clip.frames, _shots, strict=True)
    )
    return encode_clip(pictures, _clip)
