"""The run folder: everything that is needed after training, its paths and contents."""

import contextlib
import json
import logging
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig

from roilab import skeleton as skeletons
from roilab.data.coco import RESULT_ROWS, CocoIds, problem_of_rows
from roilab.data.dataset import DetectionDataset
from roilab.engine import checkpoint, config, run_record
from roilab.engine.run_record import ABSENT, RECORD, Digest, read_record
from roilab.errors import UserError, argument
from roilab.evaluation import Evaluation
from roilab.evaluation.ap import TASK_NAMES, Results
from roilab.files import decode, parse_json, read_bytes, read_json, write_whole
from roilab.skeleton import Skeleton
from roilab.text import shortened
from roilab.via.formats.coco_values import is_finite_number

log = logging.getLogger(__name__)

FINAL, LAST = "model_final.pth", "last_checkpoint"
_PERIODIC = re.compile(r"model_\d{7,}\.pth")
_RESULTS = '{"bbox": {"AP": 41.2, ...}, ...}'
Check = Callable[[Any], str]  # the fault of a file's content; "" if it is sound
# The names of files that something reads, or once read.
_READ = re.compile(
    rf".*\.pth|results\w*\.json|(category_ids|coco_instances_results|metrics|skeleton)\.json|{LAST}"
    rf"|{re.escape(RECORD)}"
)


class Run:
    """A run folder: the paths of its files, and their contents; see docs/run-folder.md.

    What reads a file raises UserError where the file, or the record of the run, is damaged or
    missing.

    Args:
        weights_name: the file of its weights; None: the final ones.
    """

    def __init__(self, folder: Path, weights_name: str | None = None) -> None:
        self.folder = folder
        self.weights_name = weights_name
        self.config_file = folder / "config.yaml"
        self.classes_file = folder / "classes.json"
        self.category_ids_file = folder / "category_ids.json"
        self.skeleton_file = folder / "skeleton.json"
        self.provenance_file = folder / RECORD
        self.metrics_file = folder / "metrics.json"
        self.results_file = folder / "results.json"
        self.detections_file = folder / "coco_instances_results.json"
        self.lock_file = folder / ".training.lock"

    @property
    def weights(self) -> Path:
        """The named weights, else the final ones, before the end of the training the newest."""
        if self.weights_name is not None:
            return self.folder / self.weights_name
        final = self.folder / FINAL
        # A folder or link of this name is damage, and no reason to use other weights instead.
        return final if os.path.lexists(final) else max(self.checkpoints(), default=final)

    def checkpoints(self) -> list[Path]:
        """The checkpoints that a training writes every period, the oldest first."""
        return sorted(path for path in self.folder.glob("*.pth") if _PERIODIC.fullmatch(path.name))

    def states(self) -> list[Path]:
        """The checkpoints that a training can be resumed from, the final one last."""
        final = self.folder / FINAL
        return [*self.checkpoints(), *([final] if final.exists() else [])]

    @property
    def evaluate_command(self) -> str:
        """The command that evaluates the run again."""
        return f"roilab evaluate {argument('run', str(self.folder))}"

    def write_metadata(self, cfg: DictConfig, dataset: DetectionDataset) -> None:
        """Write what gives the weights their meaning: config, class names and ids, skeleton."""
        texts = {
            self.config_file.name: config.to_yaml(config.to_plain_data(cfg)),
            self.classes_file.name: _json(list(dataset.classes)),
            self.category_ids_file.name: _json(list(dataset.coco_ids.categories)),
        }
        if dataset.skeleton is not None:
            texts[self.skeleton_file.name] = _json(dataset.skeleton.to_dict())
        self.write(texts)

    def write(self, texts: Mapping[str, str]) -> None:
        """Write files, by name, and their digests into run.json."""
        contents = {name: text.encode("utf-8") for name, text in texts.items()}
        new = {name: str(Digest(content)) for name, content in contents.items()}
        with run_record.replacing(self.folder, new):
            for name, content in contents.items():
                write_whole(self.folder / name, content)

    def begin_anew(self) -> None:
        """Remove the results of a run that goes on, and open its log of metrics."""
        run_record.remove_digests(self.folder, [self.results_file.name, self.metrics_file.name])
        self.results_file.unlink(missing_ok=True)

    def close_log(self) -> None:
        """Record the digest of the metrics, to which nothing is appended any more."""
        if self.metrics_file.is_file():
            digest = str(Digest(self.metrics_file.read_bytes()))
            with run_record.replacing(self.folder, {self.metrics_file.name: digest}):
                pass

    def write_evaluation(self, evaluation: Evaluation, ids: CocoIds) -> None:
        """Write the detections with a data set's ids, and their AP, which completes the run."""
        if not self.category_ids_file.is_file():  # of a run from before there was such a file
            self.write({self.category_ids_file.name: _json(list(ids.categories))})
        rows = ids.to_file(evaluation.detections)
        self.write({self.detections_file.name: json.dumps(rows) + "\n"})
        self.write_results(evaluation.results)

    def write_results(self, results: Results, name: str = "results.json") -> None:
        self.write({name: _json(results)})

    def results(self) -> Results:
        """The AP of the final weights, of a run that is complete."""
        return _read_json(
            self.results_file,
            "the AP of the run",
            _problem_of_results,
            expected=_RESULTS,
            remedy=f"evaluate it again: {self.evaluate_command}",
        )

    def detections(self, ids: CocoIds) -> list[dict[str, Any]]:
        """The detections that `write_evaluation` stored.

        Raises:
            UserError: also where they are not those of a data set with these ids.
        """
        what = "the detections of the run"
        path = self.detections_file
        remedy = f"compute them again: {self.evaluate_command}"
        if not path.is_file():
            raise UserError(f"{what} are gone", file=path, remedy=remedy)
        if not self.category_ids_file.is_file():
            ids = CocoIds(ids.images, tuple(range(1, len(ids.categories) + 1)))
        # Checking masks takes long.
        check = None if run_record.is_as_written(path) else problem_of_rows
        rows = _read_json(path, what, check, expected=RESULT_ROWS, remedy=remedy)
        try:
            return ids.from_file(rows)
        except UserError as error:
            message = f"{what} are not of its validation set"
            raise error.replace(message=message, file=path, remedy=remedy) from error

    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.json; a run that was made by hand has none."""
        what = "the log of the metrics"
        path = self.metrics_file
        if not run_record.optional_exists(path):
            return []
        remedy = _remedy_of_deletion(path)
        text = decode(run_record.read_verified(path, what=what), path, what=what, remedy=remedy)
        lines = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                values = error
            if not _are_metrics(values):
                raise UserError(
                    f"{what}: the file is damaged",
                    file=path,
                    key=f"line {number}",
                    found=values,
                    expected="an object of numbers a line",
                    remedy=remedy,
                )
            lines.append(values)
        return lines

    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the model's outputs."""

        def problem_of(names: Any) -> str:
            is_list = isinstance(names, list) and all(isinstance(name, str) for name in names)
            return "" if is_list and len(set(names)) == len(names) else repr(names)

        what = "the class names of the run"
        expected = "a list of different names"
        return tuple(_read_json(self.classes_file, what, problem_of, expected=expected))

    def category_ids(self) -> tuple[int | str, ...]:
        """The COCO category ids of the classes, in their order; 1..C in a run that has none."""
        path = self.category_ids_file
        count = len(self.classes())
        if not run_record.optional_exists(path):
            return tuple(range(1, count + 1))

        def problem_of(ids: Any) -> str:
            is_list = isinstance(ids, list) and {type(number) for number in ids} <= {int, str}
            return "" if is_list and len(ids) == count else repr(ids)

        what = "the category ids of the run"
        expected = f"{count} ids, in the order of classes.json"
        remedy = f"{_remedy_of_deletion(path)}; the ids are then 1, 2, ..."
        return tuple(_read_json(path, what, problem_of, expected=expected, remedy=remedy))

    def skeleton(self) -> Skeleton | None:
        """The keypoints of the run; None: it has none."""
        path = self.skeleton_file
        if not run_record.optional_exists(path):
            return None
        return skeletons.from_dict(_read_json(path, "the skeleton file"), file=path)


