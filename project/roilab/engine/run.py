"""The run folder: the only thing that is needed after training."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from roilab import skeleton as skeletons
from roilab.engine import config
from roilab.errors import UserError
from roilab.skeleton import Skeleton


@dataclass(frozen=True)
class Run:
    """Paths and contents of a run folder.

    It holds config.yaml (resolved), classes.json, skeleton.json (if any), model_final.pth and the
    checkpoints before it, metrics.json, TensorBoard events, results.json and log.txt.
    """

    folder: Path

    @property
    def config_file(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def weights(self) -> Path:
        """The final weights; before the end of the training, those of the last checkpoint."""
        final = self.folder / "model_final.pth"
        last = self.folder / "last_checkpoint"
        if not final.is_file() and last.is_file():
            return self.folder / last.read_text().strip()
        return final

    @property
    def results_file(self) -> Path:
        return self.folder / "results.json"

    def write_meaning(
        self, cfg: DictConfig, classes: tuple[str, ...], skeleton: Skeleton | None
    ) -> None:
        """Write what gives the weights their meaning: config, class names, skeleton."""
        config.save(cfg, self.config_file)
        self._write_json("classes.json", list(classes))
        if skeleton is not None:
            self._write_json("skeleton.json", skeleton.to_dict())

    def write_results(self, results: dict[str, dict[str, float | None]]) -> None:
        self._write_json(self.results_file.name, results)

    def _write_json(self, name: str, data: Any) -> None:
        config.write_text(self.folder / name, json.dumps(data, indent=2) + "\n")

    def classes(self) -> tuple[str, ...]:
        path = self.folder / "classes.json"
        try:
            names = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError("not a list of class names", file=path, found=error) from error
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError("not a list of class names", file=path, found=names)
        return tuple(names)

    def skeleton(self) -> Skeleton | None:
        path = self.folder / "skeleton.json"
        return skeletons.load(path) if path.is_file() else None


def open_run(folder: str | Path) -> Run:
    """The run in a folder.

    Raises:
        UserError: the folder is not a run, or holds no weights yet.
    """
    run = Run(Path(folder))
    for path in (run.config_file, run.folder / "classes.json", run.weights):
        if not path.is_file():
            raise UserError(
                "not a finished run folder",
                file=folder,
                found=f"no {path.name}",
                expected="a folder written by scripts/train.py",
            )
    return run
