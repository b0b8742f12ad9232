"""Run folders that try to run something: each leaves a mark on the disk if it does."""

import copy
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from roilab.engine.run_folder import Run
from roilab.engine.run_record import RECORD, accept
from roilab.sweep.plan import Arm, Sweep, plan_trials, save_sweep
from roilab.sweep.state import trial_identity

LOCATE = "detectron2.utils.registry.locate"
Node = dict[str, Any]
MODULE = "evil_module"  # it is in the hostile folder, which a working directory may be


@dataclass(frozen=True)
class Trap:
    """A hostile folder of a run; `mark` is there if anything of it was run."""

    folder: Path
    mark: Path

    @property
    def script(self) -> str:
        return str(self.folder / f"{MODULE}.py")

    @property
    def statement(self) -> str:
        return f"open({str(self.mark)!r}, 'w')"

    @property
    def pickle(self) -> str:
        return str(self.folder / "evil.pkl")


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def call(target: Any, **arguments: Any) -> Node:
    return {"_target_": target, **arguments}


def named(name: str) -> Node:
    return call(LOCATE, name=name)


def calls(trap: Trap) -> dict[str, Node]:
    """Nodes that leave the mark when they are instantiated."""
    mark, folder, command = str(trap.mark), str(trap.folder), ["mkdir", str(trap.mark)]
    opened = call("builtins.open", file=trap.pickle, mode="rb")
    shell, file = f"mkdir {mark}", {"file": mark, "mode": "w"}
    nodes = {
        target: call(target, **arguments)
        for target, arguments in {
            "subprocess.run": {"args": command},
            "subprocess.call": {"args": command},
            "subprocess.check_call": {"args": command},
            "subprocess.check_output": {"args": command},
            "subprocess.getoutput": {"cmd": shell},
            "subprocess.getstatusoutput": {"cmd": shell},
            "os.system": {"command": shell},
            **{f"{module}.mkdir": {"path": mark} for module in ("posix", "os", "torch.os")},
            "os.makedirs": {"name": mark},
            "os.mkfifo": {"path": mark},
            "os.symlink": {"src": "anywhere", "dst": mark},
            **{f"os.{name}": {"src": trap.script, "dst": mark} for name in ("link", "rename")},
            "runpy.run_path": {"path_name": trap.script},
            "runpy.run_module": {"mod_name": MODULE},
            "importlib.import_module": {"name": MODULE},
            "pydoc.locate": {"path": f"{MODULE}.anything"},
            "pydoc.importfile": {"path": trap.script},
            "timeit.timeit": {"stmt": trap.statement, "number": 1},
            "timeit.repeat": {"stmt": trap.statement, "number": 1},
            "cProfile.run": {"statement": trap.statement},
            **dict.fromkeys(("builtins.open", "open", "io.open", "zipfile.ZipFile"), file),
            "codecs.open": {"filename": mark, "mode": "w"},
            **{f"{name}.open": {"filename": mark, "mode": "wb"} for name in ("gzip", "lzma")},
            "tarfile.open": {"name": mark, "mode": "w"},
            "logging.FileHandler": {"filename": mark},
            "shutil.copyfile": {"src": trap.script, "dst": mark},
            "shutil.copy": {"src": trap.script, "dst": mark},
            "shutil.move": {"src": trap.script, "dst": mark},
            "numpy.savetxt": {"fname": mark, "X": [0]},
            "numpy.load": {"file": trap.pickle, "allow_pickle": True},
            "torch.load": {"f": trap.pickle, "weights_only": False},
            "torch.save": {"obj": 0, "f": mark},
            "torch.hub.load": {"repo_or_dir": folder, "model": "anything", "source": "local"},
            "torch.nn.modules.module.torch.os.mkdir": {"path": mark},
            "detectron2.modeling.backbone.resnet.np.savetxt": {"fname": mark, "X": [0]},
            "detectron2.utils.file_io.PathManager.mkdirs": {"path": mark},
            "detectron2.config.LazyConfig.load": {"filename": trap.script},
            "detectron2.config.lazy.LazyConfig.load": {"filename": trap.script},
            LOCATE: {"name": f"{MODULE}.anything"},
            "roilab.engine.config.read_config": {"path": trap.script},
            "roilab.engine.config.load_config": {"path": trap.script},
            "roilab.data.from_catalog._dicts": {"name": "evil", "register": trap.script},
            "roilab.data.from_catalog.from_catalog": {"name": "evil", "register": trap.script},
            "roilab.files.write_whole": {"path": mark, "content": "here"},
            f"{MODULE}.anything": {},
        }.items()
    }
    folder_node = call("os.mkdir", path=mark)
    nodes |= {
        "an unpickled file": call("pickle.load", file=opened),
        "unsafe YAML": call("yaml.unsafe_load", stream=f"!!python/object/apply:os.mkdir [{mark}]"),
        "a node as target": call(named("os.mkdir"), path=mark),
        "an argument of a layer": call("torch.nn.Identity", x=folder_node),
        "an item of a list": call("torch.nn.ModuleList", modules=[folder_node]),
        "an item of a list of lists": call("torch.nn.Identity", x=[[{"deep": 1}, folder_node]]),
        "an imported name of ours": call("roilab.engine.trusted.os.mkdir", path=mark),
    }
    return nodes


