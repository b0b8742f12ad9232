"""Checkpoints: written whole or not at all, read without running anything in them.

Reading one raises UserError where it is not as it was written, cut short, missing, or holds more
than tensors and plain data.
"""

import itertools
import os
import pickle
import shlex
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import IO, Any, NamedTuple, cast

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager
from torch import Tensor, nn

from roilab.engine.run_record import RECORD, Digest, replacing, verify
from roilab.errors import UserError, is_lost_worker
from roilab.files import open_plain, whole
from roilab.modeling.torchvision_weights import is_of_torchvision, to_detectron2, unmet_settings
from roilab.text import first_of

_SHOWN = 8  # how many of many names a message lists
# All that the numpy arrays of the model zoo's .pkl files are made of.
_PICKLED_NAMES = {
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "collections": {"OrderedDict"},
    "_codecs": {"encode"},
}


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of numpy arrays in dicts and lists; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in _PICKLED_NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"it would call {module}.{name}")
        return super().find_class(module, name)


class InitialWeights(NamedTuple):
    """A model's initial weights.

    Attributes:
        source: a path or a URL; "" for none.
        may_differ: names of parameters, with * for anything, that the file may lack, have in
            another shape, or have beyond the model's.
        named: files that the config has a name for: name -> path or URL.
    """

    source: str
    may_differ: Sequence[str] = ()
    named: Mapping[str, str] = MappingProxyType({})


class Checkpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, with its name matching, made safe and strict; it only loads."""

    def __init__(self, model: nn.Module, weights: InitialWeights) -> None:
        super().__init__(model)
        self.weights = weights

    def _load_model(self, checkpoint: Any) -> Any:
        if is_of_torchvision(checkpoint["model"]):
            self._require_settings_of_torchvision()
            source = self.weights.source
            classes = self.model.roi_heads.num_classes
            checkpoint["model"] = to_detectron2(checkpoint["model"], classes, source=source)
        keys = super()._load_model(checkpoint)
        shapes = {name: (theirs, ours) for name, theirs, ours in keys.incorrect_shapes}
        missing = [name for name in keys.missing_keys if name not in shapes]
        own = self.model.state_dict()
        _refuse_differences(own, missing, keys.unexpected_keys, shapes, self.weights.may_differ)
        return keys

    def _require_settings_of_torchvision(self) -> None:
        unmet = unmet_settings(self.model)  # key -> its value, and the value that is needed
        if not unmet:
            return
        overrides = [f"{key}={needed}".replace(" ", "") for key, (_, needed) in unmet.items()]
        remedy = f"set what they need: {' '.join(overrides)}"
        source, _, named = self.weights
        if "torchvision" in named and source not in named.values():
            remedy = (
                "take them by their name, which brings these settings: train.init_checkpoint="
                f"torchvision {shlex.quote(f'weights.torchvision.file={source}')}"
            )
        raise UserError(
            "weights of torchvision need other settings of the model",
            file=source,
            found=", ".join(f"{key}={value}" for key, (value, _) in unmet.items()),
            expected=", ".join(f"{key}={needed}" for key, (_, needed) in unmet.items()),
            remedy=remedy,
        )

    def _load_file(self, filename: str) -> dict[str, Any]:
        if not filename.endswith((".pkl", ".pyth")):
            return super()._load_file(filename)
        # Detectron2 sorts out the kinds of .pkl itself but reads them with a plain pickle.load.
        with PathManager.open(filename, "rb") as file:
            try:
                data = _ArrayUnpickler(file, encoding="latin1").load()
                if not isinstance(data, dict) or not isinstance(data.get("model", data), dict):
                    raise pickle.UnpicklingError("it holds no named arrays")
            except (pickle.UnpicklingError, EOFError) as error:
                message = "the weights file is not one of arrays only and will not be opened"
                expected = "a .pkl of numpy arrays, or a .pth of tensors"
                raise UserError(message, file=filename, found=error, expected=expected) from error
        if "model" in data and "__author__" in data:
            return data
        arrays = data.get("blobs", data)  # Caffe2: detection models have "blobs", ImageNet's do not
        model = {k: v for k, v in arrays.items() if not k.endswith("_momentum")}
        return {"model": model, "__author__": "Caffe2", "matching_heuristics": True}

    def _torch_load(self, f: str) -> dict[str, Any]:
        return read_checkpoint(f)


def _refuse_differences(
    own: Iterable[str],
    missing: Collection[str],
    unexpected: Iterable[str],
    shapes: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    may_differ: Sequence[str] = (),
) -> None:
    """Raise UserError where weights are not those of a model.

    Args:
        own: names of the model's parameters.
        missing: names of the model's that the weights lack.
        unexpected: names of the weights that the model lacks.
        shapes: name -> shape in the weights, other shape in the model.
        may_differ: names that may be in any of these, with * for anything.
    """

    def text_of(name: str) -> str:
        if name not in shapes:
            return name
        theirs, ours = shapes[name]
        return f"{name} {tuple(theirs)} for {tuple(ours)}"

    names: list[str] = []
    lines = []
    kinds = {"missing": missing, "not in the model": unexpected, "of another shape": shapes}
    for kind, differing in kinds.items():
        refused = [n for n in sorted(differing) if not any(fnmatchcase(n, p) for p in may_differ)]
        if refused:
            lines.append(f"{len(refused)} {kind}: {first_of(list(map(text_of, refused)), _SHOWN)}")
            names += refused
    if not names:
        return

    remedy = (
        "none of the names fits, so they are of another kind of model: take weights of "
        "Detectron2's or torchvision's R-CNNs, or train from scratch: train.init_checkpoint=''"
    )
    if fitting := set(own) - set(missing) - set(shapes):
        remedy = (
            "take other weights, or, where these parts are new, name them: "
            f"'train.may_differ=[{', '.join(patterns_of(names, fitting))}]'"
        )
    raise UserError(
        "the weights do not fit the model",
        found="\n            ".join(lines),
        expected="the model's own names and shapes",
        remedy=remedy,
    )


def refuse_other_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Make sure that weights are `own`, a model's state dict, down to the last name and shape."""
    missing = own.keys() - weights.keys()
    unexpected = weights.keys() - own.keys()
    shapes = {
        name: (weights[name].shape, own[name].shape)
        for name in own.keys() & weights.keys()
        if weights[name].shape != own[name].shape
    }
    _refuse_differences(own, missing, unexpected, shapes)


