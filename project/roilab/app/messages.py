"""An error as a red box on the page, and names from files escaped for it."""

import re

import streamlit as st

from roilab.errors import UserError
from roilab.escaping import printable

WITH_OPTIONS = "with_options"  # key in the session of a function that names options in an error


def show_error(error: UserError) -> None:
    """Show an error in a red box."""
    error = st.session_state[WITH_OPTIONS](error)
    lines = [f"**{escape_streamlit(error.message)}**"]
    for name in ("file", "key", "found", "expected", "remedy"):
        if (value := getattr(error, name)) is not None:
            lines.append(f"{name}: {escape_streamlit(str(value))}")
    st.error("  \n".join(lines))


def escape_streamlit(text: str) -> str:
    """The text, escaped so that Streamlit finds no markup in it."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", printable(" ".join(text.split())))
