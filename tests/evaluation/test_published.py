"""Published tables: their columns are ours, and they stand beside the data that they are of."""

import json
from pathlib import Path

import pytest

from roilab.data.cityscapes import CLASSES
from roilab.data.dataset import DetectionDataset, load_dataset
from roilab.errors import UserError
from roilab.evaluation.ap import METRICS, TASK_NAMES, Results
from roilab.evaluation.published import TABLES, published_table
from roilab.synthetic import FiguresPaths

from .cityscapes_tree import CASES, write_tree

TASKS = ("bbox", "segm", "keypoints")


def coco_like(figures: FiguresPaths, folder: Path, ids: tuple[int, ...]) -> DetectionDataset:
    """The validation images with COCO's ids, as files of COCO's names."""
    data = load_dataset(str(figures.val), skeleton="coco_person").coco_json()
    numbers = {image["id"]: new for image, new in zip(data["images"], ids, strict=True)}
    for image in data["images"]:
        number = numbers[image["id"]]
        name = f"COCO_val2014_{number:012d}.jpg" if number % 2 else f"{number:012d}.jpg"
        (folder / name).write_bytes(Path(image["file_name"]).read_bytes())
        image.update(id=number, file_name=name)
    for row in data["annotations"]:
        row["image_id"] = numbers[row["image_id"]]
    file = folder / "coco.json"
    file.write_text(json.dumps(data))
    return load_dataset(str(file), str(folder), skeleton="coco_person")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_have_a_figure_for_each_column(table) -> None:
    for metric in table.columns.values():
        task, _, name = metric.partition("/")
        assert task in TASK_NAMES
        assert name in METRICS or name.removeprefix("AP-") in CLASSES
    for row in table.rows.values():
        assert len(row) == len(table.columns)
        assert all(0 < figure < 100 for figure in row if figure is not None)


def test_our_row_has_the_columns_of_the_table() -> None:
    results: Results = {
        "bbox": {"AP": 1.0},
        "keypoints": {"AP": 5.0, "APl": 9.0, "AP75": 7.0, "AP50": 6.0, "APm": None, "APs": 2.0},
    }
    assert TABLES["table4"].row_of(results) == [5.0, 6.0, 7.0, None, 9.0]


def test_coco_persons_have_their_table(figures: FiguresPaths, tmp_path: Path) -> None:
    table = TABLES["table4"]
    dataset = coco_like(figures, tmp_path, (139, 285, 632, 581929))
    assert published_table(None, dataset, TASKS) is table
    assert published_table(None, dataset, ("bbox", "segm")) is None
    sample = load_dataset(str(figures.val), skeleton="coco_person")
    assert published_table(None, sample, TASKS) is None
    assert published_table("table4", sample, TASKS) is table
    without = load_dataset(str(tmp_path / "coco.json"), str(tmp_path))
    assert published_table(None, without, TASKS) is None


def test_a_table_of_other_tasks_is_refused(figures: FiguresPaths) -> None:
    dataset = load_dataset(str(figures.val), skeleton="coco_person")
    with pytest.raises(UserError, match=r"(?s)published.*box AP and mask AP.*keypoint AP"):
        published_table("table4", dataset, ("bbox", "segm"))


def test_cityscapes_has_its_table(figures: FiguresPaths, tmp_path: Path) -> None:
    write_tree(tmp_path, CASES["all classes"])
    dataset = load_dataset(str(tmp_path / "gtFine" / "val"))
    table = TABLES["table7"]
    assert published_table(None, dataset, ("bbox", "segm")) is table
    assert published_table("table7", dataset, ("bbox", "segm")) is table
    assert published_table(None, dataset, ("bbox",)) is None
    assert list(table.columns) == [
        *("AP val", "AP50", "person", "rider", "car", "truck", "bus", "train"),
        *("mcycle", "bicycle"),
    ]
    sample = load_dataset(str(figures.val))
    with pytest.raises(UserError, match=r"(?s)AP of Cityscapes.*published.*gtFine/SPLIT"):
        published_table("table7", sample, ("bbox", "segm"))