def _read_json(
    path: Path,
    what: str,
    check: Check | None = None,
    expected: str | None = None,
    remedy: str | None = None,
) -> Any:
    """The content of a file that is as its digest says, if it has one, and passes the check."""
    content = run_record.read_verified(path, what=what, remedy=remedy)
    data = parse_json(content, path, what=what, expected=expected, remedy=remedy)
    problem = check(data) if check is not None else ""
    if problem:
        message = f"{what}: the file is damaged"
        raise UserError(message, file=path, found=problem, expected=expected, remedy=remedy)
    return data


def _problem_of_results(data: Any) -> str:
    """The fault of a run's stored AP; "" if it is sound."""
    if not isinstance(data, dict) or not data.keys() <= set(TASK_NAMES):
        return f"{shortened(repr(data), 60)} in place of the AP of {', '.join(TASK_NAMES)}"
    for task, metrics in data.items():
        if not isinstance(metrics, dict) or "AP" not in metrics:
            return f"{task} has no AP"
        for name, value in metrics.items():
            if value is not None and not is_finite_number(value):
                return f"{task}/{name} is {shortened(repr(value), 60)}"
    return ""


def _are_metrics(values: Any) -> bool:
    """Whether a line of the metrics is an object of numbers; a loss need not be finite."""
    return isinstance(values, dict) and all(
        isinstance(value, float) or is_finite_number(value) for value in values.values()
    )


