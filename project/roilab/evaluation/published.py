"""Published results, to stand beside those of a run in the columns of their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roilab.data.dataset import DetectionDataset
from roilab.errors import UserError
from roilab.evaluation.ap import TASK_NAMES, Results, flat
from roilab.skeleton import COCO_PERSON


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
        title: what the table is about, with its number.
        source: the paper, and the data that the figures are on.
        columns: the metric of ours, as `task/metric`, by the heading of the column.
        rows: figures in percent in the order of the columns, by method; None: not published.
    """

    title: str
    source: str
    columns: Mapping[str, str]
    rows: Mapping[str, Sequence[float | None]]

    @property
    def tasks(self) -> set[str]:
        """The tasks whose AP the columns show."""
        return {metric.partition("/")[0] for metric in self.columns.values()}

    def row_of(self, results: Results) -> list[float | None]:
        """The results of a run in the order of the columns."""
        values = flat(results)
        return [values.get(metric) for metric in self.columns.values()]


_TABLE_4 = PublishedTable(
    title="Keypoints of persons, as Table 4 of Mask R-CNN has them",
    source="Mask R-CNN (arXiv 1703.06870), Table 4: COCO test-dev; both Mask R-CNNs have R50-FPN",
    columns={
        "APkp": "keypoints/AP",
        "APkp 50": "keypoints/AP50",
        "APkp 75": "keypoints/AP75",
        "APkp M": "keypoints/APm",
        "APkp L": "keypoints/APl",
    },
    rows={
        "CMU-Pose+++": (61.8, 84.9, 67.5, 57.1, 68.2),
        "G-RMI": (62.4, 84.0, 68.5, 59.1, 68.1),
        "Mask R-CNN, keypoint-only": (62.7, 87.0, 68.4, 57.4, 71.1),
        "Mask R-CNN, keypoint & mask": (63.1, 87.3, 68.7, 57.8, 71.4),
    },
)
_TABLE_7 = PublishedTable(
    title="Masks by the rules of Cityscapes, as Table 7 of Mask R-CNN has them",
    source="Mask R-CNN (arXiv 1703.06870), Table 7: AP val on the val set, all else on the test "
    "set of Cityscapes; fine, coarse and COCO are the data of the training",
    columns={
        "AP val": "segm/AP",
        "AP50": "segm/AP50",
        **{name: f"segm/AP-{name}" for name in ("person", "rider", "car", "truck", "bus", "train")},
        "mcycle": "segm/AP-motorcycle",
        "bicycle": "segm/AP-bicycle",
    },
    rows={
        "InstanceCut, fine + coarse": (15.8, 27.9, 10.0, 8.0, 23.7, 14.0, 19.5, 15.2, 9.3, 4.7),
        "DWT, fine": (19.8, 30.0, 15.1, 11.7, 32.9, 17.1, 20.4, 15.0, 7.9, 4.9),
        "SAIS, fine": (None, 36.7, 14.6, 12.9, 35.7, 16.0, 23.2, 19.0, 10.3, 7.8),
        "DIN, fine + coarse": (None, 38.8, 16.5, 16.7, 25.7, 20.6, 30.0, 23.4, 17.1, 10.1),
        "SGN, fine + coarse": (29.2, 44.9, 21.8, 20.1, 39.4, 24.8, 33.2, 30.8, 17.7, 12.4),
        "Mask R-CNN, fine": (31.5, 49.9, 30.5, 23.7, 46.9, 22.8, 32.2, 18.6, 19.1, 16.0),
        "Mask R-CNN, fine + COCO": (36.4, 58.1, 34.8, 27.0, 49.1, 30.1, 40.9, 30.9, 24.1, 18.7),
    },
)
TABLES: Mapping[str, PublishedTable] = {"table4": _TABLE_4, "table7": _TABLE_7}


def published_table(
    name: str | None, dataset: DetectionDataset, tasks: Sequence[str]
) -> PublishedTable | None:
    """The table of this name; without a name that of the data set, None where there is none.

    Args:
        tasks: those that the model is evaluated in.

    Raises:
        UserError: the table is of other tasks, or of Cityscapes, whose rules are its own.
    """
    if name is None:
        fitting = [table for table in _tables_of(dataset) if table.tasks <= set(tasks)]
        return fitting[0] if fitting else None
    table = TABLES[name]
    if not table.tasks <= set(tasks):
        raise UserError(
            f"the model has nothing for {name} of the published tables",
            key="published",
            found=" and ".join(f"{TASK_NAMES[task]} AP" for task in tasks),
            expected=" and ".join(f"{TASK_NAMES[task]} AP" for task in sorted(table.tasks)),
            remedy="leave it out",
        )
    if table is _TABLE_7 and not dataset.is_cityscapes:
        raise UserError(
            f"{name} of the published tables has the AP of Cityscapes",
            key="published",
            found="other data, whose AP is by COCO's rules",
            expected="the labels of a split of Cityscapes, ROOT/gtFine/SPLIT",
            remedy="leave it out",
        )
    return table


def _tables_of(dataset: DetectionDataset) -> list[PublishedTable]:
    """The tables whose data these are."""
    if dataset.is_cityscapes:
        return [_TABLE_7]
    return [_TABLE_4] if _is_coco_persons(dataset) else []


def _is_coco_persons(dataset: DetectionDataset) -> bool:
    """Whether the images are COCO's, whose names end with their ids, with its person keypoints."""
    skeleton = dataset.skeleton
    if skeleton is None or skeleton.keypoints != COCO_PERSON.keypoints:
        return False
    ids = dataset.coco_ids.images
    return "person" in dataset.classes and all(
        Path(record["file_name"]).stem[-12:] == str(ids[record["image_id"]]).zfill(12)
        for record in dataset.records
    )
