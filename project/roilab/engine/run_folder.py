"""The run folder: the only thing that is needed after training."""

import contextlib
import json
import logging
import math
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from roilab import skeleton as skeletons
from roilab.data.coco_ids import CocoIds
from roilab.data.dataset import DetectionDataset
from roilab.engine import config
from roilab.engine.run_record import (
    RECORD,
    accepting,
    digest_of,
    digests,
    is_as_written,
    is_there,
    read_record,
    read_verified,
    remove_digests,
    replacing,
)
from roilab.engine.stored_results import (
    RESULTS,
    ROWS,
    is_number,
    problem_of_results,
    problem_of_rows,
)
from roilab.errors import UserError
from roilab.evaluation import Evaluation
from roilab.evaluation.ap import Results
from roilab.files import decode, parse_json, write_whole
from roilab.skeleton import Skeleton

log = logging.getLogger(__name__)

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
        return self.folder / RECORD

    @property
    def metrics_file(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def lock_file(self) -> Path:
        return self.folder / ".training.lock"

    @property
    def weights(self) -> Path:
        """The weights that are asked for: the final ones, before the end of the training those of
        the last checkpoint.
        """
        if self.weights_name is not None:
            return self.folder / self.weights_name
        final = self.folder / FINAL
        # What has its name and is no file is damaged, and no reason to take others in its place.
        return final if os.path.lexists(final) else max(self.checkpoints(), default=final)

    def checkpoints(self) -> list[Path]:
        """The states of the training that were written on its way, the oldest first."""
        return sorted(path for path in self.folder.glob("*.pth") if PERIODIC.fullmatch(path.name))

    def states(self) -> list[Path]:
        """The checkpoints that a training can go on from, the final one last."""
        final = self.folder / FINAL
        return [*self.checkpoints(), *([final] if final.exists() else [])]

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
        return shlex.join(["roilab", "evaluate", "--run", str(self.folder)])

    def write_meaning(self, cfg: DictConfig, dataset: DetectionDataset) -> None:
        """Write what gives the weights their meaning: config, class names and ids, skeleton."""
        contents = {
            self.config_file.name: config.to_yaml(config.to_plain_data(cfg)),
            "classes.json": _json(list(dataset.classes)),
            self.category_ids_file.name: _json(list(dataset.coco_ids.categories)),
        }
        if dataset.skeleton is not None:
            contents["skeleton.json"] = _json(dataset.skeleton.to_dict())
        self._write_all(contents)

    def write(self, name: str, text: str) -> None:
        """Write a file, and its digest into run.json."""
        self._write_all({name: text})

    def _write_all(self, texts: Mapping[str, str]) -> None:
        contents = {name: text.encode("utf-8") for name, text in texts.items()}
        with replacing(self.folder, {name: digest_of(each) for name, each in contents.items()}):
            for name, content in contents.items():
                write_whole(self.folder / name, content)

    def begin_anew(self) -> None:
        """Remove the results, of a run that is to be longer; its log is open from now on."""
        remove_digests(self.folder, [self.results_file.name, self.metrics_file.name])
        self.results_file.unlink(missing_ok=True)

    def close_log(self) -> None:
        """Take the digest of the metrics, to which nothing is appended any more."""
        if self.metrics_file.is_file():
            content = self.metrics_file.read_bytes()
            with replacing(self.folder, {self.metrics_file.name: digest_of(content)}):
                pass

    def write_evaluation(self, found: Evaluation, ids: CocoIds) -> None:
        """Write the detections of the run's weights, and then their AP, which completes the run.

        Args:
            ids: of the data set, which the detections get.
        """
        if not self.category_ids_file.is_file():  # of a run from before there was such a file
            self.write(self.category_ids_file.name, _json(list(ids.categories)))
        self.write(self.detections_file.name, json.dumps(ids.to_file(found.detections)) + "\n")
        self.write_results(found.results)

    def detections(self, ids: CocoIds) -> list[dict[str, Any]]:
        """The detections that `write_evaluation` stored.

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
        what = "the detections of a run"
        rows = self._read_json(path.name, what=what, expected=ROWS, remedy=remedy)
        # Masks take long to look at.
        if not is_as_written(path) and (problem := problem_of_rows(rows)):
            raise UserError(
                f"{what} are damaged", file=path, found=problem, expected=ROWS, remedy=remedy
            )
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
        self.write(name, _json(results))

    def results(self) -> Results:
        """The AP of the final weights, of a run that is complete.

        Raises:
            UserError: the file is gone, or damaged.
        """
        remedy = f"find it anew: {self.evaluate_command}"
        what = "the AP of a run"
        found = self._read_json(self.results_file.name, what=what, expected=RESULTS, remedy=remedy)
        if problem := problem_of_results(found):
            raise UserError(
                f"{what} is damaged",
                file=self.results_file,
                found=problem,
                expected=RESULTS,
                remedy=remedy,
            )
        results: Results = found
        return results

    def starts(self) -> list[dict[str, Any]]:
        """The starts of the run that run.json has.

        Raises:
            UserError: it is damaged, or of a newer layout.
        """
        starts: list[dict[str, Any]] = read_record(self.folder).get("starts", [])
        return starts

    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.json, of which a run that was made by hand has none.

        Raises:
            UserError: one is damaged, or the file is not as it was when the training ended.
        """
        path, what = self.metrics_file, "the log of the metrics"
        if not is_there(path):
            return []
        expected = "an object of numbers a line"
        remedy = "delete this file"
        if path.name in digests(self.folder):
            remedy = f"delete this file and say so: {accepting(path)}"
        text = decode(read_verified(path, what=what), path, what=what, remedy=remedy)
        lines = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                found = error
            # Not a number is what a loss may be.
            if not isinstance(found, dict) or not all(
                is_number(value) or value != value or value in (math.inf, -math.inf)
                for value in found.values()
            ):
                raise UserError(
                    f"{what} is damaged",
                    file=path,
                    key=f"line {number}",
                    found=found,
                    expected=expected,
                    remedy=remedy,
                )
            lines.append(found)
        return lines

    def _read_json(
        self, name: str, *, what: str, expected: str | None = None, remedy: str | None = None
    ) -> Any:
        path = self.folder / name
        content = read_verified(path, what=what, remedy=remedy)
        return parse_json(content, path, what=what, expected=expected, remedy=remedy)

    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the model's outputs.

        Raises:
            UserError: they are gone, or damaged.
        """
        what, expected = "the class names of the run", "a list of different names"
        names = self._read_json("classes.json", what=what, expected=expected)
        sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not sound or len(set(names)) < len(names):
            raise UserError(
                "not a list of class names",
                file=self.folder / "classes.json",
                found=names,
                expected=expected,
            )
        return tuple(names)

    def category_ids(self) -> tuple[int | str, ...]:
        """The COCO category ids of the classes, in their order; 1..C in a run that has none.

        Raises:
            UserError: they are gone, damaged, or are not as many as the classes.
        """
        path, count = self.category_ids_file, len(self.classes())
        if not is_there(path):
            return tuple(range(1, count + 1))
        expected = f"{count} ids, in the order of classes.json"
        remedy = "delete this file: the ids are then 1, 2, ..."
        if path.name in digests(self.folder):
            remedy = f"delete this file and say so: {accepting(path)}; the ids are then 1, 2, ..."
        what = "the file of the category ids"
        ids = self._read_json(path.name, what=what, expected=expected, remedy=remedy)
        sound = isinstance(ids, list) and {type(each) for each in ids} <= {int, str}
        if not sound or len(ids) != count:
            raise UserError(
                "not the category ids of the classes",
                file=path,
                found=ids,
                expected=expected,
                remedy=remedy,
            )
        return tuple(ids)

    def skeleton(self) -> Skeleton | None:
        """The keypoints of the run; None: it has none.

        Raises:
            UserError: they are gone, or damaged.
        """
        path = self.folder / "skeleton.json"
        if not is_there(path):
            return None
        return skeletons.from_dict(self._read_json(path.name, what="the skeleton file"), file=path)


def _json(data: Any) -> str:
    return json.dumps(data, indent=2) + "\n"


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
                expected="a folder written by roilab train",
            )
    wanted = weights or run.weights.name
    there = sorted(path.name for path in run.folder.glob("*.pth"))
    if wanted not in there:  # a path to elsewhere is not, either
        raise UserError(
            "the run folder has no such weights",
            file=folder,
            found=f"no {wanted}",
            expected=f"one of {', '.join(there)}" if there else "a training that has saved some",
        )
    known = digests(run.folder)
    unknown = [n for n in (run.config_file.name, "classes.json", wanted) if n not in known]
    if unknown:
        log.warning("%s: unverified, without a digest: %s", folder, ", ".join(unknown))
    return run


@contextlib.contextmanager
def reading(*runs: Run) -> Iterator[None]:
    """Within the block, an exception of a run whose config was edited becomes a UserError.

    In such a config may be anything. With one that is as it was written, it is an error of ours.

    Raises:
        UserError: in place of what building a model, or using it, raises.
    """
    try:
        yield
    except config.UNBUILDABLE as error:
        changed = [run.config_file for run in runs if not is_as_written(run.config_file)]
        if not changed:
            raise
        path = changed[0]
        compare = shlex.join(["roilab", "config", "diff", str(path), "CONFIG"])
        raise UserError(
            "the run cannot be used, and its config is unverified or was changed by hand: a value "
            "in it may be wrong",
            file=path,
            found=f"{type(error).__name__}: {error}".partition("\n")[0],
            remedy=f"see what differs from the config file that it was trained with: {compare}",
        ) from error


def find_runs(root: str | Path) -> list[Run]:
    """The runs in a folder and in those below it that have weights, the newest weights first."""
    found = []
    for folder, _, names in os.walk(root):
        run = Run(Path(folder))
        if {run.config_file.name, "classes.json"} <= set(names) and run.weights.is_file():
            found.append((run.weights.stat().st_mtime_ns, run))
    found.sort(key=lambda pair: (-pair[0], pair[1].folder))
    return [run for _, run in found]
