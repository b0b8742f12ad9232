"""The page of the analysis of one model's AP."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from roilab.evaluation.ap import TASK_NAMES, Results
from roilab.evaluation.bootstrap import METRICS
from roilab.evaluation.details import THRESHOLDS
from roilab.evaluation.summary import Summary, running_mean
from roilab.reporting import plots
from roilab.reporting.ap_tables import JOINTS, POINT, ap_rows, decimals, point_rows
from roilab.reporting.document import Cell, Picture, Plot, Section, Table, number, to_html

IMAGE_AP50 = "per-image AP@0.5 (not COCO AP50)"
RUNNING_MEAN = "per-image AP@0.5, running mean (not COCO AP50)"


def evaluation_page(
    title: str,
    about: Sequence[str],
    results: Results,
    summary: Summary,
    pictures: Mapping[int, bytes],
) -> str:
    """One HTML page with the AP and what is behind it.

    Args:
        title: names the run.
        about: sentences on the weights and the data.
        results: as `average_precision` gives them.
        pictures: JPEG files by the position of their images in the summary, in their order on the
            page; annotated beside predicted.
    """
    sections = [
        Section("", about),
        Section(
            "COCO AP",
            "In percent. AP is the mean over ten strictnesses from 0.5 to 0.95, AP50 and AP75 "
            "are at one of them; APs, APm and APl are of small, medium and large objects.",
            [Table(("task", "class", *METRICS), ap_rows(results))],
        ),
        _strictness(summary),
        Section(
            f"Precision and recall from score {summary.score:g} on",
            "At IoU or OKS 0.5, in percent: the share of the detections that is right, and the "
            "share of the objects that is found.",
            [Table(("task", "class", *POINT), point_rows(summary))],
        ),
        _confusion(summary),
        *_joints(summary),
        _images(summary),
        *_pictures(summary, pictures),
    ]
    return to_html(title, sections)


def _strictness(summary: Summary) -> Section:
    lines = {TASK_NAMES.get(task, task): found.strictness for task, found in summary.tasks.items()}
    title, x, y = "AP by strictness", "IoU or OKS that a match needs", "AP, percent"
    head = ("task", *(f"{threshold:.2f}" for threshold in THRESHOLDS))
    return Section(
        title,
        "How exactly an object has to be found: a model that finds the objects, but not their "
        "place, begins high and falls early. The mean of a line is COCO AP.",
        [
            Plot("strictness", plots.curves(lines, THRESHOLDS, title, x, y)),
            Table(head, [[name, *values] for name, values in lines.items()]),
        ],
    )


def _confusion(summary: Summary) -> Section:
    background = summary.labels[-1]
    counts = summary.confusion.tolist()
    rows = [[name, *row] for name, row in zip(summary.labels, counts, strict=True)]
    return Section(
        f"Confused classes from score {summary.score:g} on",
        "How often the box of an object of a row's class was found as one of a column's, at "
        f"IoU 0.5. The column {background}: missed. The row {background}: found where no "
        "object is, or found once more.",
        [Table(("annotated \\ predicted", *summary.labels), rows, "heat")],
    )


def _joints(summary: Summary) -> list[Section]:
    if not summary.joints:
        return []
    text = (
        f"The {JOINTS}: of objects found at OKS 0.5, over their labelled joints. The mean over an "
        "object's joints is its OKS."
    )
    rows = [(name, decimals(term)) for name, term in summary.joints.items()]
    return [Section("Joints", [text], [Table(("joint", "term"), rows)])]


def _images(summary: Summary) -> Section:
    """Plot and table of the single images."""
    values = {TASK_NAMES.get(task, task): found.image_ap50 for task, found in summary.tasks.items()}
    columns = [column for task in values.values() for column in (task, running_mean(task))]
    rows: list[list[Cell]] = [
        [Path(file).name, *cells] for file, *cells in zip(summary.images, *columns, strict=True)
    ]
    head = [f"{name}{kind}" for name in values for kind in ("", ", running mean")]
    return Section(
        IMAGE_AP50[0].upper() + IMAGE_AP50[1:],
        "The AP at IoU or OKS 0.5 of each image as if it were the whole set: a dot an image, "
        "in their order, and as a line the mean of the images so far. COCO AP50 ranks the "
        "detections of all images together, and is another number.",
        [
            Plot("images", plots.running_means(values, RUNNING_MEAN, "percent")),
            Table(["image", *head], rows, folded=f"{len(summary.images):,} images"),
        ],
    )


def _pictures(summary: Summary, pictures: Mapping[int, bytes]) -> list[Section]:
    if not pictures:
        return []
    parts = []
    for at, jpeg in pictures.items():
        file = Path(summary.images[at]).name
        values = ", ".join(
            f"{TASK_NAMES.get(task, task)} {number(found.image_ap50[at])}"
            for task, found in summary.tasks.items()
        )
        alt = f"{file}: annotated beside predicted"
        parts.append(Picture(str(at), jpeg, f"{file}: {values}", alt))
    text = (
        f"The lowest {IMAGE_AP50}, the mean over tasks; annotated beside what is predicted from "
        f"score {summary.score:g} on."
    )
    return [Section("Worst images", [text], parts)]