def _remedy_of_deletion(path: Path) -> str:
    if path.name in read_record(path.parent)["files"]:
        return f"delete this file and say so: {run_record.accept_command(path)}"
    return "delete this file"


def _json(data: Any) -> str:
    return json.dumps(data, indent=2) + "\n"


def open_run(folder: str | Path, weights: str | None = None) -> Run:
    """The run in a folder.

    Args:
        weights: a file of the folder in place of the final weights, such as model_best.pth.
    """
    run = Run(Path(folder), weights)
    for path in (run.config_file, run.classes_file):
        if not path.is_file():
            message = "not a run folder"
            expected = "a folder written by roilab train"
            raise UserError(message, file=folder, found=f"no {path.name}", expected=expected)
    name = weights or run.weights.name
    names = sorted(path.name for path in run.folder.glob("*.pth"))
    if name not in names:  # also a path to another folder
        message = "the run folder has no such weights"
        expected = f"one of {', '.join(names)}" if names else "a training that has saved some"
        raise UserError(message, file=folder, found=f"no {name}", expected=expected)
    known = read_record(run.folder)["files"]
    unknown = [n for n in (run.config_file.name, run.classes_file.name, name) if n not in known]
    if unknown:
        log.warning("%s: unverified, without a digest: %s", folder, ", ".join(unknown))
    return run


@contextlib.contextmanager
def reading(*runs: Run) -> Iterator[None]:
    """Within the block, an exception of a run whose config was edited becomes a UserError.

    An edited config may hold anything; with one that is as it was written, it is our bug.
    """
    try:
        yield
    except config.UNBUILDABLE as error:
        edited = [run.config_file for run in runs if not run_record.is_as_written(run.config_file)]
        if not edited:
            raise
        compare = shlex.join(["roilab", "config", "diff", str(edited[0]), "CONFIG"])
        raise UserError(
            "the run cannot be used, and its config is unverified or was changed by hand: a value "
            "in it may be wrong",
            file=edited[0],
            found=f"{type(error).__name__}: {error}".partition("\n")[0],
            remedy=f"see what differs from the config file that it was trained with: {compare}",
        ) from error


def find_runs(root: str | Path) -> list[Run]:
    """The runs in a folder and in those below it that have weights, the newest weights first."""
    runs = []
    for folder, _, names in os.walk(root):
        if {"config.yaml", "classes.json"} <= set(names):
            run = Run(Path(folder))
            if run.weights.is_file():
                runs.append(run)
    return sorted(runs, key=lambda run: (-run.weights.stat().st_mtime_ns, run.folder))


@dataclass(frozen=True)
class FileState:
    """The state of a file of a run folder.

    Attributes:
        kind: `sound` is as its digest says, `unverified` has none and can be read, `removed` is a
            checkpoint that is missing, `gone` another file, `damaged` is not as its digest says or
            cannot be read.
        reason: of a file that is damaged.
    """

    name: str
    kind: Literal["sound", "unverified", "removed", "gone", "damaged"]
    reason: str = ""


def verify_run(folder: Path) -> list[FileState]:
    """The state of each file of a run that is read after the training, by name."""
    run = Run(folder)
    if not folder.is_dir():
        raise UserError("there is no such folder", key="run", file=folder)
    try:
        files = read_record(folder)["files"]
    except UserError as error:
        return [FileState(RECORD, "damaged", str(error))]
    known = {name for name in files if ABSENT not in files[name] or (folder / name).exists()}
    needed = {run.config_file.name, run.classes_file.name}
    present = {path.name for path in folder.iterdir() if _READ.fullmatch(path.name)}
    names = sorted(known | needed | present)
    return [_state(run, name, is_known=name in known) for name in names]


def _state(run: Run, name: str, *, is_known: bool) -> FileState:
    """The state of a file; `is_known`: the record has its digest. One without is read instead."""
    path = run.folder / name
    readers: dict[str, Callable[[], object]] = {
        run.config_file.name: lambda: config.read_config(path),
        run.category_ids_file.name: run.category_ids,
        run.metrics_file.name: run.metrics,
        run.results_file.name: run.results,
        run.classes_file.name: run.classes,
        run.skeleton_file.name: run.skeleton,
        LAST: lambda: read_bytes(path),
    }
    if not path.exists():
        return FileState(name, "removed" if name.endswith(".pth") else "gone")
    try:
        if name.endswith(".pth"):
            with checkpoint.verified(path):
                pass
        elif is_known:
            run_record.verify(path, read_bytes(path))
        else:
            readers.get(name, lambda: read_json(path))()
    except UserError as error:
        return FileState(name, "damaged", str(error))
    has_own = name == RECORD and "digest" in read_record(run.folder)
    return FileState(name, "sound" if is_known or has_own else "unverified")
