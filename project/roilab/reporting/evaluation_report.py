"""The evaluation of one model: tables for a terminal, and a page with the analysis of its AP."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from roilab.evaluation.analysis import Analysis, running_mean
from roilab.evaluation.ap import IOU_THRESHOLDS, METRICS, TASK_NAMES, Results
from roilab.evaluation.published import PublishedTable
from roilab.reporting import document, plots
from roilab.reporting.document import Cell, Picture, Plot, Section, Table, decimal

IMAGE_AP50 = "per-image AP@0.5 (not COCO AP50)"
KEYPOINT_OKS = "mean OKS term of each keypoint, from 0 to 1"
_TERMINAL_COLUMNS = 12  # of the confusion matrix, at most


def ap_table(results: Results) -> str:
    """A Markdown table: a row for each task over all classes, then one for each task and class."""
    return document.markdown_table(_ap(results), "github")


def published_text(published: PublishedTable, results: Results) -> str:
    """The results in the columns of a published table, and that table below its own heading."""
    parts = []
    for section in published_sections(published, results):
        parts += [textwrap.fill(text, 100) for text in (section.title, *section.paragraphs)]
        tables = [part for part in section.parts if isinstance(part, Table)]
        parts += [document.markdown_table(table, "github") for table in tables]
    return "\n\n".join(parts)


def published_sections(table: PublishedTable, results: Results) -> list[Section]:
    """A section with the results in the columns of a published table, and one with its rows."""
    return rows_beside_published(table, [["this run", *table.row_of(results)]])


def rows_beside_published(table: PublishedTable, ours: Sequence[Sequence[Cell]]) -> list[Section]:
    """A section with rows of ours in the columns of a published table, and one with its rows.

    Each of ours has a name before the columns.
    """
    head = ("", *table.columns)
    rows: list[list[Cell]] = [[name, *figures] for name, figures in table.rows.items()]
    return [
        Section(table.title, (), [Table(head, ours)]),
        Section("Published results", f"{table.source}.", [Table(head, rows)]),
    ]


def analysis_text(analysis: Analysis) -> str:
    """Keypoints, precision and recall, and confused classes, each below a line about it.

    The confused classes are left out where they are too many for the width of a terminal.
    """
    parts = []
    if analysis.keypoint_oks:
        terms = [f"{name} {decimal(term, 2)}" for name, term in analysis.keypoint_oks.items()]
        parts.append(textwrap.fill(f"{KEYPOINT_OKS}: {', '.join(terms)}", 100))
    parts.append(f"from score {analysis.score:g} on, at IoU or OKS 0.5:")
    parts.append(document.markdown_table(_operating_points(analysis), "github"))
    if len(analysis.labels) <= _TERMINAL_COLUMNS:
        about = "boxes of a row's class detected as a column's, at IoU 0.5:"
        parts.append(f"from the same score on, {about}")
        parts.append(document.markdown_table(_confusion(analysis, corner=""), "github"))
    return "\n\n".join(parts)


def evaluation_page(
    title: str,
    about: Sequence[str],
    results: Results,
    analysis: Analysis,
    pictures: Mapping[int, bytes],
    comparisons: Sequence[Section] = (),
) -> str:
    """One HTML page with sentences about a run, its AP, and the analysis of that.

    Pictures are JPEG files of annotations beside predictions, in the order of the page, by the
    position of their images in the analysis. Comparisons of the AP with another come after it.
    """
    sections = [
        Section("", about),
        Section(
            "COCO AP",
            "In percent. AP is the mean over ten IoU or OKS thresholds from 0.5 to 0.95, AP50 and "
            "AP75 are at one of them; APs, APm and APl are of small, medium and large objects.",
            [_ap(results)],
        ),
        *comparisons,
        _ap_by_iou(analysis),
        Section(
            f"Precision and recall from score {analysis.score:g} on",
            "At IoU or OKS 0.5, in percent: the share of the detections that match an object, and "
            "the share of the objects that a detection matches.",
            [_operating_points(analysis)],
        ),
        Section(
            f"Confused classes from score {analysis.score:g} on",
            "A cell counts the boxes of its row's class that were detected as its column's class, "
            "at IoU 0.5. The column background counts missed objects; the row background "
            "counts detections of nothing, and further detections of an object.",
            [_confusion(analysis, corner="annotated \\ predicted")],
        ),
    ]
    if analysis.keypoint_oks:
        rows = [(name, decimal(term, 2)) for name, term in analysis.keypoint_oks.items()]
        text = (
            f"The {KEYPOINT_OKS}: of objects found at OKS 0.5, over their labelled keypoints. The "
            "mean over an object's keypoints is its OKS."
        )
        sections.append(Section("Keypoints", text, [Table(("keypoint", "term"), rows)]))
    sections += [_images(analysis), *_pictures(analysis, pictures)]
    return document.to_html(title, sections)


def _ap(results: Results) -> Table:
    """Metrics in percent, of which a class has the first two."""
    rows: list[list[Cell]] = [
        [TASK_NAMES[task], "all", *(metrics.get(name) for name in METRICS)]
        for task, metrics in results.items()
    ]
    for task, metrics in results.items():
        classes = [name.removeprefix("AP-") for name in metrics if name.startswith("AP-")]
        if len(classes) > 1 or task == "keypoints":
            for name in classes:
                pair = (metrics[f"AP-{name}"], metrics[f"AP50-{name}"])
                rows.append([TASK_NAMES[task], name, *pair, "", "", "", ""])
    return Table(("task", "class", *METRICS), rows)


def _operating_points(analysis: Analysis) -> Table:
    rows: list[list[Cell]] = []
    for task, points in analysis.operating_points.items():
        for name, point in points.items():
            shares = (point.precision, point.recall)
            percents = [None if share is None else 100 * share for share in shares]
            counts = (point.true_positives, point.false_positives, point.false_negatives)
            rows.append([TASK_NAMES[task], name, *percents, *counts])
    head = ("task", "class", "precision", "recall")
    return Table((*head, "true positives", "false positives", "false negatives"), rows)


def _confusion(analysis: Analysis, corner: str) -> Table:
    counts = analysis.confusion.tolist()
    rows = [[name, *row] for name, row in zip(analysis.labels, counts, strict=True)]
    return Table((corner, *analysis.labels), rows, "heat")


def _ap_by_iou(analysis: Analysis) -> Section:
    lines = {TASK_NAMES[task]: values for task, values in analysis.ap_by_iou.items()}
    title = "AP by IoU or OKS threshold"
    svg = plots.curves(
        lines, IOU_THRESHOLDS, title, xlabel="IoU or OKS that a match needs", ylabel="AP, percent"
    )
    text = (
        "A higher threshold asks for a more exact detection: the curve of a model that detects "
        "the objects but localizes them poorly begins high and falls early. The mean of a curve "
        "is COCO AP."
    )
    head = ("task", *(f"{threshold:.2f}" for threshold in IOU_THRESHOLDS))
    rows = [[name, *values] for name, values in lines.items()]
    return Section(title, text, [Plot("thresholds", svg), Table(head, rows)])


def _images(analysis: Analysis) -> Section:
    values = {TASK_NAMES[task]: of_task for task, of_task in analysis.image_ap50.items()}
    head = ["image"]
    columns = []
    for name, column in values.items():
        head += [name, f"{name}, running mean"]
        columns += [column, running_mean(column)]
    rows: list[list[Cell]] = [
        [Path(file).name, *cells] for file, *cells in zip(analysis.images, *columns, strict=True)
    ]
    title = "per-image AP@0.5, running mean (not COCO AP50)"
    plot = Plot("images", plots.running_means(values, title, "percent"))
    table = Table(head, rows, folded=f"{len(rows):,} images")
    text = (
        "The AP at IoU or OKS 0.5 of each image as if it were the whole set: a dot an image, in "
        "their order, and as a line the mean of the images so far. COCO AP50 ranks the detections "
        "of all images together, and is another number."
    )
    return Section(IMAGE_AP50[0].upper() + IMAGE_AP50[1:], text, [plot, table])


def _pictures(analysis: Analysis, pictures: Mapping[int, bytes]) -> list[Section]:
    if not pictures:
        return []
    parts = []
    for position, jpeg in pictures.items():
        file = Path(analysis.images[position]).name
        values = ", ".join(
            f"{TASK_NAMES[task]} {document.number(of_task[position])}"
            for task, of_task in analysis.image_ap50.items()
        )
        alt = f"{file}: annotated beside predicted"
        parts.append(Picture(str(position), jpeg, f"{file}: {values}", alt))
    text = (
        f"The lowest {IMAGE_AP50}, the mean over tasks; annotations beside predictions from score "
        f"{analysis.score:g} on."
    )
    return [Section("Worst images", text, parts)]
