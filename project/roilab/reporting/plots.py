"""Line plots as SVG text, for a page or a file: the same text from the same numbers.

The ground is transparent and lines have middle tones, which show on a light page and on a dark one.
Text and axes have the colour of the page's text, and a middle tone where the SVG is a file.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from roilab.escaping import one_line
from roilab.evaluation.analysis import running_mean

COLOURS = ("#2f7fd0", "#c9660a", "#2a9058", "#9a5fd0", "#d0455a", "#128a98", "#94702c", "#74808c")
_MARKERS = "os^Dv*Xp"
_STYLES = ("-", "--", ":", "-.")
_FILE_INK = COLOURS[-1]  # of text and axes in a file
_INK = "#010203"  # a placeholder for the page's text colour, which matplotlib has no name for
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a name may hold dollar signs
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.15,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}
_WIDTH, _HEIGHT, _LEGEND_ROW = 7.5, 3.4, 0.22  # inches


def curves(
    lines: Mapping[str, Sequence[float | None]],
    x: Sequence[float],
    title: str,
    xlabel: str,
    ylabel: str,
) -> str:
    """A plot of one line or several over the same X places.

    Args:
        lines: by name, X values each; None leaves a gap.
    """
    with _settings(title):
        figure, axes = _empty(title, xlabel, ylabel, len(lines))
        for index, values in enumerate(lines.values()):
            axes.plot(x, _numbers(values), **_style(index), markersize=5)
        return _svg(figure, list(lines))


def running_means(values: Mapping[str, Sequence[float | None]], title: str, ylabel: str) -> str:
    """A plot of each image's value as a dot, and of the running mean as a line.

    Args:
        values: by name, in percent, one an image; None leaves a gap.
    """
    with _settings(title):
        figure, axes = _empty(title, "images", ylabel, len(values))
        axes.set_ylim(-4, 104)
        for index, line in enumerate(values.values()):
            count, style = np.arange(1, len(line) + 1), _style(index)
            axes.plot(count, _numbers(running_mean(line)), **{**style, "marker": ""})
            dots = {**style, "linestyle": "none", "markersize": 3}
            axes.plot(count, _numbers(line), **dots, markeredgewidth=0, alpha=0.5)
        return _svg(figure, list(values))


def intervals(bars: Mapping[str, tuple[float, float, float]], title: str, xlabel: str) -> str:
    """A plot with a point and its interval a row, and a line at zero.

    Args:
        bars: by name, the low end, the value and the high end.
    """
    with _settings(title):
        figure = Figure(figsize=(_WIDTH, 1.2 + _LEGEND_ROW * len(bars)), layout="constrained")
        axes = figure.subplots()
        axes.set_xlabel(xlabel)
        axes.set_title(one_line(title), loc="left")
        low, value, high = np.array(list(bars.values())).T
        axes.axvline(0, color=_INK, linewidth=0.8, alpha=0.6)
        axes.errorbar(
            value, range(len(bars)), xerr=(value - low, high - value), fmt="o", color=COLOURS[0]
        )
        axes.set_yticks(range(len(bars)), list(map(one_line, bars)))
        axes.invert_yaxis()
        return _text(figure)


def _settings(title: str) -> Any:
    """A context with the settings; ids in the SVG are salted, since a page holds several plots."""
    return matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": one_line(title)})


def _empty(title: str, xlabel: str, ylabel: str, lines: int) -> tuple[Figure, Any]:
    """A figure with room for the legend of its lines, and its axes."""
    figure = Figure(figsize=(_WIDTH, _HEIGHT + _LEGEND_ROW * lines), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(one_line(title), loc="left")
    return figure, axes


def _style(index: int) -> dict[str, Any]:
    """The style of a line: when colours repeat, the dashes differ."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": _STYLES[index // len(COLOURS) % len(_STYLES)],
        "linewidth": 1.8,
        "marker": _MARKERS[index % len(_MARKERS)],
    }


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


def _svg(figure: Figure, names: Sequence[str]) -> str:
    """The figure with a legend below it, a line a name."""
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
    # The names are set afterwards: a legend leaves out a name that begins with "_".
    legend = figure.legend(lines, ["-"] * len(lines), loc="outside lower left")
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(one_line(name))
    return _text(figure)


def _text(figure: Figure) -> str:
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue().replace(_INK, "currentColor")
    return text.replace("<svg ", f'<svg color="{_FILE_INK}" ', 1)  # a page's style outweighs it