def texts(trap: Trap, data: Node) -> dict[str, str]:
    """Whole config files that are no plain data, or hide a target behind another key."""
    mark = str(trap.mark)
    evil = f"{{_target_: os.mkdir, path: '{mark}'}}"

    def with_backbone(text: str) -> str:
        model = {**data["model"], "backbone": "BACKBONE"}
        return yaml.safe_dump({**data, "model": model}).replace("BACKBONE", text)

    return {
        "a tag that calls": with_backbone(f"!!python/object/apply:os.mkdir ['{mark}']"),
        "a tag of a new object": with_backbone(f"!!python/object/new:os.mkdir ['{mark}']"),
        "a target that is followed": with_backbone(f"{{_target_: '${{evil}}', path: '{mark}'}}")
        + "evil: os.mkdir\n",
        "a call that is followed": with_backbone("${evil}") + f"evil: {evil}\n",
        "a resolver that makes a call": with_backbone(
            f"'${{oc.create:{evil}}}'".replace(f"'{mark}'", mark)
        ),
        "an alias of a call": f"evil: &evil {evil}\n" + with_backbone("*evil"),
        "a merged call": f"evil: &evil {evil}\n" + with_backbone("{<<: *evil}"),
        "a key twice": with_backbone(evil.replace("{", "{_target_: torch.nn.Identity, ")),
    }


# Where a call stands; what is built there is built by each of these.
PLACES = ("model.backbone", "dataloader.test.augmentations", "data.val", "optimizer")


def _place(data: Node, key: str, value: Any) -> Node:
    data = copy.deepcopy(data)
    *parents, last = key.split(".")
    place: Any = data
    for name in parents:
        place = place[name]
    place[last] = value
    return data


@dataclass(frozen=True)
class Payload:
    """What is written into a copy of a sound run: into its config, or else its weights."""

    name: str
    write: Callable[[Trap, Node], None]
    in_config: bool = True


def _write_config(trap: Trap, data: Node) -> None:
    (trap.folder / "config.yaml").write_text(yaml.safe_dump(data, sort_keys=False))


def _payloads() -> Iterator[Payload]:
    nowhere = Trap(Path("folder"), Path("mark"))

    def calling(name: str, place: str) -> Payload:
        def write(trap: Trap, data: Node) -> None:
            node = calls(trap)[name]
            listed = place.endswith("augmentations")
            _write_config(trap, _place(data, place, [node] if listed else node))

        return Payload(f"{name} as {place}", write)

    def written(name: str) -> Payload:
        def write(trap: Trap, data: Node) -> None:
            (trap.folder / "config.yaml").write_text(texts(trap, data)[name])

        return Payload(name, write)

    def weights(trap: Trap, data: Node) -> None:
        torch.save(Evil(trap.mark), trap.folder / "model_final.pth")

    def checkpoint(trap: Trap, data: Node) -> None:
        torch.save({"model": {}, "iteration": Evil(trap.mark)}, trap.folder / "model_0000001.pth")
        weights(trap, data)

    def initial(trap: Trap, data: Node) -> None:
        _write_config(trap, _place(data, "train.init_checkpoint", trap.pickle))
        weights(trap, data)

    for name in calls(nowhere):
        yield calling(name, PLACES[0])
    for place in PLACES[1:]:
        yield calling("os.mkdir", place)
        yield calling("roilab.data.from_catalog.from_catalog", place)
    for name in texts(nowhere, {"model": {}}):
        yield written(name)
    yield Payload("weights that are a pickle", weights, in_config=False)
    yield Payload("a checkpoint with a pickle", checkpoint, in_config=False)
    yield Payload("initial weights that are a pickle", initial, in_config=False)


PAYLOADS = tuple(_payloads())


def hostile_folder(payload: Payload, run: Run, folder: Path) -> Trap:
    """A copy of a run with what a payload adds to it."""
    trap = Trap(folder / "run", folder / "mark")
    trap.folder.mkdir(parents=True)
    for path in run.folder.iterdir():
        if path.suffix == ".pth":
            (trap.folder / path.name).hardlink_to(path)
        else:
            shutil.copy(path, trap.folder)
    write_traps(trap)
    if not payload.in_config:  # it writes its own, and not into those of the run
        for path in trap.folder.glob("*.pth"):
            path.unlink()
    payload.write(trap, yaml.safe_load(run.config_file.read_text()))
    # Whoever writes a file can write its digest: it is not the digests that refuse it.
    accept(trap.folder, [path.name for path in trap.folder.iterdir() if path.name != RECORD])
    return trap


def write_traps(trap: Trap) -> None:
    """The files that a config may name."""
    code = f"{trap.statement}\nmodel = dict(x=1)\nanything = dict\n"
    for path in (Path(trap.script), trap.folder / "hubconf.py"):
        path.write_text(code)
    Path(trap.pickle).write_bytes(pickle.dumps(Evil(trap.mark)))


def hostile_sweep(trap: Trap, folder: Path) -> Path:
    """A sweep whose only run, which is done, is the hostile one."""
    arm = Arm("a", trap.script, ("model._target_=os.mkdir",), {})
    sweep = Sweep("s.py", (arm,), "a", (0,), ("bbox/AP",), "")
    save_sweep(sweep, "the command", folder)
    (trial,) = plan_trials(sweep, folder)
    shutil.copytree(trap.folder, trial.folder)
    (trial.folder / "cell.json").write_text(json.dumps(trial_identity(trial)))
    (trial.folder / "results.json").write_text(json.dumps({"bbox": {"AP": 1.0}}))
    return folder
