"""Line plots as SVG text, for a page or a file: the same text from the same numbers.

The ground is transparent and lines have middle tones, which show on a light page and on a dark one.
Text and axes have the colour of the page's text, and a middle tone where the SVG is a file.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from roilab.escaping import one_line
from roilab.evaluation.analysis import running_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#2f7fd0", "#c9660a", "#2a9058", "#9a5fd0", "#d0455a", "#128a98", "#94702c", "#74808c")
_MARKERS = "os^Dv*Xp"
_STYLES = ("-", "--", ":", "-.")
_INK = "#010203"  # a placeholder for the page's text colour, which matplotlib has no name for
_INKED = [f"{part}.color" for part in ("text", "grid", "xtick", "ytick")]
_INKED += ["axes.edgecolor", "axes.labelcolor"]
_SETTINGS: dict[Any, Any] = {
    **dict.fromkeys(_INKED, _INK),
    "svg.fonttype": "none",  # text stays text
    "text.parse_math": False,  # a name may hold dollar signs
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
}
_WIDTH, _HEIGHT, _LEGEND_ROW = 7.5, 3.4, 0.22  # inches
Lines = Mapping[str, Sequence[float | None]]  # by name


def curves(lines: Lines, x: Sequence[float], title: str, xlabel: str, ylabel: str) -> str:
    """A plot of lines, by name, with a value at each of the same X places; None leaves a gap."""
    height = _HEIGHT + _LEGEND_ROW * len(lines)
    with _figure(title, xlabel, ylabel, height) as (figure, axes):
        for index, values in enumerate(lines.values()):
            axes.plot(x, np.array(values, float), **_style(index), markersize=5)
        return _svg(figure, lines)


def running_means(values: Lines, title: str, ylabel: str) -> str:
    """A plot of values in percent, by name: a dot an image, None a gap, and the running mean."""
    height = _HEIGHT + _LEGEND_ROW * len(values)
    with _figure(title, "images", ylabel, height) as (figure, axes):
        axes.set_ylim(-4, 104)
        for index, line in enumerate(values.values()):
            numbers = np.arange(1, len(line) + 1)
            means = np.array(running_mean(line), float)
            dots = np.array(line, float)
            style = _style(index)
            of_dots = {"linestyle": "none", "markersize": 3, "markeredgewidth": 0, "alpha": 0.5}
            axes.plot(numbers, means, **{**style, "marker": ""})
            axes.plot(numbers, dots, **{**style, **of_dots})
        return _svg(figure, values)


def intervals(bars: Mapping[str, tuple[float, float, float]], title: str, xlabel: str) -> str:
    """A plot with a line at zero, and a row for each low end, value and high end, by name."""
    with _figure(title, xlabel, "", 1.2 + _LEGEND_ROW * len(bars)) as (figure, axes):
        low, value, high = np.array(list(bars.values())).T
        errors = (value - low, high - value)
        rows = range(len(bars))
        axes.axvline(0, color=_INK, linewidth=0.8, alpha=0.6)
        axes.errorbar(value, rows, xerr=errors, fmt="o", color=COLOURS[0])
        axes.set_yticks(rows, list(map(one_line, bars)))
        axes.invert_yaxis()
        return _svg(figure)


@contextmanager
def _figure(title: str, xlabel: str, ylabel: str, height: float) -> Iterator[tuple["Figure", Any]]:
    """A figure with its axes, and within the block its settings."""
    import matplotlib  # a tenth of the time that a command needs to start; few draw a plot
    from matplotlib.figure import Figure

    # Ids in the SVG are salted, since a page holds several plots.
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": one_line(title)}):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(one_line(title), loc="left")
        yield figure, axes


def _style(index: int) -> dict[str, Any]:
    """The style of a line: when colours repeat, the dashes differ."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": _STYLES[index // len(COLOURS) % len(_STYLES)],
        "linewidth": 1.8,
        "marker": _MARKERS[index % len(_MARKERS)],
    }


def _svg(figure: "Figure", names: Iterable[str] = ()) -> str:
    """The text of a figure, with the names of its lines in a legend below it."""
    lines = [line for line in figure.axes[0].lines if line.get_linestyle() != "None"]
    if names:
        # The names are set afterwards: a legend leaves out a name that begins with "_".
        legend = figure.legend(lines, ["-"] * len(lines), loc="outside lower left")
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_text(one_line(name))
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    svg = stream.getvalue().replace(_INK, "currentColor")
    return svg.replace("<svg ", f'<svg color="{COLOURS[-1]}" ', 1)  # a page's style outweighs it
