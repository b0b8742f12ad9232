"""Damages of files, and commands that read run folders and sweeps."""

import contextlib
import io
import json
import os
import random
import runpy
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from roilab.engine.run_record import accept
from roilab.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
HUGE = (10**400, 1e308, -(10**30), float("nan"), float("inf"))
WRONG: tuple[Any, ...] = (None, True, -1, 0, 1.5, "", "text", [], [[]], {}, {"a": 1}, "x" * 300)

Damage = Callable[[Path, random.Random], None]


def truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _block(path: Path, chance: random.Random, fill: Callable[[int], bytes]) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content))
    length = min(len(content) - start, chance.choice((1, 16, 512, 4096)))
    content[start : start + length] = fill(length)
    path.write_bytes(content)


def zero(path: Path, chance: random.Random) -> None:
    _block(path, chance, bytes)


def randomise(path: Path, chance: random.Random) -> None:
    _block(path, chance, chance.randbytes)


def not_utf8(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    place = chance.randrange(len(content))
    path.write_bytes(content[:place] + b"\xff\xfe\x80" + content[place:])


def missing(path: Path, chance: random.Random) -> None:
    path.unlink()


def folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def wrong_type(path: Path, chance: random.Random) -> None:
    _change(path, chance, lambda node, key: node.__setitem__(key, chance.choice(WRONG)))


def no_key(path: Path, chance: random.Random) -> None:
    _change(path, chance, lambda node, key: node.__delitem__(key))


def huge(path: Path, chance: random.Random) -> None:
    _change(path, chance, lambda node, key: node.__setitem__(key, chance.choice(HUGE)))


def _change(path: Path, chance: random.Random, edit: Callable[[Any, Any], None]) -> None:
    """Edit what a file holds at one place, and write it again as what it is."""

    def edited(data: Any) -> Any:
        edit(*chance.choice(list(_places(data))))
        return data

    if path.suffix == ".pth":
        torch.save(edited(torch.load(path, weights_only=True)), path)
    elif path.suffix == ".yaml":
        path.write_text(yaml.safe_dump(edited(yaml.safe_load(path.read_text())), sort_keys=False))
    elif path.name == "metrics.json":
        lines = path.read_text().splitlines()
        place = chance.randrange(len(lines))
        lines[place] = json.dumps(edited(json.loads(lines[place])))
        path.write_text("\n".join([*lines, ""]))
    elif path.suffix == ".json":
        data = edited([json.loads(path.read_text())])  # so that the root has a place, too
        path.write_text(json.dumps(data[0] if data else None))
    else:
        path.write_text(str(chance.choice(WRONG)))


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """All places below a node, as the container and the key."""
    keys = node if isinstance(node, dict) else range(len(node))
    for key in list(keys):
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


DAMAGES: tuple[Damage, ...] = (
    *(truncate, empty, flip, zero, randomise, not_utf8, folder, missing),
    *(wrong_type, no_key, huge),
)


def copy(source: Path, target: Path, damaged: str) -> Path:
    """A folder again; checkpoints other than the one to be damaged are links, which saves time."""

    def copied(path: str, place: str) -> None:
        if path.endswith(".pth") and Path(path).relative_to(source) != Path(damaged):
            os.link(path, place)
        else:
            shutil.copyfile(path, place)

    shutil.copytree(source, target, copy_function=copied)
    return target


def accept_damage(path: Path) -> None:
    """Follow the remedy of a file that is not as it was written: it is meant to be so."""
    with contextlib.suppress(UserError):  # of a folder that is no run, of a file that is none
        accept(path.parent, [path.name])


def forget_digests(root: Path) -> None:
    """Leave the records as they were before there were digests."""
    for path in root.rglob("run.json"):
        record = json.loads(path.read_text())
        path.write_text(json.dumps({k: v for k, v in record.items() if k in ("layout", "starts")}))


# Commands that read a run folder, or the folder of a sweep; `command_line` fills in the places.
LINES = {
    "config show": "config show {run}",
    "config diff": "config diff {run} {config}",
    "doctor": "doctor --run {run}",
    "evaluate": "evaluate --run {run} --output {out}/results.json",
    "export": "export --run {run} --check {image} --format torchscript --output {out}/model.ts",
    "demo": "demo --run {run} --input {image} --output {out}/pictures",
    "demo --compare": "demo --run {sound} --compare {run} --input {image} --output {out}/pictures",
    "train": "train --config-file {run}/config.yaml train.output_dir={run}/new train.max_iter=1",
    "resume": "train --config-file {config} --resume {overrides} train.output_dir={run}",
    "replay": "train --config-file {config} --replay model_0000000.pth {overrides} "
    "train.output_dir={run}",
    "sweep": "sweep {config} --output {run} --dry-run {overrides}",
    "sweep report": "sweep report {run}",
}


def command_line(name: str, overrides: Sequence[str] = (), **places: object) -> list[str]:
    """The words of a command, with the overrides and the places of the test in them."""
    parts = (overrides if word == "{overrides}" else [word] for word in LINES[name].split())
    return [word.format(**places) for part in parts for word in part]


@dataclass(frozen=True)
class Outcome:
    """What a command did: "success", "refused", or the exception that it should not have raised."""

    kind: str
    said: str


def run_script(name: str, *arguments: object) -> Outcome:
    """Run a script in this process."""
    path = ROOT / "scripts" / f"{name}.py"
    before, said = sys.argv, io.StringIO()
    sys.argv = [str(path), *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        kinds = {None: "success", 0: "success", 1: "success", 2: "refused"}
        return Outcome(kinds.get(ended.code, f"exit status {ended.code}"), said.getvalue())
    except Exception as error:  # what the test is for
        return Outcome(f"{type(error).__name__}: {error}".partition("\n")[0], said.getvalue())
    finally:
        sys.argv = before
    return Outcome("no end", said.getvalue())