def patterns_of(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Patterns that match dotted names and none of the others, of whole modules where possible."""

    def modules(name: str) -> list[str]:
        """All modules that a parameter is in, the outermost first."""
        return list(itertools.accumulate(name.split(".")[:-1], "{}.{}".format))

    shared = {module for name in others for module in modules(name)}
    patterns = {
        next((f"{module}.*" for module in modules(name) if module not in shared), name)
        for name in names
    }
    return sorted(patterns)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A .pth file's content on the CPU; tensors and plain data only.

    Before anything of it is used, the file is compared with its digest in the run.json beside it,
    or without one with its own checksums, if it has any.
    """
    try:
        with verified(Path(path)) as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # torch's reader raises what it likes on bad content
        if is_lost_worker(error):
            raise
        raise _unreadable(path, error) from error
    if not isinstance(content, dict):
        raise _unreadable(path, f"a {type(content).__name__}")
    return content


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The weights of a model from a checkpoint, by the names of its parameters."""
    weights = read_checkpoint(path).get("model")
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items()
    ):
        raise _unreadable(path, "no tensors by name below 'model'")
    return weights


@contextmanager
def verified(path: Path) -> Iterator[IO[bytes]]:
    """Open a checkpoint once it is known to be as it was written, which reads it once."""
    try:
        file = open_plain(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    with file:
        # The mapping and `file` are the same pages, also if another file takes the name meanwhile.
        size = os.fstat(file.fileno()).st_size
        content = mmap(file.fileno(), 0, access=ACCESS_READ) if size else b""
        if not verify(path, content):
            _check_archive(path, file)
        file.seek(0)
        yield file


def _check_archive(path: Path, file: IO[bytes]) -> None:
    """Compare the tensors in a checkpoint with the checksums that it has of them, if any.

    torch.save writes a zip archive, with a CRC of each tensor, which torch's reader ignores. Files
    of torch before 1.6 are no archives, and have no checksums.
    """
    if file.read(2) != b"PK" and not zipfile.is_zipfile(file):
        return
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
    except Exception as error:  # of a damaged archive, of many kinds
        if is_lost_worker(error):
            raise
        raise _unreadable(path, error) from error
    if damaged is not None:
        raise _unreadable(path, f"{damaged} in it does not agree with its checksum")


def _unreadable(path: str | Path, problem: str | Exception) -> UserError:
    if isinstance(problem, Exception):
        problem = f"{type(problem).__name__}: {problem}".partition("\n")[0]
    expected = "a complete .pth of tensors, as it was written"
    return UserError("the weights file cannot be read", file=path, found=problem, expected=expected)


def save_atomically(data: dict[str, Any], path: Path) -> None:
    """Write `data` so that `path` is either the old file or the whole new one.

    In a run folder, its digest goes into run.json.
    """
    with ExitStack() as after, whole(path) as part:
        digest = Digest()
        with part.open("wb") as file:

            def write(content: Any) -> int:
                digest.update(content)
                return file.write(content)

            torch.save(data, cast(IO[bytes], SimpleNamespace(write=write, flush=file.flush)))
        if (path.parent / RECORD).exists():
            # The record allows both files until `whole` has put the new one in place.
            after.enter_context(replacing(path.parent, {path.name: str(digest)}))
