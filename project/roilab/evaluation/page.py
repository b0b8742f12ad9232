"""The analysis of one model's AP as one HTML page that needs no network and no script."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from roilab import html_page
from roilab.evaluation import plots
from roilab.evaluation.ap import Results
from roilab.evaluation.bootstrap import METRICS
from roilab.evaluation.details import THRESHOLDS
from roilab.evaluation.summary import Summary, running_mean
from roilab.evaluation.table import (
    JOINTS,
    POINT,
    TITLES,
    Row,
    ap_rows,
    decimals,
    point_rows,
)

IMAGE_AP50 = "per-image AP@0.5 (not COCO AP50)"
RUNNING_MEAN = "per-image AP@0.5, running mean (not COCO AP50)"


def evaluation_page(
    title: str,
    about: Sequence[str],
    results: Results,
    summary: Summary,
    pictures: Mapping[int, bytes],
) -> str:
    """The whole page; names from files are escaped.

    Args:
        title: names the run.
        about: sentences on the weights and the data.
        results: as `average_precision` gives them.
        pictures: JPEG files by the position of their images in the summary, in their order on the
            page; annotated beside predicted.
    """
    parts = [*(f"<p>{escape(each)}</p>" for each in about), *_ap(results)]
    parts += [*_strictness(summary), *_points(summary), *_confusion(summary)]
    if summary.joints:
        rows = [(name, decimals(term)) for name, term in summary.joints.items()]
        parts += _section(
            "Joints",
            f"The {JOINTS}: of objects found at OKS 0.5, over their labelled joints. The mean over "
            "an object's joints is its OKS.",
            html_page.html_table(("joint", "term"), rows),
        )
    return html_page.document(title, [*parts, *_images(summary), *_pictures(summary, pictures)])


def _section(heading: str, text: str, *parts: str) -> list[str]:
    """A heading, a paragraph below it, and HTML."""
    return [f"<h2>{escape(heading)}</h2>", f"<p>{escape(text)}</p>", *parts]


def _ap(results: Results) -> list[str]:
    return _section(
        "COCO AP",
        "In percent. AP is the mean over ten strictnesses from 0.5 to 0.95, AP50 and AP75 are at "
        "one of them; APs, APm and APl are of small, medium and large objects.",
        html_page.html_table(("task", "class", *METRICS), ap_rows(results)),
    )


def _strictness(summary: Summary) -> list[str]:
    lines = {TITLES.get(task, task): found.strictness for task, found in summary.tasks.items()}
    rows: list[Row] = [[name, *values] for name, values in lines.items()]
    x, y = "IoU or OKS that a match needs", "AP, percent"
    return _section(
        "AP by strictness",
        "How exactly an object has to be found: a model that finds the objects, but not their "
        "place, begins high and falls early. The mean of a line is COCO AP.",
        html_page.svg(plots.curves(lines, THRESHOLDS, "AP by strictness", x, y)),
        html_page.html_table(("task", *(f"{threshold:.2f}" for threshold in THRESHOLDS)), rows),
    )


def _points(summary: Summary) -> list[str]:
    return _section(
        f"Precision and recall from score {summary.score:g} on",
        "At IoU or OKS 0.5, in percent: the share of the detections that is right, and the share "
        "of the objects that is found.",
        html_page.html_table(("task", "class", *POINT), point_rows(summary)),
    )


def _confusion(summary: Summary) -> list[str]:
    background = summary.labels[-1]
    rows = [
        (name, [int(count) for count in counts])
        for name, counts in zip(summary.labels, summary.confusion, strict=True)
    ]
    return _section(
        f"Confused classes from score {summary.score:g} on",
        "How often the box of an object of a row's class was found as one of a column's, at IoU "
        f"0.5. The column {background}: missed. The row {background}: found where no object is, "
        "or found once more.",
        html_page.heat_map("annotated \\ predicted", summary.labels, rows),
    )


def _images(summary: Summary) -> list[str]:
    """Plot and table of the single images."""
    values = {TITLES.get(task, task): found.image_ap50 for task, found in summary.tasks.items()}
    columns = [each for task in values.values() for each in (task, running_mean(task))]
    rows: list[Row] = [
        [Path(file).name, *cells] for file, *cells in zip(summary.images, *columns, strict=True)
    ]
    head = [f"{name}{kind}" for name in values for kind in ("", ", running mean")]
    plot = plots.running_means(values, RUNNING_MEAN, "percent")
    return _section(
        IMAGE_AP50[0].upper() + IMAGE_AP50[1:],
        "The AP at IoU or OKS 0.5 of each image as if it were the whole set: a dot an image, in "
        "their order, and as a line the mean of the images so far. COCO AP50 ranks the detections "
        "of all images together, and is another number.",
        html_page.svg(plot),
        f"<details><summary>{len(summary.images):,} images</summary>",
        html_page.html_table(["image", *head], rows),
        "</details>",
    )


def _pictures(summary: Summary, pictures: Mapping[int, bytes]) -> list[str]:
    if not pictures:
        return []
    figures = []
    for at, jpeg in pictures.items():
        file = Path(summary.images[at]).name
        values = ", ".join(
            f"{TITLES.get(task, task)} {'-' if value is None else format(value, '.1f')}"
            for task, found in summary.tasks.items()
            for value in [found.image_ap50[at]]
        )
        shown = html_page.image(jpeg, f"{file}: annotated beside predicted")
        caption = f"<figcaption>{escape(f'{file}: {values}')}</figcaption>"
        figures.append(f"<figure>{shown}{caption}</figure>")
    return _section(
        "Worst images",
        f"The lowest {IMAGE_AP50}, the mean over tasks; annotated beside what is predicted from "
        f"score {summary.score:g} on.",
        *figures,
    )
