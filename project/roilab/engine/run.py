"""The run folder: the only thing that is needed after training."""

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from roilab import skeleton as skeletons
from roilab.data.coco_ids import CocoIds
from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.errors import UserError
from roilab.evaluation import Evaluation
from roilab.evaluation.ap import Results
from roilab.files import write_whole
from roilab.skeleton import Skeleton

LAYOUT = 1  # of the folder; docs/run-folder.md has what each number means
FINAL, LAST = "model_final.pth", "last_checkpoint"
PERIODIC = re.compile(r"model_\d{7,}\.pth")


@dataclass(frozen=True)
class Run:
    """Paths and contents of a run folder; docs/run-folder.md says what it holds.

    Attributes:
        folder: where it is.
        weights_name: the file of its weights; None: the final ones.
    """

    folder: Path
    weights_name: str | None = None

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def provenance_file(self) -> Path:
        return self.folder / "run.json"

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def weights(self) -> Path:
        """The weights that are asked for: the final ones, before the end of the training those of
        the last checkpoint.
        """
        if self.weights_name is not None:
            return self.folder / self.weights_name
        final = self.folder / FINAL
        return final if final.is_file() else max(self.checkpoints(), default=final)

    def checkpoints(self) -> list[Path]:
        """The states of the training that were written on its way, the oldest first."""
        return sorted(path for path in self.folder.glob("*.pth") if PERIODIC.fullmatch(path.name))

    @property
    def results_file(self) -> Path:
        return self.folder / "results.json"

    @property
    def detections_file(self) -> Path:
        return self.folder / "coco_instances_results.json"

    @property
    def category_ids_file(self) -> Path:
        return self.folder / "category_ids.json"

    @property
    def evaluate_command(self) -> str:
        """The command that evaluates the run anew, for a shell."""
        return shlex.join(["python", "scripts/evaluate.py", "--run", str(self.folder)])

    def write_meaning(self, cfg: DictConfig, dataset: DetectionDataset) -> None:
        """Write what gives the weights their meaning: config, class names and ids, skeleton."""
        config.save(cfg, self.config_file)
        self._write_json("classes.json", list(dataset.classes))
        self._write_json(self.category_ids_file.name, list(dataset.coco_ids.categories))
        if dataset.skeleton is not None:
            self._write_json("skeleton.json", dataset.skeleton.to_dict())

    def write_evaluation(self, found: Evaluation, ids: CocoIds) -> None:
        """Write the detections of the run's weights, and then their AP, which completes the run.

        Args:
            ids: of the data set, which the detections get.
        """
        if not self.category_ids_file.is_file():  # of a run from before there was such a file
            self._write_json(self.category_ids_file.name, list(ids.categories))
        write_whole(self.detections_file, json.dumps(ids.to_file(found.detections)) + "\n")
        self.write_results(found.results)

    def detections(self, ids: CocoIds) -> list[dict[str, Any]]:
        """What `write_evaluation` was given.

        Raises:
            UserError: the detections are gone or damaged, or are not those of a data set with these
                ids.
        """
        path = self.detections_file
        remedy = f"find them anew: {self.evaluate_command}"
        if not path.is_file():
            raise UserError("the detections of a run are gone", file=path, remedy=remedy)
        if not self.category_ids_file.is_file():
            ids = CocoIds(ids.images, tuple(range(1, len(ids.categories) + 1)))
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(
                "the detections of a run are damaged", file=path, found=error, remedy=remedy
            ) from error
        try:
            return ids.from_file(rows)
        except UserError as error:
            raise UserError(
                "the detections of a run are not of its validation set",
                file=path,
                key=error.key,
                found=error.found,
                expected=error.expected,
                remedy=remedy,
            ) from error

    def write_results(self, results: Results, name: str = "results.json") -> None:
        self._write_json(name, results)

    def provenance(self) -> dict[str, Any]:
        """What run.json holds; only the layout, where a folder has none: made by hand, or before.

        Raises:
            UserError: it is damaged, or of a newer layout.
        """
        path = self.provenance_file
        if not path.is_file():
            return {"layout": LAYOUT}
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(data, dict) or type(data.get("layout")) is not int:
                raise ValueError("no layout number")
        except ValueError as error:
            raise UserError(
                "the record of the run is damaged",
                file=path,
                found=error,
                expected=f'{{"layout": {LAYOUT}, "starts": [...]}}',
                remedy="delete this file: it is a record, and the run is whole without it",
            ) from error
        if data["layout"] > LAYOUT:
            raise UserError(
                "the run folder is laid out in a newer way",
                file=path,
                key="layout",
                found=data["layout"],
                expected=f"at most {LAYOUT}",
                remedy="use a newer RoILab",
            )
        return data

    def _write_json(self, name: str, data: Any) -> None:
        write_whole(self.folder / name, json.dumps(data, indent=2) + "\n")

    def classes(self) -> tuple[str, ...]:
        path = self.folder / "classes.json"
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError("not a list of class names", file=path, found=error) from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError("not a list of class names", file=path, found=names)
        return tuple(names)

    def category_ids(self) -> tuple[int | str, ...]:
        """The COCO category ids of the classes, in their order; 1..C in a run that has none.

        Raises:
            UserError: they are damaged, or are not as many as the classes.
        """
        path, count = self.category_ids_file, len(self.classes())
        if not path.is_file():
            return tuple(range(1, count + 1))
        try:
            ids = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            ids = error
        sound = isinstance(ids, list) and {type(each) for each in ids} <= {int, str}
        if not sound or len(ids) != count:
            raise UserError(
                "not the category ids of the classes",
                file=path,
                found=ids,
                expected=f"{count} ids, in the order of classes.json",
                remedy="delete this file: the ids are then 1, 2, ...",
            )
        return tuple(ids)

    def skeleton(self) -> Skeleton | None:
        path = self.folder / "skeleton.json"
        return skeletons.load(path) if path.is_file() else None


def open_run(folder: str | Path, weights: str | None = None) -> Run:
    """The run in a folder.

    Args:
        weights: a file of the folder in place of the final weights, such as model_best.pth.

    Raises:
        UserError: the folder is not a run, holds no weights yet, or is laid out in a newer way.
    """
    run = Run(Path(folder), weights)
    for path in (run.config_file, run.folder / "classes.json"):
        if not path.is_file():
            raise UserError(
                "not a run folder",
                file=folder,
                found=f"no {path.name}",
                expected="a folder written by scripts/train.py",
            )
    run.provenance()
    wanted = weights or run.weights.name
    there = sorted(path.name for path in run.folder.glob("*.pth"))
    if wanted not in there:  # a path to elsewhere is not, either
        raise UserError(
            "the run folder has no such weights",
            file=folder,
            found=f"no {wanted}",
            expected=f"one of {', '.join(there)}" if there else "a training that has saved some",
        )
    return run


def find_runs(root: str | Path) -> list[Run]:
    """The runs in a folder and in those below it that have weights, the newest weights first."""
    found = []
    for folder, _, names in os.walk(root):
        run = Run(Path(folder))
        if {run.config_file.name, "classes.json"} <= set(names) and run.weights.is_file():
            found.append((run.weights.stat().st_mtime_ns, run))
    found.sort(key=lambda pair: (-pair[0], pair[1].folder))
    return [run for _, run in found]
